"""aigc_lab.data.download and `python -m aigc_lab download`, against a server on this machine."""

import hashlib
import http.server
import io
import socket
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pooch
import pytest
from click.testing import CliRunner

from aigc_lab import __main__ as commands
from aigc_lab.data import download as module
from aigc_lab.data.download import (
    DATA_SETS,
    DataSet,
    DownloadError,
    RemoteFile,
    data_folder,
    download,
    find_data,
    is_good,
)

CONTENT = bytes(range(256)) * 1000


def zipped(content: bytes, member: str = "inside") -> bytes:
    """An archive of two files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("readme", b"about the file")
        archive.writestr(member, content)
    return file.getvalue()


ARCHIVES = {
    "/zip": zipped(CONTENT),
    "/zip-changed": zipped(b"x" + CONTENT[1:]),
    "/zip-longer": zipped(CONTENT + b"x"),
    "/zip-without": zipped(CONTENT, "another"),
    "/zip-no": b"this is no archive" * 100,
    "/zip-damaged": zipped(CONTENT).replace(b"readme", b"README", 1)[:-40],
}


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT whole, changed or cut short, as the path asks."""

    requests: list[str]

    def do_GET(self):
        self.requests.append(self.path)
        if self.path == "/absent":
            self.send_error(404)
            return
        content = ARCHIVES.get(self.path, CONTENT)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.path in ARCHIVES:
            self.wfile.write(content)
        elif self.path == "/cut":
            self.wfile.write(CONTENT[: len(CONTENT) // 2])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.wfile.write(CONTENT if self.path == "/good" else b"x" + CONTENT[1:])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    handler = type("CountingHandler", (Handler,), {"requests": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("AIGC_LAB_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def make(server, folder, monkeypatch):
    """Puts a data set "numbers" into the table whose file comes from that path of the server."""

    def make(*paths: str, port: int | None = None, member: str = "") -> DataSet:
        address = f"http://127.0.0.1:{port or server.server_port}"
        digest = hashlib.sha256(CONTENT).hexdigest()
        files = tuple(
            RemoteFile(f"{number}.bin", address + path, digest, len(CONTENT), member)
            for number, path in enumerate(paths)
        )
        data_set = DataSet("tinyshakespeare", "numbers", "none", files)
        monkeypatch.setitem(DATA_SETS, "tinyshakespeare", data_set)
        return data_set

    return make


def run(*arguments: str):
    return CliRunner().invoke(commands.main, ["download", *arguments])


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*")) if folder.is_dir() else []


# -------------------------------------------------------------------- what goes well


def test_download(make, folder, server):
    assert download(make("/good", "/good")) == [folder / "0.bin", folder / "1.bin"]
    assert (folder / "0.bin").read_bytes() == CONTENT
    assert left_in(folder) == ["0.bin", "1.bin"]


def test_a_file_in_an_archive(make, folder, server):
    data_set = make("/zip", member="inside")
    assert download(data_set) == [folder / "0.bin"] == download(data_set)
    assert (folder / "0.bin").read_bytes() == CONTENT
    assert left_in(folder) == ["0.bin"]
    assert server.RequestHandlerClass.requests == ["/zip"]


def test_a_good_file_is_not_fetched_again(make, folder, server):
    data_set = make("/good")
    download(data_set)
    before = (folder / "0.bin").stat().st_mtime_ns
    assert download(data_set) == [folder / "0.bin"]
    assert server.RequestHandlerClass.requests == ["/good"]
    assert (folder / "0.bin").stat().st_mtime_ns == before


@pytest.mark.parametrize("damaged", [b"", CONTENT[:-1], b"x" + CONTENT[1:]])
def test_a_damaged_file_is_replaced(make, folder, damaged):
    data_set = make("/good")
    folder.mkdir()
    (folder / "0.bin").write_bytes(damaged)
    download(data_set)
    assert (folder / "0.bin").read_bytes() == CONTENT
    assert left_in(folder) == ["0.bin"]


def test_the_command(make, folder):
    make("/good", "/good")
    result = run("tinyshakespeare")
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == [str(folder / "0.bin"), str(folder / "1.bin")]


def test_the_list(make, folder, server):
    make("/good")
    before = run("--list")
    assert before.exit_code == 0
    assert str(folder) in before.output
    assert "tinyshakespeare    0.26 MB  absent  numbers (none)" in before.output
    for name, data_set in DATA_SETS.items():
        assert name in before.output
        assert data_set.licence in before.output
    assert server.RequestHandlerClass.requests == []
    run("tinyshakespeare")
    assert "tinyshakespeare    0.26 MB  there   numbers (none)" in run("--list").output


# -------------------------------------------------------------------- what goes wrong


def refused(make_path: str, message: str, make, folder, **arguments):
    data_set = make(make_path, **arguments)
    with pytest.raises(DownloadError) as caught:
        download(data_set)
    result = run("tinyshakespeare")
    assert result.exit_code == 1
    assert result.stderr.strip().splitlines()[-1] == f"Error: {caught.value}"
    assert "Traceback" not in result.output
    text = str(caught.value)
    assert message in text
    assert "\n" not in text
    assert data_set.files[0].url in text or str(folder / "0.bin") in text
    assert left_in(folder) == []


def test_wrong_content(make, folder):
    digest = hashlib.sha256(CONTENT).hexdigest()
    refused(
        "/changed", f"gives other content than expected: its sha256 is not {digest}", make, folder
    )


@pytest.mark.parametrize(
    "path", ["/zip-changed", "/zip-longer", "/zip-without", "/zip-no", "/zip-damaged"]
)
def test_a_wrong_archive(make, folder, path):
    message = f"its sha256 is not {hashlib.sha256(CONTENT).hexdigest()}"
    refused(path, message, make, folder, member="inside")


def test_a_member_of_another_size_is_not_even_unpacked(make, folder, monkeypatch):
    unpacked = []
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda archive, name: unpacked.append(name))
    with pytest.raises(DownloadError, match="its sha256 is not"):
        download(make("/zip-longer", member="inside"))
    assert unpacked == []


@pytest.mark.parametrize(
    ("path", "message"),
    [("/absent", "answers 404 Not Found"), ("/cut", "there is no connection, or it broke")],
)
def test_an_archive_that_does_not_come(make, folder, path, message):
    refused(path, message, make, folder, member="inside")


def test_an_interruption_while_an_archive_is_read_leaves_nothing(make, folder, monkeypatch):
    data_set = make("/zip", member="inside")

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(zipfile.ZipFile, "read", interrupt)
    with pytest.raises(KeyboardInterrupt):
        download(data_set)
    assert left_in(folder) == []


def test_no_such_file(make, folder):
    refused("/absent", "the server answers 404 Not Found. Try again later", make, folder)


def test_a_connection_cut_in_the_middle(make, folder):
    refused("/cut", "there is no connection, or it broke", make, folder)


def test_no_server(make, folder):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        port = unused.getsockname()[1]
        message = "no connection, or it broke (ConnectionError). Check the network and try again"
        refused("/good", message, make, folder, port=port)


def test_a_folder_that_cannot_be_written(make, folder):
    folder.write_text("a file where the folder should be")
    refused("/good", "cannot be written: ", make, folder)
    assert "AIGC_LAB_DATA" in run("tinyshakespeare").output


def test_a_full_disk(make, folder, monkeypatch):
    def no_space(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pooch.core.shutil, "move", no_space)
    refused("/good", "cannot be written: No space left on device. Free the space", make, folder)


def test_a_failure_leaves_the_other_files(make, folder):
    data_set = make("/good", "/cut")
    with pytest.raises(DownloadError):
        download(data_set)
    assert left_in(folder) == ["0.bin"]
    folder.joinpath("1.bin").write_bytes(b"damaged")
    with pytest.raises(DownloadError):
        download(data_set)
    assert left_in(folder) == ["0.bin", "1.bin"]
    assert is_good(data_set.files[0], folder / "0.bin")
    assert not is_good(data_set.files[1], folder / "1.bin")


def test_an_interruption_leaves_nothing(make, folder, monkeypatch):
    data_set = make("/good")

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(pooch.core, "hash_matches", interrupt)
    with pytest.raises(KeyboardInterrupt):
        download(data_set)
    assert left_in(folder) == []


def test_bad_command_lines(folder):
    unknown = run("tinyshakespear")
    assert unknown.exit_code == 2
    assert "'tinyshakespear' is not one of" in unknown.output
    nothing = run()
    assert nothing.exit_code == 2
    assert "python -m aigc_lab download --list" in nothing.output


# -------------------------------------------------------------------- finding files


def test_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("AIGC_LAB_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AIGC_LAB_DATA", "~/data")
    assert data_folder() == tmp_path / "data"
    for unset in ("", None):
        if unset is None:
            monkeypatch.delenv("AIGC_LAB_DATA")
        else:
            monkeypatch.setenv("AIGC_LAB_DATA", unset)
        assert data_folder() == Path(pooch.os_cache("aigc_lab"))


def test_finding(folder):
    folder.mkdir()
    (folder / "own.txt").write_text("mine")
    assert find_data("own.txt") == folder / "own.txt"
    for name, data_set in DATA_SETS.items():
        for file in data_set.files:
            with pytest.raises(FileNotFoundError, match=f"python -m aigc_lab download {name}$"):
                find_data(file.name)
            (folder / file.name).touch()
            assert find_data(file.name) == folder / file.name
    with pytest.raises(FileNotFoundError, match=r"no data set has .*download --list$"):
        find_data("other.txt")


# -------------------------------------------------------------------- the table


def test_the_table_is_sound():
    names = [file.name for data_set in DATA_SETS.values() for file in data_set.files]
    assert len(set(names)) == len(names)
    for name, data_set in DATA_SETS.items():
        assert data_set.name == name
        assert data_set.description and data_set.licence and data_set.files
        for file in data_set.files:
            assert urlsplit(file.url).scheme == "https"
            assert len(bytes.fromhex(file.sha256)) == 32


@pytest.mark.parametrize(
    "file", [f for d in DATA_SETS.values() for f in d.files], ids=lambda f: f.name
)
def test_the_table_describes_the_real_files(file, data_file):
    assert is_good(file, data_file(file.name))


def test_importing_brings_no_torch():
    code = (
        "import sys, aigc_lab.__main__, aigc_lab.data.download;"
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_runs_as_a_module():
    result = subprocess.run(
        [sys.executable, "-m", "aigc_lab", "download", "--list"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "gpt2-tokenizer" in result.stdout
    assert module.__name__ == "aigc_lab.data.download"
