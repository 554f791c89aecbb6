"""The truth about the agent in one word: live, ready, started, healthy.

Invariants: `live` looks at the main loop's heartbeat and nothing else, so nothing downstream and no full disk ever
restarts the agent; `ready` and `started` look at the agent's own start; only `health` judges the work. Nothing here
waits: the web thread can answer while the main loop hangs.
"""

from __future__ import annotations

from collections.abc import Callable

from agent import __version__
from agent.components import Component, Components, State
from agent.config import AgentSection
from agent.control import CheckStatus, Control, ForwardStatus, Status
from agent.health.check import Level
from agent.kit.clock import Clock
from agent.web.facts import Facts
from agent.web.messages import Health, Part, Probe, Resilience, Service

_NAMED_STREAMS = 10
"""Streams in trouble that health names; the others are counted."""

_PART_STATES: dict[Level, State] = {
    Level.UNKNOWN: "starting",
    Level.HEALTHY: "ok",
    Level.WARNING: "degraded",
    Level.UNHEALTHY: "failed",
}


class Probes:
    """Answers for /livez, /readyz, /startupz and /health.

    `heartbeat` is the monotonic time at which the main loop last came round; `ready` says whether the first sweep is
    done. Beyond `deadline` seconds without a heartbeat the main loop counts as stuck.
    """

    def __init__(
        self, components: Components, clock: Clock, *, heartbeat: Callable[[], float], ready: Callable[[], bool],
        deadline: float, facts: Facts | None = None,
    ) -> None:  # fmt: skip
        self._components = components
        self._facts = facts or Facts()
        self._clock = clock
        self._heartbeat = heartbeat
        self._ready = ready
        self._deadline = deadline
        self._started = False

    def live(self) -> Probe:
        """Failed once the main loop has been silent for longer than the deadline."""
        return self._probe(self._stuck())

    def ready(self) -> Probe:
        """Failed while the agent cannot do its work yet, or no longer."""
        if self._ready():
            return self._probe([])
        return self._probe(["the first sweep is not done", *_unsound(self._components.all())])

    def started(self) -> Probe:
        """As `ready`, but once it succeeded it stays so: what happens later is not a matter of starting."""
        probe = self.ready()
        self._started = self._started or probe.ok
        return self._probe([]) if self._started else probe

    def health(self, control: Control, service_version: str, *, verbose: bool = False) -> Health:
        """The verdict over the whole agent. Raises AgentError when there is no snapshot."""
        status = control.status()
        checks = self._facts.checks()
        components = self._components.all()
        initialized = self._ready()
        stuck = self._stuck()
        issues = [
            *stuck,
            *([] if initialized else ["not initialized: the first sweep is not done"]),
            *_unsound(components),
            *(_complaint(check) for check in checks if _is_bad(check)),
            *(f"directory {status.directory.path}: {problem}" for problem in _directory(status)),
            *_streams(status),
        ]
        failed = any(part.state == "failed" for part in components) or any(check.level == 3 for check in checks)
        fatal = bool(stuck) or failed or status.directory.critical
        return Health(
            status="unhealthy" if fatal else "degraded" if issues else "healthy",
            healthy=not issues,
            initialized=initialized,
            issues=issues,
            service=Service(status.service_name, service_version or status.version),
            components=[_part(part, checks if verbose else []) for part in components],
            collector_endpoint=next((one.destination for one in status.forwards if one.kind == "otlp"), ""),
            service_name=status.service_name,
            own=status.own,
            resilience_metrics=resilience(status.forwards),
            checks=checks if verbose else [],
            sources=self._facts.sources() if verbose else {},
        )

    def _probe(self, reasons: list[str]) -> Probe:
        return Probe(not reasons, reasons, round(self._age(), 3))

    def _age(self) -> float:
        return max(0.0, self._clock.monotonic() - self._heartbeat())

    def _stuck(self) -> list[str]:
        age = self._age()
        if age <= self._deadline:
            return []
        return [f"the main loop has not answered for {age:.1f} s, the limit is {self._deadline:g} s"]


def _unsound(components: list[Component]) -> list[str]:
    """A sentence for each part that is not at work."""
    return [_sentence(part) for part in components if part.state in ("starting", "degraded", "failed")]


def _sentence(part: Component) -> str:
    text = f"{part.name} is {part.state}"
    if part.message:
        text += f": {part.message}"
    return f"{text}; {part.hint}" if part.hint else text


def judge_offline(about: AgentSection, checks: list[CheckStatus]) -> Health:
    """The verdict where no agent runs and there are only checks to go by."""
    issues = [_complaint(check) for check in checks if _is_bad(check)]
    unhealthy = any(check.level == Level.UNHEALTHY for check in checks)
    return Health(
        status="unhealthy" if unhealthy else "degraded" if issues else "healthy",
        healthy=not issues,
        initialized=False,
        issues=issues,
        service=Service(about.service_name, about.service_version or __version__),
        components=[],
        checks=checks,
    )


def _is_bad(check: CheckStatus) -> bool:
    """Unknown is an issue only for a check that was run: before that it says nothing."""
    return check.level > Level.HEALTHY or (check.level == Level.UNKNOWN and check.last_run is not None)


def _complaint(check: CheckStatus) -> str:
    text = f"check {check.name} is {check.state}: {check.message}"
    return f"{text}; {check.hint}" if check.hint else text


def _part(part: Component, checks: list[CheckStatus]) -> Part:
    """A component; the one that runs the checks has them as its parts."""
    below = [
        Part(one.name, _PART_STATES[Level(one.level)], one.since or part.since, one.last_success, one.message, one.hint)
        for one in checks
        if part.name == "health"
    ]
    return Part(part.name, part.state, part.since, part.last_success, part.message, part.hint, below)


def _directory(status: Status) -> list[str]:
    """The directory's problems; being critical is one even where nobody put it into words."""
    directory = status.directory
    if directory.problems or not directory.critical:
        return directory.problems
    return [f"{directory.total_bytes} bytes are above its critical size of {directory.critical_total} bytes"]


def _streams(status: Status) -> list[str]:
    bad = [stream for stream in status.streams if stream.state in ("refused", "failing")]
    named = [f"stream {stream.name} is {stream.state}: {stream.why}" for stream in bad[:_NAMED_STREAMS]]
    more = len(bad) - len(named)
    return [*named, f"{more} more streams are refused or failing; status lists them"] if more else named


def resilience(forwards: list[ForwardStatus]) -> Resilience | None:
    """All forwards together."""
    if not forwards:
        return None
    total, good = sum(one.exports for one in forwards), sum(one.successful_exports for one in forwards)
    return Resilience(
        total_exports=total,
        successful_exports=good,
        failed_exports=total - good,
        success_rate=good / total if total else 1.0,
        buffer_size=sum(one.backlog_bytes for one in forwards),
        fallback_usage=sum(one.waited_batches for one in forwards),
        circuit_breaker_trips=sum(one.trips for one in forwards),
        last_export_success=max((one.last_success for one in forwards if one.last_success), default=None),
        last_export_failure=max((one.last_failure for one in forwards if one.last_failure), default=None),
    )
