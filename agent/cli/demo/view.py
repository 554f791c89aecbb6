"""The demo's picture: what the file system shows while the agent works, and the count at the end."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.cli.output import grid
from agent.kit.words import count, size

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from agent.cli.demo.judge import Verdict

_BARS = "▁▂▃▄▅▆▇█"
_ASCII_BARS = "._-=+*%#"
_WIDTH = 60  # looks in the sparkline


@dataclass(frozen=True)
class Look:
    """The directory at one moment: what stat and a listing tell. Sizes are bytes, `at` seconds since the start."""

    at: float
    apparent: int
    """The live file's length, which only grows: its writer never lets go."""
    allocated: int
    """The disk space the live file takes."""
    segments: int
    segment_bytes: int
    newest: str


def look(live: Path, at: float) -> Look:
    """Look at the live file and the segments beside it."""
    info = live.stat() if live.exists() else None
    segments = sorted(live.parent.glob("*.gz"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    return Look(
        at=at,
        apparent=info.st_size if info else 0,
        allocated=info.st_blocks * 512 if info else 0,
        segments=len(segments),
        segment_bytes=sum(path.stat().st_size for path in segments),
        newest=segments[-1].name if segments else "",
    )


class Picture:
    """The last looks, as a picture for a terminal or a line for anything else."""

    def __init__(self, live: Path, seconds: float, *, ascii_only: bool) -> None:
        self._live = live
        self._seconds = seconds
        self._bars = _ASCII_BARS if ascii_only else _BARS
        self._looks: deque[Look] = deque(maxlen=_WIDTH)

    def add(self, look: Look) -> None:
        """Take one more look in."""
        self._looks.append(look)

    def line(self) -> str:
        """The newest look as one line."""
        now = self._looks[-1]
        return (
            f"{now.at:5.1f}s  live file {size(now.apparent)} long, {size(now.allocated)} on disk;  "
            f"sealed {count(now.segments, 'time')} into {size(now.segment_bytes)}"
        )

    def frame(self) -> RenderableType:
        """The newest look as a picture."""
        from rich.console import Group
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        now = self._looks[-1]
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(ratio=1)
        table.add_row("length", size(now.apparent), Text("only grows: the writer never lets go", style="dim"))
        table.add_row("on disk", Text(size(now.allocated), style="green"), Text(self._sparkline(), style="green"))
        table.add_row("sealed", count(now.segments, "time"), Text(now.newest, style="cyan"))
        table.add_row("archive", size(now.segment_bytes), Text("keeps everything, for an honest count", style="dim"))
        left = max(0.0, self._seconds - now.at)
        title = Text(f" {self._live.name}: written, held open and sealed at the same time ", style="bold")
        hint = Text(f"{left:.0f} s left; Ctrl-C ends early and still counts", style="dim")
        return Group(Panel(table, title=title, title_align="left", expand=True), hint)

    def _sparkline(self) -> str:
        top = max(look.allocated for look in self._looks) or 1
        last = len(self._bars) - 1
        return "".join(self._bars[look.allocated * last // top] for look in self._looks)


def show_verdict(verdict: Verdict, console: Console) -> None:
    """Print the count, and in one sentence what it means."""
    console.print(_table(verdict, console))
    if verdict.segments:
        console.print(
            f"The file was sealed {count(verdict.segments, 'time')} while its writer held it open; "
            f"the segments are {verdict.ratio:.1f} times smaller than what they hold."
        )
    else:
        console.print("Nothing was sealed: the file stayed below the demo's limit, or with --keep agent.log says why.")
    if verdict.ok:
        console.print("Every line was found exactly once, whole and in order.", style="bold green")
    else:
        console.print("Lines are missing, doubled, torn or out of order: this is a defect.", style="bold red")


def _table(verdict: Verdict, console: Console) -> Table:
    table = grid(console, "LINES", "COUNT", "", right=("COUNT",))
    for name, number, told in (
        ("written", verdict.written, "by the writer's own count"),
        ("sealed", verdict.sealed, f"found in {count(verdict.segments, 'segment')} by plain gzip"),
        ("live", verdict.live, "found in the live file behind what is sealed"),
        ("lost", verdict.lost, "ids that were not found"),
        ("twice", verdict.twice, "ids that were found more than once"),
        ("torn", verdict.torn, "lines that are not whole"),
        ("out of order", verdict.disordered, "lines that come after a later one"),
    ):
        table.add_row(name, f"{number:,}", told)
    return table
