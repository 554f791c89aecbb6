"""What can be asked of the agent, and how it answers.

Duties implement `Control`, app wires it, web serves it (a local socket takes every request, TCP only what may be
read), and cli calls it in process or remotely. Everything here is a value: answers are snapshots that no later
step of the agent changes, so a reader needs no lock.

Sizes are bytes, times are seconds since 1970 UTC, durations are seconds, positions are uncompressed byte offsets
in a stream. Names are printable (control characters and invalid UTF-8 escaped).
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from agent.components import Component

Method = Literal["in-place", "rename", "copytruncate", "refused"]
StreamState = Literal["ok", "refused", "failing", "gone"]
MemoryState = Literal["unlimited", "normal", "tight", "paused"]


class NextRotation(msgspec.Struct, frozen=True, kw_only=True):
    """When a stream will be sealed next, as far as that can be known now."""

    reason: str
    """`size`, `age`, `schedule` or empty when nothing is pending."""
    at: float | None = None
    """Wall time of an age or schedule; for a size, extrapolated from the growth; None when unknown."""


NEARLY = (0.25, 0.5, 0.75)
"""Shares of the longest file that its file system allows, at which a live file's length is worth a warning."""


class StreamStatus(msgspec.Struct, frozen=True, kw_only=True):
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
    flags: list[str] = []
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


class CheckStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One check as it is now. Times are seconds since 1970 UTC, spans are seconds."""

    name: str
    kind: str
    state: str
    """`unknown`, `healthy`, `warning` or `unhealthy`; unknown also when the last result is too old."""
    level: int
    """The same as a number, 0 to 3."""
    since: float | None
    """When the state was reached."""
    message: str = ""
    hint: str = ""
    value: float | None = None
    """The number that was judged, where there is one."""
    last_run: float | None = None
    last_success: float | None = None
    """When it was last found healthy."""
    seconds: float = 0.0
    """How long the last run took."""
    interval: float = 0.0
    runs: int = 0
    failures: int = 0
    """Runs that found it unhealthy, or nothing out."""
    timeouts: int = 0
    transitions: int = 0
    """Changes of state, but for the first result."""
    hung: bool = False
    """Its last run has not come back."""


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


class ForwardStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One destination of records. Counts are since the start, records unless said otherwise."""

    name: str
    kind: str
    destination: str
    """The endpoint in use, without credentials."""
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
    unsent_ratio: float | None = None
    """How full the bounds of `[forward.unsent]` are in the fullest stream, 1 at a bound; null where there are none."""
    last_success: float | None = None
    last_failure: float | None = None
    last_error: str = ""


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
    """Batches whose bounds are written down."""
    orphaned: bool = False
    """The consumer is no longer configured: it holds nothing."""


class Own(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent itself uses, and what it may use."""

    cpu_seconds: float
    """User and system time of all threads since the start."""
    resident_bytes: int
    memory_used: int
    """Memory that counts against the limit: page cache does not."""
    memory_limit: int
    """The limit that is nearest to being reached: of a control group, or `agent.memory_limit`; 0 is none."""
    memory_source: str
    """Which limit that is."""
    memory_state: MemoryState
    """`normal`; `tight`: batches are smaller and fewer; `paused`: nothing is read until memory is free."""
    memory_pauses: int
    """How often a consumer had to wait for memory."""
    granted_bytes: int
    """Memory that batches under way may still take."""
    cpu_limit: float | None
    """CPUs that the control group allows; null without a limit."""
    nice: int
    """Niceness asked for working threads; 0 is as the process."""
    ionice: str
    """I/O class asked for working threads; empty is as the process."""
    priority_problem: str = ""
    """Why that priority could not be set."""


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of dead letters that were sent again."""

    sent: int = 0
    kept: int = 0
    message: str = ""
    """Why some were kept."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `status` shows."""

    version: str
    pid: int
    running: bool
    """False when the answer was computed by the command itself because no agent runs."""
    started: float
    now: float
    ready: bool
    config_path: str
    service_name: str
    environment: str
    watcher: WatcherStatus
    directory: DirectoryStatus
    streams: list[StreamStatus]
    components: list[Component]
    forwards: list[ForwardStatus] = []
    own: Own | None = None
    """Null where no agent runs."""
    retired_bytes: int = 0
    lost_bytes: int = 0
    audit_unwritten: int = 0


class Rotated(msgspec.Struct, frozen=True, kw_only=True):
    """What a rotation request did to one stream."""

    stream: str
    outcome: Literal["sealed", "nothing", "refused", "failed"]
    segment: str = ""
    bytes: int = 0
    records: int = 0
    message: str = ""


class PlanItem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing cleanup does, or with `dry_run` would do."""

    action: Literal["seal", "retire", "mark", "release", "forget"]
    stream: str
    target: str
    reason: str
    bytes: int
    done: bool = False
    message: str = ""


class Reloaded(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a reload."""

    ok: bool
    changed: list[str] = []
    """Keys whose value differs from before."""
    restart_needed: list[str] = []
    """Changed keys that only a restart brings into force."""
    message: str = ""


class AlertStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that is not at rest."""

    state: Literal["pending", "firing", "resolved"]
    """A resolved one is shown for a while."""
    labels: dict[str, str]
    value: float | None
    """The newest one while the condition held; null for one that JSON has no number for."""
    description: str
    since: float
    """When the condition began to hold."""
    fired: float | None = None
    resolved: float | None = None


class AlertRuleStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of `[[alert]]`, and its alerts."""

    name: str
    when: str
    for_seconds: float
    severity: str
    notify: list[str]
    state: Literal["inactive", "pending", "firing"]
    """The worst of its alerts."""
    silenced_until: float | None = None
    silence_comment: str = ""
    error: str = ""
    """Why the expression has no value; its alerts stay as they were then."""
    note: str = ""
    """What looks like a mistake: a metric that there is not."""
    alerts: list[AlertStatus] = []


class NotifierStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who is told. Counts are since the start; an entry with several URLs is counted as one."""

    name: str
    kind: str
    sent: int
    failures: int
    failing: bool
    """The newest try failed; it is repeated."""
    last_success: float | None = None
    last_error: str = ""


class AlertsStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Every rule and every notifier."""

    evaluated: float | None = None
    """When the rules were last evaluated."""
    rules: list[AlertRuleStatus] = []
    notifiers: list[NotifierStatus] = []


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What a notifier said to a message that was sent to try it."""

    notifier: str
    ok: bool
    message: str = ""


class Control(Protocol):
    """The agent as commands and pages see it. Every call may come from any thread and returns within its time.

    Raises AgentError with what, where and a hint.
    """

    def status(self) -> Status:
        """The newest snapshot; never waits for the disk."""
        ...

    def rotate(self, streams: list[str], *, timeout: float = 60.0) -> list[Rotated]:
        """Seal these streams now, or all where the list is empty."""
        ...

    def cleanup(self, *, dry_run: bool = False, timeout: float = 300.0) -> list[PlanItem]:
        """One pass of everything that is due: rotation and retention."""
        ...

    def reload(self, *, timeout: float = 30.0) -> Reloaded:
        """Read the configuration again; a bad one changes nothing."""
        ...


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


class Alerting(Protocol):
    """What can be asked about alerts. As `Control`: from any thread, AgentError with what, where and a hint."""

    def alerts(self) -> AlertsStatus:
        """Every rule and notifier, as after the newest evaluation."""
        ...

    def test_alert(self, name: str, *, timeout: float = 60.0) -> list[Trial]:
        """Send a message that says it is a test to everybody whom this alert's rule notifies."""
        ...

    def silence(self, name: str, seconds: float, comment: str, *, timeout: float = 10.0) -> AlertsStatus:
        """Tell nobody that this rule's alerts fire, for so long; 0 ends a silence."""
        ...
