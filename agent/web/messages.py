"""What crosses HTTP beside the values of `agent.control`: bodies of requests, answers of probes, errors.

Invariants: this module imports no web framework, so a command can share the shapes at no cost; a request's empty body
means its defaults, an unknown key is an error. Times and sizes are in the units of `agent.control`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from agent.components import State
from agent.control import CheckStatus, Own
from agent.control.drills import DrillCounts, Severity
from agent.kit.errors import AgentError

SOCKET = "agent.sock"
"""Name of the local socket in the state directory."""

Verdict = Literal["healthy", "degraded", "unhealthy"]

Seconds = Annotated[float, msgspec.Meta(ge=1, le=300)]
SpanRate = Annotated[float, msgspec.Meta(ge=1, le=1000)]
Timeout = Annotated[float, msgspec.Meta(gt=0, le=3600)]


class BadRequestError(AgentError):
    """A request that is not understood; answered with 400."""


class Rotate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /rotate, answered by a list of `control.Rotated`."""

    streams: list[str] = []
    """Names as status prints them; empty for all."""
    timeout: Timeout = 60.0


class Cleanup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /cleanup, answered by a list of `control.PlanItem`."""

    dry_run: bool = False
    timeout: Timeout = 300.0


class Reload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /reload, answered by `control.Reloaded`."""

    timeout: Timeout = 30.0


class ResetCursor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /cursors/reset, answered by a list of `control.CursorStatus`."""

    consumer: str
    streams: list[str] = []
    """Names as status prints them; empty for all."""
    position: int | None = None
    time: float | None = None
    timeout: Timeout = 30.0


class DropLetters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /dead-letters/drop, answered by how many there were."""

    consumer: str
    ids: list[str] = []
    """Empty for all."""
    timeout: Timeout = 30.0


class ReplayLetters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /dead-letters/replay, answered by `control.Replayed`."""

    consumer: str
    ids: list[str] = []
    """Empty for all."""
    timeout: Timeout = 300.0


class TryAlert(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /alerts/test, answered by a list of `control.Trial`."""

    name: str
    timeout: Timeout = 60.0


class Silence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /alerts/silence, answered by `control.AlertsStatus`."""

    name: str
    seconds: Annotated[float, msgspec.Meta(ge=0, le=365 * 86_400)] = 7200.0
    """0 ends a silence."""
    comment: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class StartTest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /telemetry-test/test/start, answered by `drills.Drill`."""

    test_type: Literal["continuous_load", "burst_load"]
    duration_seconds: Seconds = 30.0
    span_rate: SpanRate = 10.0
    """Spans a second; of a burst on average."""
    severity: Severity = "medium"
    """Of the requests fail 1 % (`low`), 10 % or 50 %; a burst brings the spans of 2, 5 or 15 seconds at once."""


class GenerateLoads(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /telemetry-test/generate-loads, answered by `drills.Drill`."""

    span_count: Annotated[float, msgspec.Meta(ge=1, le=10_000, multiple_of=1)] = 100
    """A whole number; to JSON, 100.0 is one."""
    delay_ms: Annotated[float, msgspec.Meta(ge=0, le=10_000)] = 0.0
    """Time of a request, and from one to the next."""
    include_errors: bool = False
    """Let one request in five fail."""


class FailCollector(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /telemetry-test/simulate/collector-failure, answered by `drills.Drill`."""

    duration_seconds: Seconds = 30.0
    """How long the rehearsal's own collector is away."""
    span_rate: SpanRate = 60.0
    """Spans a second that the rehearsal's own writer writes, about."""


class PracticeHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of /telemetry-test/health: the agent's verdict about itself, and what is being tested."""

    status: Verdict
    healthy: bool
    issues: list[str]
    running: list[str]
    """Ids of the tests that run now."""
    stream: str
    """File in the watched directory that generated telemetry goes to."""
    resilience_metrics: Resilience | None


class PracticeMetrics(msgspec.Struct, frozen=True):
    """Answer of /telemetry-test/metrics."""

    tests: DrillCounts
    resilience_metrics: Resilience | None
    """Delivery in numbers, all forwards together; null where nothing is forwarded."""


class Failure(msgspec.Struct, frozen=True):
    """Body of every 4xx and 5xx answer in JSON: an AgentError's four parts."""

    what: str
    path: str = ""
    position: int | None = None
    hint: str = ""


class Probe(msgspec.Struct, frozen=True):
    """What a probe found; `reasons` is empty when `ok`."""

    ok: bool
    reasons: list[str]
    heartbeat_age: float
    """Seconds since the main loop last showed that it lives."""


class Service(msgspec.Struct, frozen=True):
    """Whose agent this is."""

    name: str
    version: str


class Part(msgspec.Struct, frozen=True):
    """A part of the agent and the parts it has itself. Times are seconds since 1970 UTC."""

    name: str
    state: State
    since: float
    last_success: float | None = None
    message: str = ""
    hint: str = ""
    parts: list[Part] = []
    """With `?verbose`; a check of `health` is ok, degraded (warning), failed (unhealthy) or starting (unknown)."""


class ConfigKey(msgspec.Struct, frozen=True):
    """One key of the configuration in force."""

    key: str
    value: str
    """As TOML; a secret one is not shown."""
    origin: str


class Inside(msgspec.Struct, frozen=True):
    """Answer of /inside on the local socket."""

    log: list[str]
    """The last lines logged, oldest first, without the secrets of the configuration."""
    stacks: list[str]
    """Where each thread, and each task of the main loop, is."""


class Source(msgspec.Struct, frozen=True):
    """Where a collector's numbers come from."""

    scope: str
    """`host` or `container`."""
    source: str
    error: str


class Resilience(msgspec.Struct, frozen=True, kw_only=True):
    """How delivery fares. Exports count once, however often they were tried; times are seconds since 1970 UTC."""

    total_exports: int
    successful_exports: int
    failed_exports: int
    success_rate: float
    """Share of the exports that ended well, 0 to 1; 1 while there were none."""
    buffer_size: int
    """Bytes that wait on disk."""
    fallback_usage: int
    """Batches that waited on disk because no endpoint might be asked."""
    circuit_breaker_trips: int
    last_export_success: float | None
    last_export_failure: float | None


class Health(msgspec.Struct, frozen=True):
    """Answer of /health."""

    status: Verdict
    healthy: bool
    """True for `healthy` alone."""
    initialized: bool
    """True once the first sweep was done."""
    issues: list[str]
    """A sentence each: what is wrong and, where known, what to do."""
    service: Service
    components: list[Part]
    collector_endpoint: str = ""
    """Where the first OTLP forward sends to now; empty where there is none."""
    service_name: str = ""
    own: Own | None = None
    """What the agent itself uses, and what it may use: its memory budget among it."""
    resilience_metrics: Resilience | None = None
    """Delivery in numbers, all forwards together; null where nothing is forwarded."""
    checks: list[CheckStatus] = []
    """With `?verbose`."""
    sources: dict[str, Source] = {}
    """With `?verbose`: for each collector of system metrics where its numbers come from."""
