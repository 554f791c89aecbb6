"""What can be asked about delivery: destinations, cursors, dead letters."""

from __future__ import annotations

from typing import Protocol

import msgspec


class ForwardStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One destination of records. Counts are since the start, records unless said otherwise."""

    name: str
    kind: str
    destination: str
    """The endpoint in use, without credentials; where signals have endpoints of their own, each with its signals."""
    breaker: str
    """Circuit of that endpoint: `closed`, `half-open` or `open`."""
    trips: int
    read: int
    delivered: int
    dead_lettered: int
    empty: int
    filtered: int
    """Records of which the forward's filter or sampling left nothing to send."""
    dropped_items: int
    """Spans, log records and data points that filter or sampling left out."""
    unsettled: int
    """Read, and still open: read = delivered + dead_lettered + filtered + empty + unsettled."""
    in_flight: int
    """Batches."""
    exports: int
    """Requests that were answered for good, however often each was tried."""
    successful_exports: int
    failed_exports: int
    retries: int
    rejected_items: int
    sent_bytes: int
    unreadable_bytes: int
    waited_batches: int
    """Batches that waited on disk because no endpoint might be asked."""
    backlog_bytes: int
    lag_seconds: float
    left_out: dict[str, int] = {}
    """The same by reason: `filter`, `sample`."""
    unsent_ratio: float | None = None
    """How full the bounds of `[forward.unsent]` are in the fullest stream, 1 at a bound; null where there are none."""
    last_success: float | None = None
    last_failure: float | None = None
    last_error: str = ""


def left_out(forward: ForwardStatus) -> str:
    """What processing kept from leaving, in words; empty where that is nothing."""
    words = {"filter": "filtered", "sample": "sampled"}
    return ", ".join(f"{count:,} {words.get(why, why)}" for why, count in sorted(forward.left_out.items()) if count)


class CursorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where one consumer stands in one stream."""

    consumer: str
    stream: str
    stream_id: str
    position: int
    end: int
    """Position up to which the stream was seen to reach."""
    lag_bytes: int
    lag_records: int | None
    """Exact for whole segments, else by proportion; None where that is not known."""
    lag_seconds: float
    in_flight: int = 0
    """Batches begun and not done with: after a crash they are sent again."""
    orphaned: bool = False
    """The consumer is no longer configured: it holds nothing."""


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of dead letters that were sent again."""

    sent: int = 0
    kept: int = 0
    rejected: int = 0
    """Spans, log records and data points of the sent ones that the destination refused by a partial success: lost."""
    message: str = ""
    """Why some were kept."""


class Delivery(Protocol):
    """What can be asked about delivery. As `Control`: from any thread, AgentError with what, where and a hint."""

    def cursors(self, *, timeout: float = 10.0) -> list[CursorStatus]:
        """Every cursor, also those of consumers that are no longer configured."""
        ...

    def reset_cursor(
        self, consumer: str, streams: list[str], *, position: int | None = None, time: float | None = None,
        timeout: float = 30.0,
    ) -> list[CursorStatus]:  # fmt: skip
        """Make a consumer go on from a position, or from the segment of a time; of all streams where none is named."""
        ...

    def drop_letters(self, consumer: str, ids: list[str], *, timeout: float = 30.0) -> int:
        """Delete dead letters, all where no id is given; how many there were."""
        ...

    def replay_letters(self, consumer: str, ids: list[str], *, timeout: float = 300.0) -> Replayed:
        """Send dead letters again, all where no id is given; those that are taken are deleted."""
        ...
