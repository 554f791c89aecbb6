"""The file sink: whole lines in files of the same names, through full disks and torn writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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


async def test_a_line_that_a_crash_tore_damages_no_other(tmp_path: Path) -> None:
    """The next life ends it first."""
    (tmp_path / "a.json").write_bytes(b"whole\nto")
    sink = FileSink(Directory.open(str(tmp_path)))
    await deliver(sink, batch(0, b"torn\n"))
    await sink.aclose()

    assert b"whole\nto\ntorn\n" == (tmp_path / "a.json").read_bytes()
