"""`generate`: telemetry that looks like an application's, into the watched directory or wherever it is wanted."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from agent.cli.options import ConfigFile, Overrides, WatchedDirectory, load_managed
from agent.cli.rehearse import span

if TYPE_CHECKING:
    from agent.kit.lines import LineFile


def generate(
    context: typer.Context,
    spans: Annotated[int, typer.Option("--spans", min=1, max=10_000_000, help="How many spans in all.")] = 100,
    delay: Annotated[
        str, typer.Option("--delay", metavar="TIME", help="Time of a request, and from one to the next; 0: at once.")
    ] = "0",
    errors: Annotated[bool, typer.Option("--errors", help="Let one request in five fail.")] = False,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Append to this file; - prints.")
    ] = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    directory: WatchedDirectory = None,
) -> None:
    """Write generated traces, to see them rotated and delivered by the running agent.

    They go to `telemetry-agent-test.json` in the watched directory; their `service.name` is `telemetry-agent-test`,
    so nobody takes them for an application's. Ctrl-C ends early.

    Example: telemetry-agent generate --spans 100 --delay 50ms --errors
    """
    from agent.control.drills import STREAM
    from agent.kit.lines import LineFile
    from agent.kit.words import count, size

    pause = span(delay, "--delay", longest=3600)
    if output == "-":
        _write(spans, pause, errors, _Pipe(sys.stdout.buffer))
        return
    if output is None:
        place, name = load_managed(context, config, overrides, directory).config.files.directory, STREAM
    else:
        head, slash, name = output.rpartition("/")
        place = (head or slash) or "."
    file = LineFile(place, name)
    try:
        written, total = _write(spans, pause, errors, file)
    finally:
        file.close()
    print(f"{count(written, 'span')}, {size(total)}, appended to {file.path}")


class _Pipe:
    """Lines to standard output."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def append(self, line: bytes) -> None:
        """Write a line."""
        self._stream.write(line)
        self._stream.flush()


def _write(spans: int, delay: float, errors: bool, target: _Pipe | LineFile) -> tuple[int, int]:
    """Spans and bytes that were written."""
    from agent.cli.interrupts import interrupts
    from agent.kit.clock import SystemClock
    from agent.rehearsal import load

    sums = [0, 0]

    def wrote(more: int, length: int) -> None:
        sums[0] += more
        sums[1] += length

    wanted = load.requests(spans, delay, errors=errors)
    with interrupts() as stop:
        load.write(wanted, target.append, wrote, SystemClock(), stop)
    return sums[0], sums[1]
