"""The sink that writes records to an open descriptor, one line each: standard output, or whatever it was led to.

Records go out as the bytes they are, so that `telemetry-agent run | jq` works. A reader that is slow slows this
consumer down and nobody else; one that went away is a failure that may pass.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from weakref import WeakValueDictionary

import aiofiles
import anyio

from agent.sinks.base import ErrorClass, Outcome, Retry
from agent.streams.batch import Batch

_TURNS: WeakValueDictionary[int, anyio.Lock] = WeakValueDictionary()
"""One writer of a descriptor at a time, whichever sink it is: two batches at once would mix their lines on a pipe."""


class ConsoleSink:
    """Writes to a descriptor that belongs to somebody else and stays open."""

    def __init__(self, fd: int = 1, *, destination: str = "standard output") -> None:
        self._fd = fd
        self.destination = destination
        self._turn = _TURNS.setdefault(fd, anyio.Lock())
        # A thread of its own: a pipe that nobody reads holds neither the process nor anybody else's thread.
        self._thread = ThreadPoolExecutor(1, "console")

    def encode(self, batch: Batch) -> bytes:
        """The records, each with a line's end."""
        return b"".join(record if record.endswith(b"\n") else record + b"\n" for record in batch.records)

    async def send(self, _batch: Batch, body: bytes) -> Outcome:
        """Write every record. A write that fails half way is written again whole: at least once, as everywhere.

        Takes as long as the reader at the other end does. A cancelled call leaves its write behind.
        """
        async with self._turn:
            try:
                await self._write(body)
            except OSError as error:
                raise Retry(f"{self.destination} did not take the batch: {error.strerror}", ErrorClass.IO) from error
        return Outcome(sent_bytes=len(body))

    async def aclose(self) -> None:
        """Let go of the thread; the descriptor is not ours."""
        self._thread.shutdown(wait=False)

    async def _write(self, body: bytes) -> None:
        file = await aiofiles.open(self._fd, "wb", buffering=0, closefd=False, executor=self._thread)
        rest = memoryview(body)
        while rest:
            # None: O_NONBLOCK lies on the open file, which we share with whoever gave it to us: wait, don't change it.
            written: int | None = await file.write(rest)
            if written is None:
                await anyio.wait_writable(self._fd)
            else:
                rest = rest[written:]
