"""What the reader has done is kept, whole, and never in the way."""

from __future__ import annotations

import json
import multiprocessing
import os
import warnings
from pathlib import Path

import pytest
from small import centre

from aigc_lab.exercises import catalog, progress
from aigc_lab.exercises.checking import check, hint

DONE, TRIED, OPEN = progress.DONE, progress.TRIED, progress.OPEN
ENTRY = '{"version": 1, "exercises": {"a/b": %s}}'
DAMAGE = {
    "empty": "",
    "truncated": '{"version": 1, "exercises": {"a/b": {"state": "do',
    "binary": bytes(range(256)),
    "another encoding": "{'version'}".encode("utf-16"),
    "a list": "[1, 2]",
    "a number": "7",
    "null": "null",
    "no version": '{"exercises": {}}',
    "another version": '{"version": 2, "exercises": {}}',
    "no exercises": '{"version": 1}',
    "exercises a list": '{"version": 1, "exercises": []}',
    "an entry no dict": ENTRY % '"done"',
    "an unknown state": ENTRY % '{"state": 1, "tries": 1, "hints": 1}',
    "no tries": ENTRY % '{"state": "done", "hints": 1}',
    "tries of text": ENTRY % '{"state": "done", "tries": "1", "hints": 1}',
    "hints true": ENTRY % '{"state": "done", "tries": 1, "hints": true}',
    "hints negative": ENTRY % '{"state": "done", "tries": 1, "hints": -5}',
    "deep": "[" * 100_000,
}


@pytest.fixture
def find_centre(monkeypatch):
    monkeypatch.setattr(catalog, "find", lambda _: centre)


@pytest.fixture
def unwritable(tmp_path, monkeypatch):
    """A place where nothing can be written, also not by root: its folder is a file."""
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path / "file" / "progress.json"))


# ------------------------------------------------------------------------------------ what is kept


def test_nothing_done_is_an_empty_state_without_a_file(progress_file):
    assert progress.load() == {}
    assert not progress_file.exists()


def test_the_file_is_where_the_variable_says_or_in_the_users_folder(progress_file, monkeypatch):
    assert progress.path() == progress_file
    monkeypatch.delenv(progress.VARIABLE)
    assert progress.path().name == "progress.json"
    assert progress.path().parent.name == "aigc_lab"


def test_a_try_is_kept_in_a_small_json_file(progress_file):
    progress.record("a/b", TRIED)
    progress.record("a/b", DONE)
    content = json.loads(progress_file.read_text(encoding="utf-8"))
    entry = content["exercises"]["a/b"]
    assert content["version"] == progress.VERSION
    assert (entry["state"], entry["tries"], entry["hints"]) == (DONE, 2, 0)
    assert entry["done_at"].endswith("+00:00")
    assert progress_file.stat().st_size < 500


def test_what_is_done_stays_done(progress_file):
    progress.record("a/b", DONE)
    first = progress.load()["a/b"]["done_at"]
    progress.record("a/b", TRIED)
    progress.record("a/b", DONE)
    assert progress.load()["a/b"] == {"state": DONE, "tries": 3, "hints": 0, "done_at": first}


def test_hints_come_one_at_a_time_and_the_last_again(progress_file):
    assert [progress.next_hint("a/b", 3) for _ in range(5)] == [1, 2, 3, 3, 3]
    assert progress.load()["a/b"]["state"] == OPEN
    assert progress.next_hint("a/other", 3) == 1


def test_hint_shows_one_after_the_other(find_centre, capsys):
    shown = []
    for _ in range(4):
        hint("small/centre")
        shown.append(capsys.readouterr().out)
    assert [text.split("**")[1] for text in shown] == [
        "Hint 1 of 3.",
        "Hint 2 of 3.",
        "Hint 3 of 3.",
        "Hint 3 of 3.",
    ]
    assert "Second." not in shown[0]
    assert "`solution` shows a solution" in shown[2]
    assert "`solution` shows a solution" not in shown[1]


def test_check_records_what_came_of_it(find_centre):
    check("small/centre", centre.compiled(centre.stub))
    assert progress.load() == {}
    check("small/centre", lambda x: x)
    assert progress.load()["small/centre"]["state"] == TRIED
    check("small/centre", centre.solution)
    assert progress.load()["small/centre"]["state"] == DONE
    check("small/centre", lambda x: x)
    entry = progress.load()["small/centre"]
    assert (entry["state"], entry["tries"]) == (DONE, 3)


# ----------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_ignored_with_a_warning_and_kept(progress_file, damage):
    damage = damage.encode() if isinstance(damage, str) else damage
    progress_file.parent.mkdir()
    progress_file.write_bytes(damage)
    with pytest.warns(UserWarning, match=r"progress\.json: is damaged and is ignored"):
        assert progress.load() == {}
    assert progress_file.read_bytes() == damage, "reading changed it"
    with pytest.warns(UserWarning, match="is damaged"):
        progress.record("a/b", DONE)
    assert progress_file.with_name("progress.json.damaged").read_bytes() == damage
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert progress.load()["a/b"]["state"] == DONE


def test_check_works_beside_a_damaged_file(progress_file, find_centre):
    progress_file.parent.mkdir()
    progress_file.write_bytes(b"\0")
    with pytest.warns(UserWarning, match="is damaged"):
        assert check("small/centre", centre.solution)
    assert progress.load()["small/centre"]["state"] == DONE


def test_a_folder_in_place_of_the_file_is_moved_aside(progress_file):
    progress_file.mkdir(parents=True)
    with pytest.warns(UserWarning, match="cannot be read"):
        progress.record("a/b", DONE)
    assert progress.load()["a/b"]["state"] == DONE


# -------------------------------------------------------------------------- cannot be written


@pytest.mark.filterwarnings("ignore:.*cannot be read")
def test_where_nothing_can_be_written_check_works_and_remembers(unwritable, find_centre, capsys):
    with pytest.warns(UserWarning, match="cannot be written .*in this session only"):
        assert check("small/centre", centre.solution)
    assert "passed" in capsys.readouterr().out
    with pytest.warns(UserWarning):
        assert progress.load()["small/centre"]["state"] == DONE


@pytest.mark.filterwarnings("ignore:.*cannot be read")
def test_where_nothing_can_be_written_hints_go_on(unwritable):
    with pytest.warns(UserWarning, match="cannot be written"):
        assert [progress.next_hint("a/b", 3) for _ in range(4)] == [1, 2, 3, 3]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_read_only_folder_is_a_warning(progress_file):
    progress_file.parent.mkdir()
    progress_file.parent.chmod(0o500)
    with pytest.warns(UserWarning, match="cannot be written"):
        progress.record("a/b", DONE)
    progress_file.parent.chmod(0o700)


def fails_to_write(*args):
    raise PermissionError("read-only")


def test_a_write_that_fails_counts_once_and_keeps_the_old_file(progress_file, monkeypatch):
    progress.record("a/b", TRIED)
    before = progress_file.read_bytes()
    monkeypatch.setattr(progress, "write_atomically", fails_to_write)
    with pytest.warns(UserWarning, match=r"cannot be written \(read-only\)"):
        progress.record("a/b", TRIED)
        progress.record("a/b", TRIED)
    assert progress_file.read_bytes() == before
    assert progress.load()["a/b"]["tries"] == 3


def test_what_could_not_be_written_is_written_later(progress_file, monkeypatch):
    progress.record("a/old", DONE)
    with monkeypatch.context() as patch, pytest.warns(UserWarning):
        patch.setattr(progress, "write_atomically", fails_to_write)
        progress.record("a/b", TRIED)
    progress.record("a/b", DONE)
    state = json.loads(progress_file.read_bytes())["exercises"]
    assert state["a/old"]["state"] == DONE
    assert (state["a/b"]["state"], state["a/b"]["tries"]) == (DONE, 2)
    assert progress.load() == state
    progress_file.write_text('{"version": 1, "exercises": {}}')
    assert progress.load() == {}, "it is remembered although it has been written"


def test_done_elsewhere_is_not_undone_by_what_could_not_be_written(progress_file, monkeypatch):
    with monkeypatch.context() as patch, pytest.warns(UserWarning):
        patch.setattr(progress, "write_atomically", fails_to_write)
        progress.record("a/b", TRIED)
    progress_file.write_text(
        '{"version": 1, "exercises": {"a/b": {"state": "done", "tries": 5, "hints": 0}}}'
    )
    assert progress.load()["a/b"]["state"] == DONE
    progress.record("a/c", TRIED)
    assert progress.load()["a/b"] == {"state": "done", "tries": 5, "hints": 0}


@pytest.mark.parametrize("error", [NotImplementedError("no locks"), OSError("no locks")])
def test_a_disk_without_locks_is_a_warning(progress_file, monkeypatch, error):
    class NoLock:
        def __init__(self, *args, **kwargs):
            raise error

    monkeypatch.setattr(progress, "FileLock", NoLock)
    with pytest.warns(UserWarning, match=r"cannot be written \(no locks\)"):
        progress.record("a/b", DONE)
    assert progress.load()["a/b"]["state"] == DONE


def test_a_lock_that_another_holds_for_ever_is_a_warning(progress_file, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_TO_WAIT", 0.1)
    progress_file.parent.mkdir()
    context = multiprocessing.get_context("spawn")
    ready, go_on = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(f"{progress_file}.lock", ready, go_on))
    holder.start()
    try:
        assert ready.wait(60)
        with pytest.warns(UserWarning, match="cannot be written"):
            progress.record("a/b", DONE)
    finally:
        go_on.set()
        holder.join(60)
    assert not progress_file.exists()


def _hold(file, ready, go_on):
    from filelock import FileLock

    with FileLock(file):
        ready.set()
        go_on.wait(60)


# ----------------------------------------------------------------------------------- at once


def _record_many(file: str, process: int, times: int) -> None:
    os.environ[progress.VARIABLE] = file
    for number in range(times):
        progress.record("a/shared", TRIED)
        progress.record(f"a/{process}-{number}", DONE)


def test_nothing_is_lost_when_several_notebooks_write_at_once(progress_file):
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=_record_many, args=(str(progress_file), n, 25)) for n in range(4)
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # never seen half written
            progress.load()
        writers[0].join(0.005)
    assert [writer.exitcode for writer in writers] == [0] * 4
    state = progress.load()
    assert state["a/shared"]["tries"] == 100
    assert sum(entry["state"] == DONE for entry in state.values()) == 100


def test_a_crash_while_writing_leaves_the_old_file(progress_file, monkeypatch):
    progress.record("a/b", DONE)

    def crash(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            progress.record("a/c", DONE)
    assert progress.load().keys() == {"a/b"}
    progress.record("a/c", DONE)  # the lock was given back
    left = {file.name for file in Path(progress_file.parent).iterdir()}
    assert left <= {"progress.json", "progress.json.lock"}
