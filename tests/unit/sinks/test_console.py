"""The console sink: records as they are, to a descriptor that somebody else owns."""

import os
import threading
from pathlib import Path

import anyio
import pytest

from agent.sinks.base import ErrorClass, Outcome, Retry
from agent.sinks.console import ConsoleSink
from agent.streams.batch import Batch
from tests.support.sinks import deliver

pytestmark = pytest.mark.anyio


def batch(*records: bytes) -> Batch:
    """Records of a stream."""
    return Batch("a.log", "id", 0, 1, records)


async def test_records_go_out_as_the_bytes_they_are(tmp_path: Path) -> None:
    """One line each, whatever the bytes; a line without an end gets one."""
    with (tmp_path / "out").open("wb") as file:
        sink = ConsoleSink(file.fileno())
        outcome = await deliver(sink, batch(b'{"a":1}\n', b"\xff\x00\n", b"cut"))
        await deliver(sink, batch(b"next\n"))
        await sink.aclose()
        assert not file.closed

    assert (tmp_path / "out").read_bytes() == b'{"a":1}\n\xff\x00\ncut\nnext\n'
    assert outcome == Outcome(sent_bytes=15)


async def test_a_reader_that_went_away_may_come_back() -> None:
    """A broken pipe is a failure that may pass; it ends neither the batch nor the agent."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with pytest.raises(Retry, match="standard output") as caught:
            await deliver(ConsoleSink(writer), batch(b"x\n"))
    finally:
        os.close(writer)

    assert caught.value.kind is ErrorClass.IO


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("forwards", [1, 3])
async def test_a_slow_reader_gets_everything_in_order(blocking: bool, forwards: int) -> None:
    """More than a pipe holds, also where its owner made it non-blocking; batches sent at once do not mix.

    Nor do those of several forwards, each with a sink of its own.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, blocking)
    found: list[bytes] = []

    def read() -> None:
        with os.fdopen(reader, "rb") as pipe:
            found.extend(pipe)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    sinks = [ConsoleSink(writer) for _ in range(forwards)]
    lines = {letter: [letter * 1_000 + b"\n"] * 500 for letter in (b"a", b"b", b"c")}
    async with anyio.create_task_group() as group:
        for number, some in enumerate(lines.values()):
            group.start_soon(deliver, sinks[number % forwards], batch(*some))
    os.close(writer)
    thread.join()

    blocks = [found[start : start + 500] for start in range(0, 1_500, 500)]
    assert sorted(blocks) == sorted(lines.values())


async def test_a_stuck_reader_does_not_hold_the_agent() -> None:
    """A send that is cancelled returns, though its thread still waits for the pipe."""
    reader, writer = os.pipe()
    with anyio.move_on_after(0.1) as scope:
        await deliver(ConsoleSink(writer), batch(b"x" * 1_000_000))

    assert scope.cancelled_caught
    os.close(reader)  # the thread's write now fails, so that it ends with the test
    os.close(writer)
