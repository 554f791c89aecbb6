"""Files through directory descriptors: nothing followed, nothing replaced unasked, durable or unchanged."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.kit import disk, steps
from agent.kit.disk import Directory
from agent.kit.errors import LockedError


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    """An open directory."""
    with Directory.open(str(tmp_path)) as opened:
        yield opened
    steps.watch(None)


def test_missing_parents_are_made_and_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """H8: the parent of every directory made is fsynced, or a power loss takes it with all that is in it."""
    synced: list[str] = []
    real = Directory.sync

    def noted(one: Directory) -> None:
        synced.append(one.path)
        real(one)

    monkeypatch.setattr(Directory, "sync", noted)
    with Directory.make(str(tmp_path / "a/b"), 0o700):
        assert [str(tmp_path), str(tmp_path / "a")] == synced
    assert 0o700 == (tmp_path / "a/b").stat().st_mode & 0o777


def test_a_symlink_is_never_opened(directory: Directory, tmp_path: Path) -> None:
    """Cases 19, 20: neither as a file nor as a directory."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "alias").symlink_to(tmp_path / "file")
    for act in (directory.open_child, directory.make_child):
        with pytest.raises(OSError, match="link"):
            act("link")
    for opened in (directory.open_read, directory.open_update, directory.open_append):
        with pytest.raises(OSError, match="symbolic links"):
            opened("alias")


def test_a_fifo_neither_hangs_nor_opens(directory: Directory, tmp_path: Path) -> None:
    """Case 19: O_NONBLOCK, and only regular files."""
    os.mkfifo(tmp_path / "fifo")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="not a regular file"):
        directory.open_read("fifo")

    assert before == len(os.listdir("/proc/self/fd"))


def test_publishing_replaces_nothing(directory: Directory, tmp_path: Path) -> None:
    """C7, H7: a taken name is FileExistsError, and both files stay."""
    (tmp_path / "a").write_bytes(b"new")
    (tmp_path / "b").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        directory.publish("a", "b")
    directory.publish("a", "c")

    assert (b"old", b"new") == ((tmp_path / "b").read_bytes(), (tmp_path / "c").read_bytes())


def test_a_moved_directory_is_still_ours(directory: Directory, tmp_path: Path) -> None:
    """Case 20: the descriptor, not the path, says where."""
    child = directory.make_child("child")
    (tmp_path / "child").rename(tmp_path / "moved")
    os.close(child.create("x"))

    assert (tmp_path / "moved/x").exists()
    child.close()
    child.close()


def test_removing_twice_is_no_error(directory: Directory, tmp_path: Path) -> None:
    """Idempotent."""
    (tmp_path / "a").write_bytes(b"")
    directory.remove("a")
    directory.remove("a")

    assert not directory.exists("a")


def test_a_second_lock_names_the_first_ones_pid(directory: Directory, tmp_path: Path) -> None:
    """H9: an error with path, pid and what to do."""
    directory.lock()
    with Directory.open(str(tmp_path)) as other, pytest.raises(LockedError) as caught:
        other.lock()

    assert (os.getpid(), str(tmp_path)) == (caught.value.pid, caught.value.path)
    assert "stop it first" in str(caught.value)


def test_a_lock_ends_with_its_descriptor(tmp_path: Path) -> None:
    """Case 23: nothing stale is left."""
    with Directory.open(str(tmp_path)) as one:
        one.lock()
    with Directory.open(str(tmp_path)) as two:
        two.lock()


def test_write_all_goes_on_after_a_short_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 10: every byte once, in order."""
    writev, write = os.writev, os.write
    monkeypatch.setattr(os, "writev", lambda fd, pieces: writev(fd, [bytes(pieces[0])[:2]]))
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    fd = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)

    assert 10 == disk.write_all(fd, b"0123", memoryview(b"456"), bytearray(b"789"))
    os.close(fd)
    assert b"0123456789" == (tmp_path / "f").read_bytes()


def test_a_write_that_takes_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would go on for ever."""
    monkeypatch.setattr(os, "writev", lambda *_: 0)
    monkeypatch.setattr(os, "write", lambda *_: 0)
    fd = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)
    with pytest.raises(OSError, match="returned 0"):
        disk.write_all(fd, b"x")
    os.close(fd)


def test_a_torn_line_is_ended(tmp_path: Path) -> None:
    """The next line must not be glued to it; a whole one is left as it is."""
    for before, after in ((b"", b""), (b"a\n", b"a\n"), (b"a\nhalf", b"a\nhalf\n")):
        (tmp_path / "f").write_bytes(before)
        fd = os.open(tmp_path / "f", os.O_RDWR | os.O_APPEND)
        assert len(after) == disk.end_line(fd)
        os.close(fd)
        assert after == (tmp_path / "f").read_bytes()


@pytest.mark.parametrize("step", ["state.written", "state.synced", "state.renamed"])
def test_a_state_file_is_whole_or_the_old_one(directory: Directory, tmp_path: Path, step: str) -> None:
    """Wherever it fails; and the next try works though a temporary file was left."""
    disk.write_atomic(directory, "s", b"old")

    def act(name: str) -> None:
        if name == step:
            raise OSError(errno.ENOSPC, "full")

    steps.watch(act)
    with pytest.raises(OSError, match="full"):
        disk.write_atomic(directory, "s", b"new")
    steps.watch(None)
    assert (b"new" if step == "state.renamed" else b"old") == (tmp_path / "s").read_bytes()
    disk.write_atomic(directory, "s", b"newer")

    assert (b"newer", 0o600) == ((tmp_path / "s").read_bytes(), (tmp_path / "s").stat().st_mode & 0o777)
    assert ["s"] == directory.names()


def test_an_empty_punch_asks_nothing_of_the_kernel(tmp_path: Path) -> None:
    """A length of 0 is an error there (fallocate(2))."""
    (tmp_path / "f").write_bytes(b"x" * 8192)
    fd = os.open(tmp_path / "f", os.O_RDWR)
    disk.punch(fd, 4096, 4096)
    disk.punch(fd, 8192, 4096)
    os.close(fd)

    assert b"x" * 8192 == (tmp_path / "f").read_bytes()


def test_a_directory_prints_where_it_is(directory: Directory) -> None:
    """For logs and debuggers."""
    assert directory.path in repr(directory)


def test_a_look_that_ends_early_holds_nothing_open(tmp_path: Path) -> None:
    """Whoever has found what it looked for goes: no descriptor waits for the collector."""
    for name in "abc":
        (tmp_path / name).touch()
    with Directory.open(str(tmp_path)) as directory:
        before = len(os.listdir("/proc/self/fd"))
        with directory.entries() as entries:
            assert next(entries).name in "abc"

        assert before == len(os.listdir("/proc/self/fd"))
