"""The file sink: whole lines in files of the same names, through full disks and torn writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.kit import disk
from agent.kit.disk import Directory
from agent.sinks.base import ErrorClass, Retry
from agent.sinks.file import FileSink
from agent.streams.batch import Batch
from tests.support.sinks import deliver

pytestmark = pytest.mark.anyio


def batch(start: int, *records: bytes, stream: str = "a.json") -> Batch:
    """Records that begin at a position."""
    return Batch(stream, stream, start, start + sum(map(len, records)), records)


async def test_records_become_lines_of_files_of_their_names(tmp_path: Path) -> None:
    """Also below; a record without its line's end gets one."""
    sink = FileSink(Directory.open(str(tmp_path)))
    await deliver(sink, batch(0, b"1\n", b"2"))
    await deliver(sink, batch(3, b"3\n"))
    await deliver(sink, batch(0, b"4\n", stream="deep/er/b.log"))
    await sink.aclose()
    await sink.aclose()

    assert b"1\n2\n3\n" == (tmp_path / "a.json").read_bytes()
    assert b"4\n" == (tmp_path / "deep/er/b.log").read_bytes()


async def test_a_write_that_stopped_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk takes two bytes and no more: a failure that may pass, and the same batch is then there once."""
    sink = FileSink(Directory.open(str(tmp_path)))
    write, calls = os.write, []

    def full(fd: int, data: bytes) -> int:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return write(fd, bytes(data)[:2])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(Retry) as caught:
            await deliver(sink, batch(0, b"one\n"))
    assert ErrorClass.IO is caught.value.kind
    await deliver(sink, batch(0, b"one\n"))
    await sink.aclose()

    assert b"one\n" == (tmp_path / "a.json").read_bytes()


async def test_a_batch_whose_sync_failed_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system drops what it could not write, and the next sync succeeds without it; NULs may be left in its place.

    The second writing is on lines of its own, so that whoever passes over the damage finds it whole.
    """
    sink = FileSink(Directory.open(str(tmp_path)))
    await deliver(sink, batch(0, b"one\n"))

    def lose(_: int) -> None:
        (tmp_path / "a.json").write_bytes(b"one\n" + bytes(4))
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(disk, "sync_file", lose)
        with pytest.raises(Retry):
            await deliver(sink, batch(4, b"two\n"))
    await deliver(sink, batch(4, b"two\n"))
    await deliver(sink, batch(8, b"three\n"))
    await sink.aclose()

    assert b"one\n\0\0\0\0\ntwo\nthree\n" == (tmp_path / "a.json").read_bytes()


async def test_a_new_file_is_there_for_good_before_its_batch_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory could not be synced: it is synced when the batch comes again, though the file is there by then."""
    sink = FileSink(Directory.open(str(tmp_path)))
    synced: list[bool] = []

    def sync(_: Directory) -> None:
        synced.append(True)
        if len(synced) == 1:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(Directory, "sync", sync)
    with pytest.raises(Retry):
        await deliver(sink, batch(0, b"one\n"))
    await deliver(sink, batch(0, b"one\n"))
    await deliver(sink, batch(4, b"two\n"))
    await sink.aclose()

    assert 2 == len(synced)


async def test_a_disk_that_is_full_where_a_torn_line_ends_glues_nothing_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line's end is tried again with its batch."""
    (tmp_path / "a.json").write_bytes(b"to")
    sink = FileSink(Directory.open(str(tmp_path)))

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(disk, "write_all", full)
        with pytest.raises(Retry):
            await deliver(sink, batch(0, b"torn\n"))
    await deliver(sink, batch(0, b"torn\n"))
    await sink.aclose()

    assert b"to\ntorn\n" == (tmp_path / "a.json").read_bytes()


async def test_a_line_that_a_crash_tore_damages_no_other(tmp_path: Path) -> None:
    """The next life ends it first."""
    (tmp_path / "a.json").write_bytes(b"whole\nto")
    sink = FileSink(Directory.open(str(tmp_path)))
    await deliver(sink, batch(0, b"torn\n"))
    await sink.aclose()

    assert b"whole\nto\ntorn\n" == (tmp_path / "a.json").read_bytes()
