"""The file of votes, which only grows.

One JSON object per line: a vote, or {"undo": ...} that takes one back. A vote is appended under a
lock, in one write, and on the disk (fsync) before `append_vote` returns. A crash can cut the last
line short; what is written next then begins with the line `CUT`, which says so to whoever reads.
"""

import errno
import json
import os
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from aigc_lab.alignment.feedback.vote import AlreadyJudgedError, Vote, VoteError, utc_now
from aigc_lab.data.chat import ConversationError
from aigc_lab.data.json_records import json_line
from aigc_lab.data.preferences import Preference, PreferenceError

CUT = json_line({"cut": "the line above was cut short by a crash"})
BEGINNINGS = (b'{"vote": "', b'{"undo": "', CUT)
SECONDS_TO_WAIT = 10  # for the lock


class Judged(NamedTuple):
    """What votes say: preferences, and how many votes show none."""

    preferences: list[Preference]
    n_ties: int
    n_skips: int


def append_vote(path: str | Path, vote: Vote) -> bool:
    """Add a vote to a file, which is made if it is not there; on the disk when this returns.

    Returns:
        True; False if the file held this vote already, so that sending it again is safe.

    Raises:
        AlreadyJudgedError: the labeller has judged this pair; `undo_vote` first.
        VoteError: another vote has this id, or the file is damaged.
        OSError: it cannot be written; nothing of this vote remains in the file.
    """

    def decide(log: _Log) -> dict[str, Any] | None:
        if there := log.votes.get(vote.vote_id):
            if replace(vote, time=there.time) != there:
                raise VoteError(f"vote_id={vote.vote_id!r} belongs to another vote: give a new one")
            return None
        for other in log.standing():
            if (other.labeller, other.pair_id) == (vote.labeller, vote.pair_id):
                raise AlreadyJudgedError(
                    f"{vote.labeller!r} has judged the pair {vote.pair_id!r} already "
                    f"({other.choice!r}): undo that vote first"
                )
        return vote.record()

    return _append(Path(path), decide)


def undo_vote(path: str | Path, vote_id: str, labeller: str) -> bool:
    """Take back a vote by adding a line that says so; nothing is deleted.

    Returns:
        True; False if it was taken back before.

    Raises:
        VoteError: this labeller gave no such vote, or the file is damaged.
        OSError: the file cannot be written.
    """

    def decide(log: _Log) -> dict[str, Any] | None:
        if vote_id not in log.votes or log.votes[vote_id].labeller != labeller:
            raise VoteError(f"vote_id={vote_id!r} is no vote of {labeller!r} in {path}")
        if vote_id in log.undone:
            return None
        return {"undo": vote_id, "labeller": labeller, "time": utc_now()}

    return _append(Path(path), decide)


def read_votes(path: str | Path) -> list[Vote]:
    """The votes of a file in their order, without those that were taken back.

    A line that a crash cut short was never confirmed to anybody; it is left out with a warning.

    Raises:
        VoteError: any other line that is no vote; names the file and the line.
        FileNotFoundError: there is no such file.
    """
    log = _read(Path(path), Path(path).read_bytes())
    if log.cut:
        warnings.warn(
            f"{path}: left out what was cut short by a crash before it was saved, on line "
            + ", ".join(map(str, log.cut)),
            stacklevel=2,
        )
    return log.standing()


def preferences_of(votes: Iterable[Vote]) -> Judged:
    """The votes as preferences, to train on like any others; ties and skips are counted.

    A tie says something too: that the two rewards are close. To use it, train on the pair in both
    orders, each with half the weight, which is the cross-entropy with target 1/2; or fit a model
    with a width for ties (Rao and Kupper 1967). A skip says nothing.
    """
    preferences, counts = [], {"tie": 0, "skip": 0}
    for vote in votes:
        if vote.choice in counts:
            counts[vote.choice] += 1
        else:
            chosen, rejected = (vote.a, vote.b) if vote.choice == "a" else (vote.b, vote.a)
            preferences.append(Preference(vote.messages, chosen, rejected))
    return Judged(preferences, counts["tie"], counts["skip"])


# ------------------------------------------------------------------------------------ the file


@dataclass
class _Log:
    """What a file holds: votes by id, the ids taken back, the numbers of lines cut short."""

    votes: dict[str, Vote] = field(default_factory=dict)
    undone: set[str] = field(default_factory=set)
    cut: list[int] = field(default_factory=list)
    ends_cut: bool = False

    def standing(self) -> list[Vote]:
        return [vote for vote in self.votes.values() if vote.vote_id not in self.undone]


def _read(path: Path, content: bytes) -> _Log:
    log = _Log()
    numbered = [(n, line) for n, line in enumerate(content.split(b"\n"), start=1) if line.strip()]
    for place, (number, line) in enumerate(numbered):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:  # no JSON, or no UTF-8
            after = numbered[place + 1][1] if place + 1 < len(numbered) else b""
            if not (_is_beginning(line) and CUT.startswith(after)):
                raise VoteError(
                    f"{path}, line {number}: {line[:40]!r} is no JSON ({error}), and it is not "
                    "what a crash leaves behind: mend or remove the line"
                ) from None
            log.cut.append(number)
            log.ends_cut = not after
            continue
        try:
            _take(log, record)
        except (VoteError, PreferenceError, ConversationError) as error:
            raise VoteError(f"{path}, line {number}: {error}") from None
    return log


def _is_beginning(line: bytes) -> bool:
    """Whether this may be the first part of what this module writes, perhaps followed by zeros."""
    left = line.rstrip(b"\0")
    return any(left.startswith(start[: len(left)]) for start in BEGINNINGS)


def _take(log: _Log, record: Any) -> None:
    """Add what one line says."""
    if not isinstance(record, dict):
        raise VoteError(f"{str(record)[:40]!r} is no JSON object")
    if "cut" in record:
        return
    if "undo" in record:
        if not isinstance(record["undo"], str) or record["undo"] not in log.votes:
            raise VoteError(f"takes back {record['undo']!r}, and no line above is this vote")
        log.undone.add(record["undo"])
        return
    vote = Vote.from_record(record)
    if log.votes.setdefault(vote.vote_id, vote) != vote:
        raise VoteError(f"the id {vote.vote_id!r} belongs to another vote above")


def _append(path: Path, decide: Callable[[_Log], dict[str, Any] | None]) -> bool:
    """Append the record that `decide` gives for the file's content, if any."""
    if not path.parent.is_dir():  # the lock would make a folder, and votes go astray
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
    try:
        with FileLock(f"{path}.lock", timeout=SECONDS_TO_WAIT):
            content = path.read_bytes() if path.exists() else b""
            log = _read(path, content)
            if (record := decide(log)) is None:
                return False
            newline = b"" if content.endswith(b"\n") or not content else b"\n"
            _write(path, newline + (CUT if log.ends_cut else b"") + json_line(record))
            return True
    except Timeout:
        raise OSError(
            f"{path}: another program has held {path}.lock for {SECONDS_TO_WAIT} s: close it"
        ) from None


def _write(path: Path, data: bytes) -> None:
    """Append in one write that is on the disk afterwards, or leave the file as it was."""
    is_new = not path.exists()
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    try:
        size = os.fstat(file).st_size
        try:
            if (n_written := os.write(file, data)) < len(data):
                raise OSError(f"{path}: only {n_written} of {len(data)} bytes could be written")
            os.fsync(file)
        except BaseException:
            os.ftruncate(file, size)
            raise
    finally:
        os.close(file)
    if is_new and hasattr(os, "O_DIRECTORY"):  # POSIX: a new name is on the disk with its folder
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
