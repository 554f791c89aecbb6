"""What can be practised with a running agent: loads of generated telemetry, and an outage of the collector.

As in all of `agent.control`, everything is a value or a Protocol: the rehearsal engine implements `Drills`, app wires
it, web serves it. Times are seconds since 1970 UTC, durations seconds, sizes bytes.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from agent.kit.errors import AgentError

Kind = Literal["continuous_load", "burst_load", "generated_load", "collector_failure"]
State = Literal["running", "completed", "failed", "stopped"]
Severity = Literal["low", "medium", "high"]
Phase = Literal["starting", "before", "outage", "recovery", "counting"]

STREAM = "telemetry-agent-test.json"
"""Where generated telemetry goes in the watched directory."""
SERVICE = "telemetry-agent-test"
"""`service.name` of all generated telemetry, so that nobody takes it for his own."""


class BusyError(AgentError):
    """As much is being practised already as may be at once."""


class ImpossibleError(AgentError):
    """What is asked for cannot be practised with this configuration."""


class OutageProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How a rehearsed outage stands."""

    phase: Phase
    at: float
    """Since the rehearsal began."""
    received: int
    """Records that the receiver has, each counted once."""
    backlog_bytes: int = 0
    lag_seconds: float = 0.0
    breaker: str = "closed"
    trips: int = 0


class OutageReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the records of a rehearsed outage: the writer's numbers against the receiver's own."""

    written: int
    """By the writer's own count."""
    delivered: int
    """Of these, how many the receiver has."""
    dead_lettered: int
    """How many it has not, and the dead letters have: `retry.max_attempts` was used up."""
    lost: int
    """How many nobody has."""
    twice: int
    """How many the receiver got more than once."""
    strange: int
    """Records at the receiver that nobody wrote."""
    outage_seconds: float
    trips: int
    """How often the circuit breaker opened."""
    opened_after: float | None
    """From the outage's begin until the circuit was open; None when it stayed closed."""
    recovered_after: float | None
    """From the collector's return until the next record arrived; None when none did."""
    caught_up_after: float | None
    """From its return until nothing but the newest records waited."""
    longest_lag: float
    largest_backlog: int

    @property
    def passed(self) -> bool:
        """True when every record is accounted for and delivery came back."""
        return not self.lost and not self.strange and self.recovered_after is not None


class Drill(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is or was practised."""

    test_id: str
    test_type: Kind
    status: State
    started: float
    ended: float | None = None
    duration_seconds: float | None = None
    """As asked for; None for a load that ends when all is written."""
    span_rate: float | None = None
    severity: Severity | None = None
    span_count: int | None = None
    """Spans to write; None for an outage, which counts records."""
    spans_written: int = 0
    bytes_written: int = 0
    message: str = ""
    """Why it failed or was stopped."""
    progress: OutageProgress | None = None
    report: OutageReport | None = None


class DrillCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Sums since the agent started."""

    started: int
    running: int
    completed: int
    failed: int
    stopped: int
    spans_written: int
    bytes_written: int


class Drills(Protocol):
    """What can be asked for. From any thread, answered at once; raises AgentError with what, where and a hint."""

    def load(self, kind: Kind, seconds: float, rate: float, severity: Severity) -> Drill:
        """Begin to write `rate` spans a second, steadily or in bursts."""
        ...

    def generate(self, spans: int, delay: float, *, errors: bool) -> Drill:
        """Begin to write so many spans, `delay` seconds between two traces."""
        ...

    def outage(self, seconds: float, rate: float) -> Drill:
        """Begin to rehearse an outage of the collector, with an agent, a directory and a receiver of its own."""
        ...

    def one(self, test_id: str) -> Drill:
        """How it stands. Raises UnknownError."""
        ...

    def all(self) -> list[Drill]:
        """Those that are remembered, oldest first."""
        ...

    def counts(self) -> DrillCounts:
        """All of them together."""
        ...
