"""Fetching the data that the book reads, each file checked against its sha256.

The files go to the folder named by the environment variable AIGC_LAB_DATA or, without it, to the
user's cache folder. From a shell: `python -m aigc_lab download tinyshakespeare`.
"""

import hashlib
import os
import tempfile
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import requests

from aigc_lab.files import write_atomically

with warnings.catch_warnings():
    # In Jupyter without widgets pooch's progress bar complains, though we only want its text form.
    warnings.filterwarnings("ignore", message="IProgress not found")
    import pooch

FOLDER_VARIABLE = "AIGC_LAB_DATA"


class DownloadError(RuntimeError):
    """A file that could not be fetched; the message says why and what to do."""


@dataclass(frozen=True)
class RemoteFile:
    """One file: its name here, where it comes from, and what it must be.

    Args:
        name: here.
        url: of the file, or of a zip archive that holds it.
        sha256, size: of the file itself, in hex and in bytes.
        member: its name in the archive; empty if the address gives the file itself.
    """

    name: str
    url: str
    sha256: str
    size: int
    member: str = ""


@dataclass(frozen=True)
class DataSet:
    """Files that belong together."""

    name: str
    description: str
    licence: str
    files: tuple[RemoteFile, ...]


_GITHUB = "https://raw.githubusercontent.com"
_OPENAI = "https://openaipublic.blob.core.windows.net"

DATA_SETS: dict[str, DataSet] = {
    data_set.name: data_set
    for data_set in (
        DataSet(
            name="tinyshakespeare",
            description="plays of Shakespeare, the usual small corpus for language models",
            licence="public domain text",
            files=(
                RemoteFile(
                    name="tinyshakespeare.txt",
                    url=f"{_GITHUB}/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
                    sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
                    size=1_115_394,
                ),
            ),
        ),
        DataSet(
            name="the-verdict",
            description="a short story by Edith Wharton, 1908",
            licence="public domain text",
            files=(
                RemoteFile(
                    name="the-verdict.txt",
                    url=f"{_GITHUB}/rasbt/LLMs-from-scratch/main/ch02/01_main-chapter-code/"
                    "the-verdict.txt",
                    sha256="b41e41a68f0398a3154ae69e2e4c0e2694e17fe0d66730536837f1b01935b31f",
                    size=20_479,
                ),
            ),
        ),
        DataSet(
            name="gpt2-tokenizer",
            description="GPT-2's tokenizer: token ids and merges",
            licence="modified MIT",
            files=(
                RemoteFile(
                    name="gpt2_encoder.json",
                    url=f"{_OPENAI}/gpt-2/encodings/main/encoder.json",
                    sha256="196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
                    size=1_042_301,
                ),
                RemoteFile(
                    name="gpt2_vocab.bpe",
                    url=f"{_OPENAI}/gpt-2/encodings/main/vocab.bpe",
                    sha256="1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
                    size=456_318,
                ),
            ),
        ),
        DataSet(
            name="sms-spam",
            description="short messages, spam or not, collected by Almeida and Hidalgo",
            licence="CC BY 4.0",
            files=(
                RemoteFile(
                    name="sms_spam.tsv",
                    url="https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip",
                    sha256="7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d",
                    size=477_907,
                    member="SMSSpamCollection",
                ),
            ),
        ),
    )
}


def data_folder() -> Path:
    """Where the data lies: AIGC_LAB_DATA or, if that is not set, the user's cache folder."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named).expanduser() if named else Path(pooch.os_cache("aigc_lab"))


def find_data(file_name: str) -> Path:
    """The path of a file that was downloaded before.

    Raises:
        FileNotFoundError: it is not there; the message gives the command that fetches it.
    """
    path = data_folder() / file_name
    if path.is_file():
        return path
    for data_set in DATA_SETS.values():
        if any(file.name == file_name for file in data_set.files):
            raise FileNotFoundError(
                f"{path} is missing; fetch it with: python -m aigc_lab download {data_set.name}"
            )
    raise FileNotFoundError(
        f"{path} is missing, and no data set has a file of that name; the list of all: "
        "python -m aigc_lab download --list"
    )


def is_good(file: RemoteFile, path: Path) -> bool:
    """Whether `path` holds exactly this file."""
    return (
        path.is_file()
        and path.stat().st_size == file.size
        and pooch.file_hash(str(path), alg="sha256") == file.sha256
    )


def download(data_set: DataSet, progress: bool = False) -> list[Path]:
    """Fetch the files of a data set that are not there or damaged; return the paths of all.

    A file takes its name only when it is whole and has the right sha256; until then the bytes
    are in a temporary file beside it, which goes when anything goes wrong.

    Raises:
        DownloadError: no connection, no such file, other content than expected, or a folder
            that cannot be written.
    """
    folder = data_folder()
    return [_fetch(file, folder, progress) for file in data_set.files]


def _fetch(file: RemoteFile, folder: Path, progress: bool) -> Path:
    path = folder / file.name
    if is_good(file, path):
        return path
    try:
        if file.member:
            _retrieve_member(file, folder, progress)
        else:
            _retrieve(file.url, f"sha256:{file.sha256}", folder, file.name, progress)
    except requests.HTTPError as error:
        raise DownloadError(
            f"{file.url} cannot be fetched: the server answers {error.response.status_code} "
            f"{error.response.reason}. Try again later; if the file has moved, put a copy at "
            f"{path}."
        ) from error
    except requests.RequestException as error:
        raise DownloadError(
            f"{file.url} cannot be fetched: there is no connection, or it broke "
            f"({type(error).__name__}). Check the network and try again; nothing half-written "
            f"is left."
        ) from error
    except OSError as error:
        raise DownloadError(
            f"{path} cannot be written: {error.strerror or error}. Free the space, change the "
            f"rights, or name another folder in {FOLDER_VARIABLE}."
        ) from error
    except ValueError as error:  # pooch's complaint about the checksum
        raise DownloadError(
            f"{file.url} gives other content than expected: its sha256 is not {file.sha256}. The "
            f"file has changed there or was altered on the way; nothing was kept. Try again; if "
            f"it stays so, put a copy with that sha256 at {path}."
        ) from error
    return path


def _retrieve(url: str, known_hash: str | None, folder: Path, name: str, progress: bool) -> None:
    downloader = pooch.HTTPDownloader(progressbar=progress)
    pooch.retrieve(url, known_hash, fname=name, path=folder, downloader=downloader)


def _retrieve_member(file: RemoteFile, folder: Path, progress: bool) -> None:
    """Fetch an archive, take the file out of it, check it, and throw the archive away.

    Raises:
        ValueError: no archive, no such member, or another content.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".archive.") as scratch:
        _retrieve(file.url, None, Path(scratch), "archive.zip", progress)
        try:
            with zipfile.ZipFile(Path(scratch) / "archive.zip") as archive:
                size = archive.getinfo(file.member).file_size
                content = archive.read(file.member) if size == file.size else b""
        except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, RuntimeError) as error:
            raise ValueError(f"no archive with {file.member}: {error}") from error
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise ValueError(f"{file.member} has another sha256")
        write_atomically(folder / file.name, content)
