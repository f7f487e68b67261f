"""aigc_lab.files: a file is written whole or not at all."""

import os
import stat

import pytest

from aigc_lab.files import write_atomically


def test_writing_and_overwriting(tmp_path):
    path = tmp_path / "file.bin"
    write_atomically(path, b"one")
    assert path.read_bytes() == b"one"
    write_atomically(str(path), b"\x00\r\n\xff")
    assert path.read_bytes() == b"\x00\r\n\xff"
    write_atomically(path, b"")
    assert path.read_bytes() == b""
    assert [file.name for file in tmp_path.iterdir()] == ["file.bin"]


@pytest.mark.skipif(os.name != "posix", reason="rights as on POSIX")
@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_rights_are_those_of_an_ordinary_file(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "ours", b"")
        (tmp_path / "ordinary").touch()
        assert os.umask(umask) == umask  # left as it was
    finally:
        os.umask(before)
    ours, ordinary = ((tmp_path / name).stat().st_mode for name in ("ours", "ordinary"))
    assert stat.S_IMODE(ours) == stat.S_IMODE(ordinary)


@pytest.mark.parametrize("function", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("no space left")])
def test_an_interruption_leaves_the_old_file_alone(tmp_path, monkeypatch, function, error):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    def interrupt(*_):
        raise error

    monkeypatch.setattr(os, function, interrupt)
    with pytest.raises(type(error) if isinstance(error, OSError) else error):
        write_atomically(path, b"new")
    with pytest.raises(BaseException):  # noqa: B017
        write_atomically(tmp_path / "another.bin", b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["file.bin"]
    assert path.read_bytes() == b"old"


def test_the_bytes_reach_the_disk_before_the_name_changes(tmp_path, monkeypatch):
    path = tmp_path / "file.bin"
    calls = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor):
        calls.append(("fsync", os.fstat(descriptor).st_size))
        fsync(descriptor)

    def noted_replace(source, target):
        calls.append(("replace", os.path.dirname(source) == str(tmp_path)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    write_atomically(path, b"12345")
    assert calls == [("fsync", 5), ("replace", True)]


def test_no_such_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        write_atomically(tmp_path / "absent" / "file.bin", b"")
