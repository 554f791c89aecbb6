"""How commands print: tables for people, JSON for programs, errors in three lines.

What is not a terminal gets the same tables without colour or lines, as wide as they are, so that grep finds a whole
row; COLUMNS and NO_COLOR are obeyed. Every name passes `printable`: a file name cannot command a terminal.
"""

from __future__ import annotations

import os
import sys
from typing import IO, TYPE_CHECKING, Any, TextIO, cast

from agent.kit.errors import AgentError, ConfigError, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_UNBOUNDED = 1000


def explain(error: AgentError) -> str:
    """The error as an operator reads it: what happened, where, what to do; one after the other where there are more."""
    lines = [f"error: {error.what}"]
    where = [printable(error.path)] if error.path else []
    if error.position is not None:
        where.append(f"position {error.position}")
    if where:
        lines.append(f"where: {', '.join(where)}")
    if error.hint:
        lines.append(f" hint: {error.hint}")
    others = error.others if isinstance(error, ConfigError) else ()
    return "\n".join([*lines, *map(explain, others)])


def print_json(value: Any) -> None:
    """Print a message or a list of them as indented JSON."""
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def screen() -> Console:
    """Standard output; text on it is never taken for markup."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    width = None if terminal or os.environ.get("COLUMNS") else _UNBOUNDED
    file = sys.stdout if terminal else cast("IO[str]", _Trimmed(sys.stdout))
    return Console(file=file, width=width, markup=False, highlight=False, emoji=False, soft_wrap=False)


class _Trimmed:
    """A file without the blanks at line ends with which tables fill their last column. Whole lines a write."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write("\n".join(line.rstrip(" ") for line in text.split("\n")))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def grid(console: Console, *columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table with these headings; those in `right` hold numbers."""
    from rich import box
    from rich.table import Table

    lines = box.SIMPLE_HEAD if console.is_terminal else None
    table = Table(box=lines, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in columns:
        table.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    return table


def fitted(
    console: Console, rows: list[dict[str, str]], styles: list[str], *, drop: tuple[str, ...], right: tuple[str, ...]
) -> Table:
    """A table of rows with the same columns; on a narrow screen columns go, in the order of `drop`. Needs a row."""
    columns = list(rows[0])
    table = grid(console)
    for dropped in ("", *drop):
        columns = [column for column in columns if column != dropped]
        table = grid(console, *columns, right=right)
        for row, style in zip(rows, styles, strict=True):
            table.add_row(*(row[column] for column in columns), style=style)
        if natural_width(table, console) <= console.width:
            break
    return table


def natural_width(table: Table, console: Console) -> int:
    """The columns of the screen that the table takes when nothing in it is wrapped."""
    return console.measure(table, options=console.options.update(width=_UNBOUNDED)).maximum
