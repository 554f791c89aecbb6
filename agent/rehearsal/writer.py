"""The writer of demo and rehearsals: it treats its file as the OpenTelemetry Collector's file exporter does.

It opens the file once, for reading and writing, truncated, not for appending, writes each line with two calls, and
never opens it again. What it wrote is the truth that everything is judged by: it is told on standard output at the end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from agent.otlp.generate import Generator

_SLICE = 0.01  # seconds between two looks at the pace


def write(path: str, rate: float, *, ends: list[bool]) -> dict[str, int]:
    """Write `rate` lines a second to `path` until `ends` holds something; the truth about what was written.

    The ids of the lines are 0, 1, 2, ..: `lines` of them, in `bytes` bytes.
    """
    lines = total = 0
    source = Generator()
    parent = os.getppid()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    began = time.monotonic()
    # An orphan ends too: its reader has died, and nobody would stop it.
    while not ends and os.getppid() == parent:
        due = int((time.monotonic() - began) * rate)
        while lines < due and not ends:
            line = source.trace_line()
            total += _write_all(fd, line[:-1]) + _write_all(fd, b"\n")
            lines += 1
        time.sleep(_SLICE)
    os.close(fd)
    return {"lines": lines, "bytes": total}


def _write_all(fd: int, content: bytes) -> int:
    done = 0
    while done < len(content):
        done += os.write(fd, content[done:])
    return done


def main() -> None:
    """`python -m agent.rehearsal.writer PATH LINES_PER_SECOND`, until SIGTERM."""
    ends: list[bool] = []
    signal.signal(signal.SIGTERM, lambda *_: ends.append(True))
    truth = write(sys.argv[1], float(sys.argv[2]), ends=ends)
    print(json.dumps(truth), flush=True)


if __name__ == "__main__":
    main()
