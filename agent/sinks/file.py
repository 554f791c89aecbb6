"""The sink that writes records into files of another directory, one for each stream, under the same names.

A batch counts as delivered when its file is synced. A write that failed half way goes on where it stopped when the same
batch comes again; after a crash the torn line is ended first, so it damages no other. A sync that failed says that the
system may have dropped what was written: the batch is written again, whole and on lines of its own, for a second sync
of the same bytes would succeed without them. Rotation of the files is not done here: an engine of its own looks after
the directory, as it does where the telemetry comes from.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import anyio
import anyio.to_thread

from agent.kit import disk
from agent.kit.disk import Directory
from agent.sinks.base import ErrorClass, Outcome, Retry
from agent.streams.batch import Batch


@dataclass(slots=True)
class _Begun:
    """A batch of which the first bytes are written."""

    bounds: tuple[int, int]
    written: int


class FileSink:
    """Appends to files below a directory, which it owns from now on."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._begun: dict[str, _Begun] = {}
        self._doubtful: set[str] = set()
        """Streams of which nobody knows what is on the disk: written, and not synced or in vain."""
        self._turn = anyio.Lock()
        self.destination = directory.path

    def encode(self, batch: Batch) -> bytes:
        """The records, each with a line's end."""
        return b"".join(record if record.endswith(b"\n") else record + b"\n" for record in batch.records)

    async def send(self, batch: Batch, body: bytes) -> Outcome:
        """Append every record and sync. Raises Retry when the disk does not take it."""
        async with self._turn:
            try:
                await anyio.to_thread.run_sync(self._append, batch, body)
            except OSError as error:
                raise Retry(f"{self.destination} did not take the batch: {error.strerror}", ErrorClass.IO) from error
        return Outcome(sent_bytes=len(body))

    async def aclose(self) -> None:
        """Let go of the directory."""
        self._directory.close()

    def _append(self, batch: Batch, body: bytes) -> None:
        opened: list[Directory] = []
        place = self._directory
        *folders, leaf = batch.stream.split("/")
        try:
            for folder in folders:
                place = place.make_child(folder)
                opened.append(place)
            fresh = not place.exists(leaf) or batch.stream_id in self._doubtful
            fd = place.open_append(leaf, 0o644)
            try:
                self._write(fd, batch, body)
                del self._begun[batch.stream_id]
                self._doubtful.add(batch.stream_id)
                disk.sync_file(fd)
            finally:
                os.close(fd)
            if fresh:
                place.sync()
        finally:
            for one in opened:
                one.close()
        self._doubtful.discard(batch.stream_id)

    def _write(self, fd: int, batch: Batch, body: bytes) -> None:
        begun = self._begun.get(batch.stream_id)
        if begun is None or begun.bounds != (batch.start, batch.end):
            if batch.stream_id in self._doubtful or _torn(fd):
                disk.write_all(fd, b"\n")
            begun = self._begun[batch.stream_id] = _Begun((batch.start, batch.end), 0)
        while begun.written < len(body):
            begun.written += os.write(fd, memoryview(body)[begun.written :])


def _torn(fd: int) -> bool:
    """True when the file ends in the middle of a line."""
    size = os.fstat(fd).st_size
    return size > 0 and os.pread(fd, 1, size - 1) not in (b"\n", b"\0")
