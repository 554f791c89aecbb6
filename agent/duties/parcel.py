"""A batch on its way: what was read of one stream, checked and sorted by signal. Pure.

Invariants: a parcel's bounds are those of what was read; every record in it is in a part, empty, left out by rule, or
refused already; the same bounds of the same stream always give the same parts, so what is sent again is the same bytes.
What is refused is kept as it was read, never as it was processed: sent again, it is processed again.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from typing import NamedTuple

from agent.duties.budget import Grant
from agent.kit.buffer import Lines, locate
from agent.kit.errors import printable
from agent.otlp.envelope import Bad, Checked, Reason, alike, check, halve, split
from agent.otlp.process import Chain
from agent.sinks.base import ErrorClass, Sink
from agent.streams.batch import Batch
from agent.streams.reader import HEAD

KEPT = 16 << 20
"""Bytes up to which a record that is too long is kept whole in the dead letters."""


ALIKE = 16
"""Lines that are checked together: enough to be fast, and few to check again where one of them is in doubt."""

_END = itemgetter(1)


class Records(NamedTuple):
    """Whole lines that follow each other, and the positions of each."""

    lines: Sequence[bytes]
    places: list[tuple[int, int]]

    @property
    def bounds(self) -> tuple[int, int]:
        """Where the first begins and the last ends."""
        return self.places[0][0], self.places[-1][1]


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


@dataclass(slots=True)
class Part:
    """What one request carries: records of one signal, with the places of each."""

    batch: Batch
    places: tuple[tuple[int, int], ...]
    items: int
    """Spans, log records or data points; of records that nobody looked into, the records."""
    originals: tuple[bytes, ...] = ()
    """The records before they were processed; empty: they were not."""
    encoded: tuple[Sink, bytes] | None = field(default=None, repr=False, compare=False)
    """For whom it is encoded, and what that gave."""

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


@dataclass(slots=True, eq=False)
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
    given_up: bool = False
    """The cursor was set elsewhere: what is not sent yet will not be, and the cursor is not this batch's any more."""
    _left_out: set[int] = field(default_factory=set)
    """Where the records begin that `leave_out` has counted."""

    def leave_out(self, part: Part, why: str) -> None:
        """The records of a part end here, each once: another part of it may be a dead letter, or was left out too."""
        ended = {one.start for one in self.refused} | self._left_out
        starts = {start for start, _ in part.places} - ended
        self._left_out |= starts
        self.filtered[why] = self.filtered.get(why, 0) + len(starts)

    @property
    def dead(self) -> int:
        """Records of which at least a part was refused."""
        return len({one.start for one in self.refused})


def lines(start: int, data: bytes, end: int | None = None) -> Records:
    """The records in `data`, which begins at position `start`; behind `end` there is the beginning of another one."""
    found = locate(io.BytesIO(data), start)
    if end is not None and end - start < len(data):
        found.pop()
    return Records(Lines(data, start, found), found)


def cut(records: Records, max_bytes: int, max_records: int) -> Records:
    """As many of these records as a batch takes, at least one."""
    fit = bisect_right(records.places, records.places[0][0] + max_bytes, key=_END)
    count = max(1, min(fit, max_records))
    return Records(records.lines[:count], records.places[:count])


def beginning(start: int, end: int, line: bytes, max_record: int) -> Refused:
    """A record too long to be read, of which `line` is the beginning."""
    return Refused(start, end, line, "", ErrorClass.TOO_LARGE, _too_long(end - start, max_record), cut=True)


def _too_long(size: int, max_record: int) -> str:
    return f"the record has {size} bytes, max_record (or memory) allows {max_record}"


def pack(
    stream: str, stream_id: str, records: Records, start: int, end: int, *, otlp: bool, max_record: int,
    process: Chain | None = None, refused: Sequence[Refused] = (),
) -> Parcel:  # fmt: skip
    """Sort the records of [start, end) by signal with `otlp`; then, or with `process`, each one is checked first.

    What is `refused` already lies there too.
    """
    parcel = Parcel(printable(stream), stream_id, start, end, len(records.lines) + len(refused), 0, [], list(refused))
    if max((end - start for start, end in records.places), default=0) > max_record:
        records = _without_long(parcel, records, max_record)
    piles: dict[str, _Pile] = {}
    if otlp or process is not None:
        for at in range(0, len(records.lines), ALIKE):
            some = Records(records.lines[at : at + ALIKE], records.places[at : at + ALIKE])
            _sort(parcel, some, piles, otlp, process)
    elif records.lines:
        _pile(piles, "").take(records, len(records.lines))
    for signal, pile in piles.items():
        batch = Batch(stream, stream_id, start, end, pile.all_of(records), signal)
        parcel.parts.append(Part(batch, tuple(pile.places), pile.items, tuple(pile.originals)))
    return parcel


def _without_long(parcel: Parcel, records: Records, max_record: int) -> Records:
    kept: list[bytes] = []
    places: list[tuple[int, int]] = []
    for line, (start, end) in zip(*records, strict=True):
        if len(line) <= max_record:
            kept.append(line)
            places.append((start, end))
            continue
        head = line if len(line) <= KEPT else line[:HEAD]
        why = _too_long(len(line), max_record)
        parcel.refused.append(Refused(start, end, head, "", ErrorClass.TOO_LARGE, why, cut=head is not line))
    return Records(kept, places)


def _sort(parcel: Parcel, some: Records, piles: dict[str, _Pile], otlp: bool, process: Chain | None) -> None:
    """Some records; the usual ones are alike, and then nobody looks at each."""
    found = alike(some.lines) if otlp and process is None else None
    if found:
        _pile(piles, found[0]).take(some, found[1])
        return
    for line, place in zip(*some, strict=True):
        _sort_one(parcel, place, check(line), line, piles, otlp, process)


def _sort_one(
    parcel: Parcel, place: tuple[int, int], found: Checked | Bad, line: bytes, piles: dict[str, _Pile], otlp: bool,
    process: Chain | None,
) -> None:  # fmt: skip
    if isinstance(found, Bad):
        reason = f"{found.reason}: {found.detail}"
        parcel.refused.append(Refused(*place, line, "", ErrorClass.NOT_OTLP, reason))
    elif not found.items:
        parcel.empty += 1
    elif process is not None and not otlp:
        _process(parcel, place, [("", found.line, sum(found.items.values()))], piles, process)
    else:
        try:
            by_signal = split(found)
        except RecursionError:
            # It was read once, from a little less far down in this program.
            _sort_one(parcel, place, Bad(Reason.STRUCTURE, "nested too deeply"), line, piles, otlp, process)
            return
        lines = [(signal, travels, found.items[signal]) for signal, travels in by_signal.items()]
        if process is not None:
            _process(parcel, place, lines, piles, process)
            return
        for signal, travels, items in lines:
            _pile(piles, signal).add(place, travels, items)


def _process(
    parcel: Parcel, place: tuple[int, int], lines: Iterable[tuple[str, bytes, int]], piles: dict[str, _Pile],
    process: Chain,
) -> None:  # fmt: skip
    """Take what processing leaves of a record; one that cannot be processed goes nowhere."""
    nothing = ""
    settled = False
    for signal, line, items in lines:
        try:
            done = process(line, items)
        except Exception as error:  # noqa: BLE001 - whatever fails, the record must not pass unprocessed
            # Not the error's text: it may quote the record.
            reason = f"could not be processed: {type(error).__name__}"
            parcel.refused.append(Refused(*place, line, signal, ErrorClass.PROCESSING, reason))
            settled = True
            continue
        for why, count in done.dropped.items():
            parcel.dropped[why] = parcel.dropped.get(why, 0) + count
            nothing = why
        if done.line:
            _pile(piles, signal).add(place, done.line, done.items if signal else 1, line)
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
        self.places: list[tuple[int, int]] = []
        self._lines: list[Sequence[bytes]] = []
        self._as_read = True
        self.originals: list[bytes] = []
        self.items = 0

    def add(self, place: tuple[int, int], line: bytes, items: int, original: bytes = b"") -> None:
        """Take one record, or what of it is of this signal; with what it was before it was processed."""
        self._lines.append((line,))
        self._as_read = False
        if original:
            self.originals.append(original)
        self.places.append(place)
        self.items += items

    def take(self, records: Records, items: int) -> None:
        """Take all of these as they are."""
        self._lines.append(records.lines)
        self.places += records.places
        self.items += items

    def all_of(self, records: Records) -> Sequence[bytes]:
        """Every line that was taken; where that is just what was read, it is not copied."""
        if self._as_read and len(self.places) == len(records.places):
            return records.lines
        return tuple(chain.from_iterable(self._lines))
