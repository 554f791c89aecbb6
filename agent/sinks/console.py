"""The sink that writes records to an open descriptor, one line each: standard output, or whatever it was led to.

Records go out as the bytes they are, so that `telemetry-agent run | jq` works. A reader that is slow slows this
consumer down and nobody else; one that went away is a failure that may pass.
"""

from __future__ import annotations

import os
import select

import anyio
import anyio.to_thread

from agent.sinks.base import ErrorClass, Outcome, Retry
from agent.streams.batch import Batch


class ConsoleSink:
    """Writes to a descriptor that belongs to somebody else and stays open."""

    def __init__(self, fd: int = 1, *, destination: str = "standard output") -> None:
        self._fd = fd
        self.destination = destination
        # One writer at a time: two batches at once would mix their lines on a pipe.
        self._turn = anyio.Lock()

    async def send(self, batch: Batch) -> Outcome:
        """Write every record. A write that fails half way is written again whole: at least once, as everywhere.

        Takes as long as the reader at the other end does. A cancelled call leaves its thread behind: a pipe that
        nobody reads must not hold the process.
        """
        body = b"".join(record if record.endswith(b"\n") else record + b"\n" for record in batch.records)
        async with self._turn:
            try:
                await anyio.to_thread.run_sync(_write, self._fd, body, abandon_on_cancel=True)
            except OSError as error:
                raise Retry(f"{self.destination} did not take the batch: {error.strerror}", ErrorClass.IO) from error
        return Outcome(sent_bytes=len(body))

    async def aclose(self) -> None:
        """Nothing to give back: the descriptor is not ours."""


def _write(fd: int, body: bytes) -> None:
    rest = memoryview(body)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            # O_NONBLOCK lies on the open file, which we share with whoever gave it to us: wait, don't change it.
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()
