"""A batch on its way: what was read of one stream, checked and sorted by signal. Pure.

Invariants: a parcel's bounds are those of what was read; every record in it is in a part, empty, left out by rule, or
refused already; the same bounds of the same stream always give the same parts, so what is sent again is the same bytes.
What is refused is kept as it was read, never as it was processed: sent again, it is processed again.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from agent.duties.budget import Grant
from agent.kit.errors import printable
from agent.otlp.envelope import Bad, Checked, check, halve, split
from agent.otlp.process import Chain
from agent.sinks.base import ErrorClass
from agent.streams.batch import Batch
from agent.streams.reader import HEAD

KEPT = 16 << 20
"""Bytes up to which a record that is too long is kept whole in the dead letters."""


class Record(NamedTuple):
    """One line and where it begins; with `cut` only the beginning of one that is too long."""

    start: int
    end: int
    line: bytes
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that goes to the dead letters."""

    start: int
    end: int
    line: bytes
    signal: str
    kind: ErrorClass
    reason: str
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """What one request carries: records of one signal, with the places of each."""

    batch: Batch
    places: tuple[tuple[int, int], ...]
    items: int
    """Spans, log records or data points; of records that nobody looked into, the records."""
    originals: tuple[bytes, ...] = ()
    """The records before they were processed; empty: they were not."""

    def halves(self) -> tuple[Part, Part]:
        """Two parts, in order, about the same in bytes. The items are shared out by records. Needs two records."""
        first, second = halve(self.batch.records)
        cut = len(first)
        share = self.items * cut // len(self.places)
        return (
            Part(self.batch.narrow(first), self.places[:cut], share, self.originals[:cut]),
            Part(self.batch.narrow(second), self.places[cut:], self.items - share, self.originals[cut:]),
        )

    def refused(self, kind: ErrorClass, reason: str) -> list[Refused]:
        """All of it, refused for one reason."""
        return [
            Refused(start, end, line, self.batch.signal, kind, reason)
            for (start, end), line in zip(self.places, self.originals or self.batch.records, strict=True)
        ]


@dataclass(slots=True)
class Parcel:
    """A batch with everything that becomes of its records."""

    stream: str
    stream_id: str
    start: int
    end: int
    records: int
    empty: int
    parts: list[Part]
    refused: list[Refused] = field(default_factory=list)
    state: bytes | None = None
    """The sink's state after the parts that were sent."""
    filtered: dict[str, int] = field(default_factory=dict)
    """Records of which processing left nothing, by reason."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Spans, log records and data points that processing left out, by reason."""
    grant: Grant | None = None
    """The memory that it may take."""

    @property
    def dead(self) -> int:
        """Records of which at least a part was refused."""
        return len({one.start for one in self.refused})


def lines(start: int, data: bytes) -> Iterator[Record]:
    """The records in `data`, which begins at position `start`."""
    for line in io.BytesIO(data):
        end = start + len(line)
        yield Record(start, end, line)
        start = end


def cut(records: Iterable[Record], max_bytes: int, max_records: int) -> list[Record]:
    """As many records as a batch takes, at least one."""
    taken: list[Record] = []
    size = 0
    for one in records:
        size += one.end - one.start
        if taken and (size > max_bytes or len(taken) >= max_records):
            break
        taken.append(one)
    return taken


def pack(
    stream: str, stream_id: str, records: list[Record], start: int, end: int, *, otlp: bool, max_record: int,
    process: Chain | None = None,
) -> Parcel:  # fmt: skip
    """Sort the records of [start, end) by signal with `otlp`; then, or with `process`, each one is checked first."""
    parcel = Parcel(printable(stream), stream_id, start, end, len(records), 0, [])
    sorted_lines: dict[str, _Pile] = {}
    for one in records:
        if one.cut or len(one.line) > max_record:
            reason = f"the record has {one.end - one.start} bytes, max_record (or memory) allows {max_record}"
            whole = not one.cut and len(one.line) <= KEPT
            line = one.line if whole else one.line[:HEAD]
            parcel.refused.append(Refused(one.start, one.end, line, "", ErrorClass.TOO_LARGE, reason, not whole))
        elif not otlp and process is None:
            _pile(sorted_lines, "").add(one, one.line, 1)
        else:
            _sort(parcel, one, sorted_lines, otlp, process)
    for signal, pile in sorted_lines.items():
        batch = Batch(stream, stream_id, start, end, tuple(pile.lines), signal)
        parcel.parts.append(Part(batch, tuple(pile.places), pile.items, tuple(pile.originals)))
    return parcel


def _sort(parcel: Parcel, one: Record, piles: dict[str, _Pile], otlp: bool, process: Chain | None) -> None:
    found = check(one.line)
    if isinstance(found, Bad):
        reason = f"{found.reason}: {found.detail}"
        parcel.refused.append(Refused(one.start, one.end, one.line, "", ErrorClass.NOT_OTLP, reason))
    elif not found.items:
        parcel.empty += 1
    elif process is None:
        for signal, line, items in _by_signal(found):
            _pile(piles, signal).add(one, line, items)
    else:
        lines = _by_signal(found) if otlp else [("", found.line, sum(found.items.values()))]
        _process(parcel, one, lines, piles, process)


def _by_signal(found: Checked) -> Iterable[tuple[str, bytes, int]]:
    if found.plain:
        return [(signal, found.line, items) for signal, items in found.items.items()]
    return _divided(found)


def _divided(found: Checked) -> Iterator[tuple[str, bytes, int]]:
    for signal, line in split(found).items():
        yield signal, line, found.items[signal]


def _process(
    parcel: Parcel, one: Record, lines: Iterable[tuple[str, bytes, int]], piles: dict[str, _Pile], process: Chain
) -> None:
    """Take what processing leaves of a record; one that cannot be processed goes nowhere."""
    nothing = ""
    settled = False
    for signal, line, items in lines:
        try:
            done = process(line, items)
        except Exception as error:  # noqa: BLE001 - whatever fails, the record must not pass unprocessed
            # Not the error's text: it may quote the record.
            reason = f"could not be processed: {type(error).__name__}"
            parcel.refused.append(Refused(one.start, one.end, line, signal, ErrorClass.PROCESSING, reason))
            settled = True
            continue
        for why, count in done.dropped.items():
            parcel.dropped[why] = parcel.dropped.get(why, 0) + count
            nothing = why
        if done.line:
            _pile(piles, signal).add(one, done.line, done.items if signal else 1, line)
            settled = True
    if not settled:
        parcel.filtered[nothing] = parcel.filtered.get(nothing, 0) + 1


def _pile(piles: dict[str, _Pile], signal: str) -> _Pile:
    found = piles.get(signal)
    if found is None:
        found = piles[signal] = _Pile()
    return found


class _Pile:
    """Records of one signal while they are sorted."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.places: list[tuple[int, int]] = []
        self.originals: list[bytes] = []
        self.items = 0

    def add(self, record: Record, line: bytes, items: int, original: bytes = b"") -> None:
        """Take one record, or what of it is of this signal; with what it was before it was processed."""
        self.lines.append(line)
        if original:
            self.originals.append(original)
        self.places.append((record.start, record.end))
        self.items += items
