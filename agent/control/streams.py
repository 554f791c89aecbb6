"""The watched files, their segments and their directory, as they are shown."""

from __future__ import annotations

from typing import Literal

import msgspec

Method = Literal["in-place", "rename", "copytruncate", "refused"]
StreamState = Literal["ok", "refused", "failing", "gone"]


class NextRotation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """When a stream will be sealed next, as far as that can be known now."""

    reason: str
    """`size`, `age`, `schedule` or empty when nothing is pending."""
    at: float | None = None
    """Wall time of an age or schedule; for a size, extrapolated from the growth; None when unknown."""


NEARLY = (0.25, 0.5, 0.75)
"""Shares of the longest file that its file system allows, at which a live file's length is worth a warning."""


class StreamStatus(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One telemetry file, through all its incarnations."""

    name: str
    id: str
    state: StreamState
    method: Method
    why: str
    """Why this method; when refused or failing: what is wrong and what to do."""
    live_bytes: int
    """Data from the sealed end on; never the apparent size, which holes inflate."""
    allocated_bytes: int
    apparent_size: int
    growth_per_minute: float
    position: int
    """End of the stream as last seen."""
    sealed: int
    """Position up to which the stream lies in segments."""
    first: int
    """Position at which the oldest segment that is kept begins."""
    next_rotation: NextRotation
    segments: int
    segment_bytes: int
    """Allocated bytes of the segments on disk."""
    oldest: float | None
    """When the oldest kept segment was sealed."""
    ratio: float | None
    """Uncompressed over compressed bytes of the kept segments."""
    seals: int
    lost_bytes: int
    """Lower bound since the agent started."""
    pending_release: int
    """Sealed bytes whose disk space is not given back yet."""
    size_limit: int | None = None
    """The apparent size that no file can pass on its file system; None where that is not known."""
    days_left: float | None = None
    """Days until it gets there, if it goes on growing as it did since the agent first saw it; None for never."""
    flags: tuple[str, ...] = ()
    """`warn_size`, `overdue`, `no_reset`, ..: short words; status explains them."""


def length_limit(stream: StreamStatus) -> str:
    """How near a live file is to the longest that its file system allows: the words after `is`.

    They change only at each of NEARLY, and once a day in the last month, so that no warning is told anew all the time.
    """
    share = stream.apparent_size / stream.size_limit if stream.size_limit else 0.0
    passed = max((one for one in NEARLY if share >= one), default=0.0)
    days = stream.days_left
    when = "" if days is None else f", {int(days)} days left" if days < 31 else ", more than a month left"
    return (
        f"longer than {passed:.0%} of the longest file possible here{when}; its disk space is given back, its length "
        "only once nobody has it open: restart its writer when it suits"
    )


class SegmentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One sealed archive of a stream."""

    stream: str
    name: str
    start: int
    end: int
    """Positions of its first byte and behind its last one."""
    records: int
    size: int
    allocated: int
    sealed_at: float
    marker: bool
    """It only keeps the position; its data was deleted by rule."""


class Segments(msgspec.Struct, frozen=True):
    """Sealed archives, the newest ones."""

    total: int
    """How many there are; the oldest of them may be left out."""
    segments: list[SegmentStatus]
    """The newest ones, oldest first."""


class DirectoryStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One watched directory (the root, or with `recursive` one below it) against its limits."""

    path: str
    live_bytes: int
    part_bytes: int
    segment_bytes: int
    quarantine_bytes: int
    state_bytes: int
    total_bytes: int
    max_total: int | None
    critical_total: int | None
    free_bytes: int
    capacity_bytes: int
    filesystem: str
    critical: bool
    problems: list[str] = []


class WatcherStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How growth is found."""

    mode: Literal["events", "timer", "polling", "stopped"]
    """`events` while quiet, `timer` while a file is hot, `polling` where events don't work."""
    why: str = ""
    directories: int = 0
    rescans: int = 0
