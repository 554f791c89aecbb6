"""`cat`: segments, open part and live file as one stream, `zcat` and `tail` together."""

from __future__ import annotations

import signal
import sys
import time
from typing import Annotated

import typer

from agent.cli import FAILED
from agent.cli.options import ConfigFile, Overrides, WatchedDirectory, load_managed
from agent.cli.output import explain
from agent.cli.since import Since
from agent.kit.errors import AgentError


def cat(
    context: typer.Context,
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="A file's path below the directory.")],
    start: Annotated[
        int | None, typer.Option("--from", metavar="POSITION", min=0, help="Start at this byte of the stream.")
    ] = None,
    since: Since = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more, until interrupted.")] = False,
    config: ConfigFile = None,
    overrides: Overrides = None,
    directory: WatchedDirectory = None,
) -> None:
    """Write a stream's records to standard output, oldest first, wherever they lie now.

    A position is a byte of the uncompressed stream, counted since its first; `status --json` has them. What cannot be
    read is left out and told on standard error; then the exit code is 1.

    Example: telemetry-agent cat traces.json --since 10m --follow | jq .resourceSpans
    """
    if start is not None and since is not None:
        raise typer.BadParameter("--from and --since both say where to start: use one of them")
    from agent.cli import reach

    managed = load_managed(context, config, overrides, directory).config
    # A reader such as head that has seen enough ends this process as it ends cat(1): by the signal, without a word.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    after = None if since is None else time.time() - since
    gaps = Gaps(stream)
    for chunk in reach.records(managed, stream, start=start, since=after, follow=follow, left_out=gaps.tell):
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    sys.stdout.buffer.flush()
    if gaps.told:
        raise typer.Exit(FAILED)


class Gaps:
    """Tells on standard error what of a stream is left out."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self.told = False

    def tell(self, start: int, end: int, why: str) -> None:
        """The positions [start, end) cannot be read."""
        self.told = True
        what = f"{end - start:,} bytes left out, positions {start} to {end}: {why}"
        hint = "`telemetry-agent verify` finds what is damaged; what is deleted by rule is in `telemetry-agent audit`"
        print(explain(AgentError(what, path=self._stream, hint=hint)), file=sys.stderr, flush=True)
