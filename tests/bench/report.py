"""Rows of measurements, printed as a Markdown table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One measurement against its bar."""

    what: str
    bar: str
    measured: str
    ratio: str = ""
    """Against what was measured beside it, in the same run."""
    met: bool | None = None
    """None where there is no bar."""


def markdown(rows: Iterable[Row]) -> str:
    """The table, with its head."""
    lines = ["| what | bar | measured | ratio | met |", "|---|---|---|---|---|"]
    words = {True: "yes", False: "**no**", None: ""}
    lines += [f"| {row.what} | {row.bar} | {row.measured} | {row.ratio} | {words[row.met]} |" for row in rows]
    return "\n".join(lines)
