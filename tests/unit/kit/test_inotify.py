"""Inotify over real directories."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.kit import inotify, linux
from agent.kit.inotify import Inotify


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Inotify]:
    """An instance over an empty directory."""
    watch = Inotify([str(tmp_path)])
    yield watch
    watch.close()


def test_each_change_is_told_once_with_its_path(watch: Inotify, tmp_path: Path) -> None:
    """Growth, creation, both ends of a rename, removal and changed rights, however often each came."""
    path = tmp_path / "a.json"
    with path.open("wb", buffering=0) as file:
        for _ in range(100):
            file.write(b"x")
    assert watch.read() == {("added", str(path)), ("changed", str(path))}

    path.chmod(0o600)
    assert watch.read() == {("changed", str(path))}
    path.rename(tmp_path / "b.json")
    assert watch.read() == {("gone", str(path)), ("added", str(tmp_path / "b.json"))}
    (tmp_path / "b.json").unlink()
    assert ("gone", str(tmp_path / "b.json")) in watch.read()
    assert watch.read() == set()


def test_reading_a_file_and_what_lies_deeper_tell_nothing(watch: Inotify, tmp_path: Path) -> None:
    """Only what changes the directory and its files counts."""
    (tmp_path / "sub").mkdir()
    assert watch.read() == {("added", str(tmp_path / "sub"))}

    (tmp_path / "sub" / "a.json").write_text("x")
    (tmp_path / "sub" / "a.json").read_text()
    assert watch.read() == set()


@pytest.mark.parametrize("how", ["remove", "move"])
def test_a_directory_that_goes_is_told(tmp_path: Path, how: str) -> None:
    """By its own path, whether it is removed or moved away."""
    path = tmp_path / "d"
    path.mkdir()
    watch = Inotify([str(path)])
    if how == "move":
        path.rename(tmp_path / "e")
    else:
        shutil.rmtree(path)

    assert ("gone", str(path)) in watch.read()
    watch.close()


def test_more_events_than_one_read_takes_all_come(watch: Inotify, tmp_path: Path) -> None:
    """Their names fill several buffers."""
    names = {f"{number:0200d}.json" for number in range(1000)}
    for name in names:
        os.close(os.open(tmp_path / name, os.O_CREAT | os.O_WRONLY))

    assert watch.read() == {("added", str(tmp_path / name)) for name in names}


def test_events_beyond_the_queue_are_told_as_unknown(
    watch: Inotify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel drops what its queue does not take and says so once."""
    monkeypatch.setattr(os, "read", lambda _fd, _size: inotify._HEAD.pack(-1, inotify._OVERFLOW, 0, 0))

    assert watch.read() == {("unknown", str(tmp_path))}


def test_a_change_ends_the_wait_and_so_does_the_end(tmp_path: Path) -> None:
    """From another thread; after the end nothing waits any more, and an end after closing harms nobody."""
    watch = Inotify([str(tmp_path)])
    thread = threading.Thread(target=watch.wait, daemon=True)
    thread.start()
    (tmp_path / "a.json").write_text("x")
    thread.join(30)
    assert not thread.is_alive()

    watch.read()
    thread = threading.Thread(target=watch.wait, daemon=True)
    thread.start()
    watch.end()
    thread.join(30)
    assert not thread.is_alive()

    watch.close()
    watch.close()
    other = os.eventfd(0, os.EFD_NONBLOCK)
    watch.end()
    with pytest.raises(BlockingIOError):
        os.eventfd_read(other)
    os.close(other)


def test_what_cannot_be_watched_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that is missing or no directory, and the kernel's limit."""
    before = os.listdir("/proc/self/fd")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError):
        Inotify([str(tmp_path), str(tmp_path / "missing")])
    with pytest.raises(NotADirectoryError):
        Inotify([str(tmp_path / "file")])

    def full(_fd: int, _path: str, _mask: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(linux, "inotify_watch", full)
    with pytest.raises(OSError, match="No space left"):
        Inotify([str(tmp_path)])
    assert os.listdir("/proc/self/fd") == before
