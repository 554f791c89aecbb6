"""Counts of records, from bytes in the order in which a reader would meet them, against what the writers wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.torture import record


@dataclass(frozen=True)
class Truth:
    """What one writer wrote to one stream."""

    stream: str
    writer: int
    written: int
    record_bytes: int
    truncations: tuple[int, ...] = ()
    """Ids before which the writer emptied the file."""
    fragments: int = 0
    """Bytes of lines without an end that went with them."""

    @classmethod
    def load(cls, path: Path) -> Truth:
        """Read a truth file of `tests.torture.writers`."""
        told = json.loads(path.read_text("utf-8"))
        return cls(told["stream"], told["writer"], told["written"], told["record_bytes"], tuple(told["truncations"]))


@dataclass
class _Seen:
    """What was seen of one writer: how often each id (at most 255 times), and the last one."""

    counts: bytearray
    last: int = -1


@dataclass
class Tally:
    """Takes the stream in pieces, cut anywhere."""

    truths: list[Truth]
    records: int = 0
    """Whole records taken."""
    twice: int = 0
    """Records beyond the first with their id."""
    torn: int = 0
    """Lines that are no whole record of a known writer."""
    disorder: int = 0
    """Records that came after a later one of the same writer."""
    rest: bytes = b""
    """The line that has no end yet."""
    examples: list[str] = field(default_factory=list)
    _seen: dict[int, _Seen] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for truth in self.truths:
            self._seen[truth.writer] = _Seen(bytearray(truth.written))

    def take(self, data: bytes) -> int:
        """Count the records in `data`; the number of lines that ended in it."""
        lines = (self.rest + data).split(b"\n")
        self.rest = lines.pop()
        for line in lines:
            self._take(line)
        return len(lines)

    def _take(self, line: bytes) -> None:
        found = record.parse(line)
        seen = self._seen.get(found[0]) if found else None
        if found is None or seen is None or not 0 <= found[1] < len(seen.counts):
            self._tear(line)
            return
        n = found[1]
        self.records += 1
        if seen.counts[n]:
            self.twice += 1
            self._note(f"record {n} of writer {found[0]} comes twice")
        elif n < seen.last:
            self.disorder += 1
            self._note(f"record {n} of writer {found[0]} comes after {seen.last}")
        seen.counts[n] = min(255, seen.counts[n] + 1)
        seen.last = max(seen.last, n)

    def _tear(self, line: bytes) -> None:
        self.torn += 1
        self._note(f"no whole record: {line[:60]!r} ... {line[-40:]!r} ({len(line)} bytes)")

    def _note(self, text: str) -> None:
        if len(self.examples) < 10:
            self.examples.append(text)

    def finish(self) -> None:
        """The stream is at its end: a line without an end is no record."""
        if self.rest:
            self._tear(self.rest)
        self.rest = b""

    def missing(self) -> tuple[int, int, int]:
        """Records lost without excuse, records that a truncation by their writer took, and the bytes of the latter.

        A truncation excuses the run of missing ids that ends directly before it and began after the one before.
        """
        lost = cut = size = 0
        for truth in self.truths:
            counts = self._seen[truth.writer].counts
            ends = sorted({0, *truth.truncations})
            excused = sum(_run_before(counts[start:end]) for start, end in pairwise(ends))
            lost += counts.count(0) - excused
            cut += excused
            size += excused * truth.record_bytes + truth.fragments
        return lost, cut, size


def _run_before(counts: bytearray) -> int:
    """How many ids at the end of `counts` were never seen."""
    return len(counts) - len(counts.rstrip(b"\0"))
