"""A metric family as plain data: what a collector hands over and a scrape reads.

A family is a value: nothing changes it after it was built, so any thread may read it without a lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, Literal, NamedTuple, TypeVar

import msgspec

Row = TypeVar("Row")
Kind = Literal["counter", "gauge"]
Sample = tuple[tuple[str, ...], float]
"""The values of the family's labels, in their order, and the sample's value."""


class Family(msgspec.Struct, frozen=True):
    """All samples of one metric name. Base units: seconds, bytes; counters end in `_total`."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    samples: tuple[Sample, ...]


class Column(NamedTuple, Generic[Row]):
    """One family made out of rows: its name, its help, and how a row's value is found (None: it has none)."""

    name: str
    help: str
    value: Callable[[Row], float | None]


def single(name: str, text: str, value: float) -> Family:
    """A family with one sample and no labels."""
    return Family(name, kind_of(name), text, (), (((), float(value)),))


def table(
    columns: Iterable[Column[Row]],
    rows: Sequence[tuple[tuple[str, ...], Row]],
    labels: tuple[str, ...] = (),
) -> tuple[Family, ...]:
    """One family a column, one sample a row; a column without any value gives no family."""
    families = []
    for name, text, value in columns:
        found = ((names, value(row)) for names, row in rows)
        samples = tuple((names, float(number)) for names, number in found if number is not None)
        if samples:
            families.append(Family(name, kind_of(name), text, labels, samples))
    return tuple(families)


def kind_of(name: str) -> Kind:
    """The suffix `_total` belongs to counters alone (Prometheus' naming rules), so the name says the kind."""
    return "counter" if name.endswith("_total") else "gauge"
