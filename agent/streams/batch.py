"""What a reader hands to a consumer: whole records of one stream and the positions they lie between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of [start, end) of a stream, in order.

    The bounds are those of what was read, not of `records`: a batch that was narrowed (records set aside, sorted by
    signal, or halved because it was too large) keeps them, because only the whole of it moves a cursor.
    """

    stream: str
    stream_id: str
    start: int
    """Position of the first byte read, in uncompressed bytes of the stream."""
    end: int
    """Position after the last byte read."""
    records: Sequence[bytes]
    """Whole lines, each with its final newline where the stream has one."""
    signal: str = ""
    """What the records are: `traces`, `logs`, `metrics`, or empty while nobody has looked."""

    def narrow(self, records: Sequence[bytes], signal: str = "") -> Batch:
        """The same bounds with these records only: of one signal, or the half that a destination will take."""
        return replace(self, records=records, signal=signal or self.signal)
