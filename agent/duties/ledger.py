"""What one consumer did, counted so that a scrape sees the books balanced.

Invariant, in records since the start: read = delivered + dead-lettered + filtered + empty + unsettled, in every copy:
whatever changes several of them does so under the lock, and a reader gets a copy taken under it.
"""

from __future__ import annotations

import copy
import threading
from dataclasses import dataclass, field

from agent.duties.parcel import Parcel, Part
from agent.kit.clock import Clock
from agent.sinks.base import ErrorClass, Outcome

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds: upper bounds of the histogram of one export's duration."""


@dataclass(slots=True)
class Ledger:
    """The numbers. Times are wall times in seconds, 0 where there was none."""

    read: int = 0
    delivered: int = 0
    dead_lettered: int = 0
    empty: int = 0
    filtered: dict[str, int] = field(default_factory=dict)
    """Records of which processing left nothing to send, by reason."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Spans, log records and data points that processing left out, by reason; of settled batches."""
    unsettled: int = 0
    in_flight: int = 0
    """Batches."""
    sent_bytes: int = 0
    successes: int = 0
    """Exports that a destination took."""
    refusals: int = 0
    """Exports that it refused for good."""
    retries: dict[str, int] = field(default_factory=dict)
    """Tries that failed for a reason that may pass, by class."""
    waited: int = 0
    """Batches that waited on disk because every endpoint's breaker was open."""
    rejected: int = 0
    """Items refused by a partial success."""
    discarded: int = 0
    """Answers that could not be used."""
    letters_dropped: int = 0
    unreadable: dict[str, int] = field(default_factory=dict)
    """Bytes that could not be read, by reason."""
    exported: dict[tuple[str, str], int] = field(default_factory=dict)
    """Items by signal and error class; "" is success."""
    carried: dict[str, int] = field(default_factory=dict)
    """Items under way, by signal."""
    seconds: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    last_success: float = 0.0
    last_failure: float = 0.0
    last_error: str = ""


class Book:
    """A ledger under a lock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._ledger = Ledger()

    def snapshot(self) -> Ledger:
        """A copy that nobody changes any more."""
        with self._lock:
            return copy.deepcopy(self._ledger)

    def began(self, parcel: Parcel) -> None:
        """A batch was read and its bounds are written down."""
        with self._lock:
            self._ledger.read += parcel.records
            self._ledger.unsettled += parcel.records
            self._ledger.in_flight += 1
            for part in parcel.parts:
                signal = part.batch.signal
                self._ledger.carried[signal] = self._ledger.carried.get(signal, 0) + part.items

    def settled(self, parcel: Parcel, dropped: int) -> None:
        """Each record of a batch has found its end; `dropped` old dead letters had to go."""
        with self._lock:
            dead = parcel.dead
            self._ledger.unsettled -= parcel.records
            self._ledger.empty += parcel.empty
            self._ledger.dead_lettered += dead
            for counts, more in ((self._ledger.filtered, parcel.filtered), (self._ledger.dropped, parcel.dropped)):
                for why, count in more.items():
                    counts[why] = counts.get(why, 0) + count
            filtered = sum(parcel.filtered.values())
            self._ledger.delivered += parcel.records - parcel.empty - dead - filtered
            self._ledger.letters_dropped += dropped

    def left(self) -> None:
        """A batch is no longer under way, settled or not."""
        with self._lock:
            self._ledger.in_flight -= 1

    def took(self, part: Part, outcome: Outcome, seconds: float) -> None:
        """A destination took a part."""
        with self._lock:
            ledger = self._ledger
            rejected = min(outcome.rejected, part.items)
            self._end(part, "", part.items - rejected)
            if rejected:
                self._end(part, ErrorClass.REJECTED, rejected)
            ledger.rejected += rejected
            ledger.successes += 1
            ledger.sent_bytes += outcome.sent_bytes
            ledger.discarded += outcome.discarded
            ledger.last_success = self._clock.now()
            self._time(seconds)

    def refused(self, part: Part, kind: str, reason: str, seconds: float) -> None:
        """A destination refused a part for good."""
        with self._lock:
            self._end(part, kind, part.items)
            self._ledger.refusals += 1
            self._fail(reason)
            self._time(seconds)

    def rejected(self, items: int) -> None:
        """A destination refused so many items of a dead letter that it took."""
        with self._lock:
            self._ledger.rejected += items

    def left_out(self, part: Part) -> None:
        """A part is not sent any more, though nobody refused it."""
        with self._lock:
            self._ledger.carried[part.batch.signal] -= part.items

    def failed(self, kind: str, reason: str) -> None:
        """A try failed for a reason that may pass."""
        with self._lock:
            self._ledger.retries[kind] = self._ledger.retries.get(kind, 0) + 1
            self._fail(reason)

    def waited(self) -> None:
        """A batch waits because no endpoint may be asked."""
        with self._lock:
            self._ledger.waited += 1

    def unreadable(self, why: str, count: int) -> None:
        """Bytes of a stream could not be read."""
        reason = "damaged" if why.startswith("damaged") else "missing" if why == "missing" else "gone"
        with self._lock:
            self._ledger.unreadable[reason] = self._ledger.unreadable.get(reason, 0) + count

    def _end(self, part: Part, kind: str, items: int) -> None:
        key = (part.batch.signal, kind)
        self._ledger.exported[key] = self._ledger.exported.get(key, 0) + items
        self._ledger.carried[part.batch.signal] -= items

    def _fail(self, reason: str) -> None:
        self._ledger.last_failure = self._clock.now()
        self._ledger.last_error = reason

    def _time(self, seconds: float) -> None:
        self._ledger.seconds += seconds
        place = next((index for index, bound in enumerate(BUCKETS) if seconds <= bound), len(BUCKETS))
        self._ledger.buckets[place] += 1
