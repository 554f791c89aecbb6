"""Tables of the status page, which a narrow screen shows as cards.

A style sheet that lays a table out anew takes its meaning from screen readers, so every element says its role.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agent.web.markup import Child, Markup, join, tag

NONE = "—"
"""A cell with nothing to say."""


class Column(NamedTuple):
    """A heading, and whether numbers stand below it."""

    title: str
    number: bool = False


def table(name: str, columns: Sequence[Column], rows: Iterable[Sequence[Child]], empty: str) -> Markup:
    """A table called `name`; the first cell of a row is its heading. Without rows the sentence `empty`."""
    body = [_row(columns, row) for row in rows]
    if not body:
        return tag("p", empty, class_="empty")
    heads = [tag("th", column.title, scope="col", role="columnheader", class_=_kind(column)) for column in columns]
    return tag(
        "table",
        tag("thead", tag("tr", *heads, role="row"), role="rowgroup"),
        tag("tbody", *body, role="rowgroup"),
        role="table", aria_label=name,
    )  # fmt: skip


def _row(columns: Sequence[Column], cells: Sequence[Child]) -> Markup:
    first, *others = cells
    head = tag("th", first, scope="row", role="rowheader")
    rest = [
        tag("td", tag("span", column.title, class_="label", aria_hidden="true"), tag("span", cell, class_="cell"),
            role="cell", class_=_kind(column, cell))
        for column, cell in zip(columns[1:], others, strict=True)
    ]  # fmt: skip
    return tag("tr", head, *rest, role="row")


def _kind(column: Column, cell: Child = "") -> str | None:
    classes = (["number"] if column.number else []) + (["none"] if cell == NONE else [])
    return " ".join(classes) or None


def state(grade: str, word: str) -> Markup:
    """A state in a word, with a mark whose form differs too: colour alone tells nobody."""
    mark = {"ok": "●", "warn": "▲", "bad": "■"}.get(grade, "○")
    return tag("span", tag("span", mark, class_="mark", aria_hidden="true"), " ", word, class_=f"state {grade}")


def name(title: str, *below: Child) -> Markup:
    """A thing's name with what belongs to it in small print."""
    small = [tag("span", one, class_="below") for one in below if one]
    return join(tag("span", title, class_="name"), *small)
