"""A writer in a process of its own, as fast as Python goes: `python -m tests.torture.writers FILE --mode hold ...`.

It imports nothing of agent/ and learns nothing of it. At its end it writes down the truth: how many whole records it
wrote, and where it truncated. Ids are consecutive from 0. A write that fails or is short ends it with an error; the
truth then tells what was complete before.

Modes (how real programs write):
    append    O_APPEND, two writes a line: the body, then the line end
    hold      O_RDWR|O_CREAT|O_TRUNC without O_APPEND, two writes a line: the OpenTelemetry Collector's default
    buffered  O_APPEND in blocks of 4 KiB, so that the file mostly ends mid-line; flushed once a second and at the end
    reopen    open with O_APPEND, one write, close, for each line: between two lines nobody has the file open
    many      O_APPEND, one write a line: several of these may share one file
"""

from __future__ import annotations

import argparse
import errno
import gc
import json
import os
import signal
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.torture import record

_BLOCK = 4096
_LOOK = 64
"""Records between two looks at the clock."""
_TICK = 0.0005
"""Seconds a writer with a rate sleeps when it is ahead."""
_FINEST = 100
"""Nanoseconds of latency that are told apart."""
_LONGEST = 1_000_000
"""Latencies of so many times that, 100 ms, and more are one."""
FIRST = 1.0
"""Seconds at the beginning whose latencies are told apart: who watches the file has to get used to it."""


class _Many:
    """One open file; `put` writes one record."""

    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = os.open(path, self.flags, 0o644)

    def write(self, data: bytes | bytearray) -> None:
        if os.write(self.fd, data) != len(data):
            raise OSError(errno.EIO, "short write", self.path)

    def put(self, body: bytes) -> None:
        self.write(body + b"\n")

    def close(self) -> None:
        os.close(self.fd)


class _Append(_Many):
    def put(self, body: bytes) -> None:
        self.write(body)
        self.write(b"\n")


class _Hold(_Append):
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC


class _Buffered(_Many):
    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.held = bytearray()
        self.flushed = time.monotonic()

    def put(self, body: bytes) -> None:
        self.held += body
        self.held += b"\n"
        while len(self.held) >= _BLOCK:
            self.write(self.held[:_BLOCK])
            del self.held[:_BLOCK]
        if time.monotonic() - self.flushed >= 1:
            self.flush()

    def flush(self) -> None:
        self.write(self.held)
        self.held.clear()
        self.flushed = time.monotonic()

    def close(self) -> None:
        self.flush()
        super().close()


class _Reopen(_Many):
    def __init__(self, path: str) -> None:
        super().__init__(path)
        os.close(self.fd)

    def put(self, body: bytes) -> None:
        self.fd = os.open(self.path, self.flags, 0o644)
        try:
            self.write(body + b"\n")
        finally:
            os.close(self.fd)

    def close(self) -> None:
        """Nothing is open."""


MODES: dict[str, type[_Many]] = {
    "append": _Append,
    "hold": _Hold,
    "buffered": _Buffered,
    "reopen": _Reopen,
    "many": _Many,
}


class Writer:
    """Writes records until its time or its number is up, or until `stop` is set."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.make = record.maker(options.writer, options.payload)
        self.outlet = MODES[options.mode](options.file)
        self.written = 0
        self.truncations: list[int] = []
        self.first, self.then = (array("Q", bytes(8 * (_LONGEST + 1))) if options.latency else None for _ in range(2))
        """How many records took so long, in the first second and after it."""
        self.stop = False

    def run(self) -> None:
        """Write; at the end, also that by an error, close the file."""
        options = self.options
        last = options.lines or 1 << 62
        begun = restarted = time.monotonic()
        try:
            while self.written < last and not self.stop:
                now = time.monotonic()
                if options.seconds and now - begun >= options.seconds:
                    break
                if options.restart_every and now - restarted >= options.restart_every:
                    restarted = now
                    self.restart()
                self.burst(min(last, self.due(now - begun)), self.first if now - begun < FIRST else self.then)
        finally:
            self.outlet.close()

    def due(self, elapsed: float) -> int:
        """How many records should be there after `elapsed` seconds; at full speed, always some more."""
        ahead = self.written + _LOOK
        return min(ahead, int(elapsed * self.options.rate)) if self.options.rate else ahead

    def burst(self, end: int, latencies: array[int] | None) -> None:
        """Write the records up to id `end`, or sleep a moment when they are there already."""
        if end <= self.written:
            time.sleep(_TICK)
        elif latencies is None:
            self.plain(end, self.outlet.put)
        else:
            self.timed(end, self.outlet.put, latencies)

    def plain(self, end: int, put: Callable[[bytes], None]) -> None:
        """Write the records up to `end`. `written` moves with each one, so that an error leaves the truth."""
        make = self.make
        for n in range(self.written, end):
            put(make(n))
            self.written = n + 1

    def timed(self, end: int, put: Callable[[bytes], None], latencies: array[int]) -> None:
        """As `plain`, and count how long each record's writes took."""
        make = self.make
        clock = time.perf_counter_ns
        for n in range(self.written, end):
            body = make(n)
            before = clock()
            put(body)
            latencies[min((clock() - before) // _FINEST, _LONGEST)] += 1
            self.written = n + 1

    def restart(self) -> None:
        """Close and open again, as a program that is restarted; in mode `hold` this truncates."""
        self.outlet.close()
        self.outlet = type(self.outlet)(self.options.file)
        if self.outlet.flags & os.O_TRUNC:
            self.truncations.append(self.written)

    def truth(self, seconds: float) -> dict[str, Any]:
        """What was written, for the judge."""
        options = self.options
        return {
            "stream": os.path.basename(options.file),
            "writer": options.writer,
            "mode": options.mode,
            "written": self.written,
            "record_bytes": record.length(options.payload),
            "truncations": self.truncations,
            "seconds": round(seconds, 3),
            "latency_us": {"first": counts(self.first), "then": counts(self.then)} if options.latency else {},
        }


def counts(latencies: array[int] | None) -> list[tuple[float, int]]:
    """How often which latency was measured, in microseconds, the shortest first."""
    return [(at * _FINEST / 1000, count) for at, count in enumerate(latencies or ()) if count]


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(prog="tests.torture.writers", description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--mode", choices=sorted(MODES), default="append")
    parser.add_argument("--writer", type=int, default=0, help="whose ids these are, 0 to 999")
    parser.add_argument("--truth", help="file for what was written, as JSON")
    parser.add_argument("--seconds", type=float, default=0, help="stop after so long (default: never)")
    parser.add_argument("--lines", type=int, default=0, help="stop after so many records (default: never)")
    parser.add_argument("--rate", type=float, default=0, help="records a second (default: full speed)")
    parser.add_argument("--payload", type=int, default=64, help="bytes of text in a record")
    parser.add_argument("--latency", action="store_true", help="measure each record's writes, to 100 ms")
    parser.add_argument("--restart-every", type=float, default=0, help="seconds between two restarts")
    return parser.parse_args(given)


def main() -> None:
    """Write until done or SIGTERM; then tell the truth."""
    options = arguments()
    writer = Writer(options)

    def stop(*_: object) -> None:
        writer.stop = True

    signal.signal(signal.SIGTERM, stop)
    gc.disable()
    begun = time.monotonic()
    try:
        writer.run()
    finally:
        if options.truth:
            Path(options.truth).write_text(json.dumps(writer.truth(time.monotonic() - begun)), "utf-8")


if __name__ == "__main__":
    main()
