"""`status`: what the agent has under its hands, and what is wrong with it.

The facts come first, as tables; what needs an operator follows as sentences, each with its remedy, so that nobody
has to know what a flag means.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from agent.cli.options import AsJson, ConfigFile, Overrides, WatchedDirectory, load_managed
from agent.cli.output import fitted, grid, print_json, screen
from agent.control import DirectoryStatus, NextRotation, Status, StreamStatus, length_limit
from agent.kit.errors import printable
from agent.kit.words import count, duration, moment, percent, size

if TYPE_CHECKING:
    from rich.console import Console

_DROP = ("METHOD", "RATIO", "OLDEST", "ALLOCATED", "GROWTH/MIN", "SEGMENTS", "LOST")
"""Columns a narrow terminal can do without, the first to go first."""
_RIGHT = ("LIVE", "ALLOCATED", "GROWTH/MIN", "SEGMENTS", "OLDEST", "RATIO", "LOST")


def status(
    context: typer.Context,
    config: ConfigFile = None,
    overrides: Overrides = None,
    directory: WatchedDirectory = None,
    json: AsJson = False,
) -> None:
    """Show every stream, the directory against its limits, and what needs attention.

    Works while no agent runs, too: it then tells what the files themselves say.

    Example: telemetry-agent status --json | jq '.streams[].lost_bytes'
    """
    from agent.cli import reach

    loaded = load_managed(context, config, overrides, directory)
    answer = reach.status(loaded.config, loaded.path)
    if json:
        print_json(answer)
    else:
        show(answer, screen())


def show(answer: Status, console: Console) -> None:
    """Print the whole picture."""
    for line in _head(answer):
        console.print(line)
    console.print()
    _show_directory(answer.directory, console)
    console.print()
    _show_streams(answer, console)
    console.print()
    problems = list(_problems(answer))
    if not problems:
        console.print("No problems.")
        return
    console.print(f"{count(len(problems), 'problem')}:", style="bold")
    for problem in problems:
        console.print(f"- {problem}", style="yellow")


def _head(answer: Status) -> Iterator[str]:
    if answer.running:
        ready = "ready" if answer.ready else "starting"
        yield (
            f"telemetry-agent {answer.version}, running as pid {answer.pid} since {moment(answer.started)} "
            f"({duration(answer.now - answer.started)}), {ready}"
        )
    else:
        yield f"telemetry-agent {answer.version}: no agent is running here; this is what the files say"
    of = [f"service {answer.service_name}" if answer.service_name else "", answer.environment]
    named = ", ".join(printable(part) for part in of if part)
    path = f"configuration {printable(answer.config_path) if answer.config_path else 'is the defaults'}"
    yield f"{named}; {path}" if named else path
    if answer.running:
        watcher = answer.watcher
        why = f" ({watcher.why})" if watcher.why else ""
        yield f"watching {_directories(watcher.directories)} by {watcher.mode}{why}, {count(watcher.rescans, 'rescan')}"


def _directories(number: int) -> str:
    return "1 directory" if number == 1 else f"{number:,} directories"


def _show_directory(directory: DirectoryStatus, console: Console) -> None:
    console.print(
        f"{printable(directory.path)} on {directory.filesystem}, {size(directory.free_bytes)} free of "
        f"{size(directory.capacity_bytes)} ({percent(directory.free_bytes, directory.capacity_bytes)})",
        style="bold",
    )
    table = grid(console, "USE", "BYTES", "LIMIT", right=("BYTES",))
    for name, amount in (
        ("live files", directory.live_bytes),
        ("open parts", directory.part_bytes),
        ("segments", directory.segment_bytes),
        ("quarantine", directory.quarantine_bytes),
        ("state", directory.state_bytes),
    ):
        table.add_row(name, size(amount), "")
    table.add_row("total", size(directory.total_bytes), _limits(directory), style=_colour(directory))
    console.print(table)


def _limits(directory: DirectoryStatus) -> str:
    limits = (("retention.max_total", directory.max_total), ("files.critical_total", directory.critical_total))
    told = [f"{percent(directory.total_bytes, limit)} of {size(limit)} ({key})" for key, limit in limits if limit]
    return ", ".join(told) or "none"


def _colour(directory: DirectoryStatus) -> str:
    limits = [limit for limit in (directory.max_total, directory.critical_total) if limit]
    if directory.critical:
        return "bold red"
    return "yellow" if limits and directory.total_bytes > 0.9 * min(limits) else "green"


def _show_streams(answer: Status, console: Console) -> None:
    if not answer.streams:
        console.print("No telemetry files yet: nothing in the directory matches files.include.")
        console.print("A file is taken up as soon as it appears.")
        return
    rows = [_row(stream, answer.now) for stream in answer.streams]
    styles = ["" if stream.state == "ok" else "red" for stream in answer.streams]
    console.print(fitted(console, rows, styles, drop=_DROP, right=_RIGHT))


def _row(stream: StreamStatus, now: float) -> dict[str, str]:
    return {
        "STREAM": printable(stream.name),
        "STATE": stream.state,
        "LIVE": size(stream.live_bytes),
        "ALLOCATED": size(stream.allocated_bytes),
        "GROWTH/MIN": size(stream.growth_per_minute),
        "NEXT ROTATION": _next(stream.next_rotation, now),
        "SEGMENTS": f"{stream.segments} ({size(stream.segment_bytes)})" if stream.segments else "0",
        "OLDEST": "-" if stream.oldest is None else duration(now - stream.oldest),
        "RATIO": "-" if stream.ratio is None else f"{stream.ratio:.1f}",
        "LOST": size(stream.lost_bytes),
        "METHOD": stream.method,
    }


def _next(rotation: NextRotation, now: float) -> str:
    if not rotation.reason:
        return "-"
    if rotation.at is None:
        return f"by {rotation.reason}"
    left = rotation.at - now
    about = "about " if rotation.reason == "size" else ""
    return f"{rotation.reason}, in {about}{duration(left)}" if left >= 1 else f"{rotation.reason}, now"


def _problems(answer: Status) -> Iterator[str]:
    """What needs an operator, as sentences."""
    yield from answer.directory.problems
    if answer.directory.critical and not answer.directory.problems:
        yield "The directory is above files.critical_total, and retention may not delete more."
    for stream in answer.streams:
        yield from _stream_problems(stream)
    for part in answer.components:
        if part.state in ("degraded", "failed"):
            told = part.message or "no reason is known"
            advice = f"{told}; {part.hint}" if part.hint else told
            yield f"{part.name} is {part.state} since {moment(part.since)}: {_sentence(advice)}"
    if answer.running and answer.watcher.mode == "stopped":
        yield "The watcher has stopped: growth is found only by the periodic scan. Restart the agent if this lasts."
    if answer.audit_unwritten:
        entries = "1 entry" if answer.audit_unwritten == 1 else f"{answer.audit_unwritten} entries"
        yield f"The audit trail misses {entries} that could not be written: is the state directory full or read-only?"


def _stream_problems(stream: StreamStatus) -> Iterator[str]:
    name = printable(stream.name)
    if stream.state in ("refused", "failing"):
        yield f"{name} is {stream.state}: {_sentence(stream.why)}"
    if stream.lost_bytes:
        yield (
            f"{name} has lost at least {size(stream.lost_bytes)} since the agent started; "
            f"`telemetry-agent audit --stream {name}` tells when and why."
        )
    for flag in stream.flags:
        yield f"{name} {_flag(flag, stream)}"


def _flag(flag: str, stream: StreamStatus) -> str:
    sentences = {
        "warn_size": f"holds {size(stream.live_bytes)} of live data, more than files.warn_size.",
        "size_limit": f"is {length_limit(stream)}.",
        "overdue": "should have been rotated by now; if this lasts, see the agent's log.",
        "no_reset": (
            f"cannot be set back to size 0 here, so the size that ls shows ({size(stream.apparent_size)}) grows on; "
            f"it takes {size(stream.allocated_bytes)} of disk."
        ),
    }
    return sentences.get(flag, f"is flagged {flag}.")


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
