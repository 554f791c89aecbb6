"""The board: runs every check at its own interval with its own deadline, and says how things are.

Invariants: a check runs in a daemon thread of its own, one at a time, so one that hangs costs one thread, stalls no
other and holds no exit; until it comes back it is quarantined, and each of its turns counts as timed out. A reader
sees immutable values. One thread calls `step`; any thread may call `configure` and `view`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from agent.config import Health
from agent.config.checks import Check as Rule
from agent.control import CheckStatus
from agent.health.build import Made
from agent.health.check import Finding, Level, unhealthy, unknown
from agent.health.state import State, advance
from agent.kit.clock import Clock
from agent.kit.errors import AgentError
from agent.kit.quarantine import Answer, Call
from agent.kit.units import Duration


class Transition(msgspec.Struct, frozen=True):
    """A change of state, for log, audit and action."""

    rule: Rule
    before: Level
    after: Level
    finding: Finding


class _Entry:
    """One check and everything known about it."""

    def __init__(self, made: Made, health: Health, now: float) -> None:
        self.made = made
        self.interval = float(made.rule.interval or health.interval)
        self.timeout = float(made.rule.timeout or health.timeout)
        self.ttl = max(float(health.cache_ttl), 2 * self.interval + self.timeout)
        self.due = now
        self.call: Call[Finding] | None = None
        self.late = False
        self.state = State()
        self.finding = Finding(level=Level.UNKNOWN, message="not run yet")
        self.status = _status(made.rule, self.interval)

    def inherit(self, old: _Entry) -> None:
        """Go on where the check of the same name and kind was before a reload."""
        if old.made.rule == self.made.rule:
            self.made = old.made
        self.due = min(old.due, self.due + self.interval)
        self.call, self.late = old.call, old.late
        self.state, self.finding = old.state, old.finding
        self.status = msgspec.structs.replace(old.status, interval=self.interval)


def _status(rule: Rule, interval: float) -> CheckStatus:
    word = Level.UNKNOWN.word
    return CheckStatus(name=rule.name, kind=rule.kind, state=word, level=0, since=None, message="not run yet",
                       interval=interval)  # fmt: skip


class Board:
    """Runs checks. `wake` is called, from any thread, when a step would find something to do before its time."""

    def __init__(
        self, made: Sequence[Made], health: Health, clock: Clock, *, wake: Callable[[], None] = lambda: None,
        changed: Callable[[Transition], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self._clock = clock
        self._wake = wake
        self._changed = changed
        self._entries: dict[str, _Entry] = {}
        self._pending: tuple[Sequence[Made], Health] | None = None
        self._published: tuple[tuple[CheckStatus, float], ...] = ()
        self._adopt(made, health)

    def configure(self, made: Sequence[Made], health: Health) -> None:
        """Other rules from the next step on; what is known of a check of the same name and kind stays."""
        self._pending = (made, health)
        self._wake()

    def view(self) -> list[CheckStatus]:
        """Every check as it is now, by name; what was found too long ago is unknown."""
        now = self._clock.now()
        return [_aged(status, ttl, now) for status, ttl in self._published]

    def step(self, now: float) -> float | None:
        """Take what came back, start what is due; the monotonic time of the next step."""
        pending, self._pending = self._pending, None
        if pending:
            self._adopt(*pending)
        for entry in self._entries.values():
            self._collect(entry, now)
            self._start(entry, now)
        self._publish()
        return min((self._next(entry) for entry in self._entries.values()), default=None)

    def idle(self) -> bool:
        """True when every check has been run and none is running."""
        return all(entry.status.runs and (entry.call is None or entry.late) for entry in self._entries.values())

    def _adopt(self, made: Sequence[Made], health: Health) -> None:
        now = self._clock.monotonic()
        old, self._entries = self._entries, {one.rule.name: _Entry(one, health, now) for one in made}
        for name, entry in self._entries.items():
            if name in old and old[name].made.rule.kind == entry.made.rule.kind:
                entry.inherit(old[name])
        self._publish()

    def _publish(self) -> None:
        self._published = tuple((entry.status, entry.ttl) for entry in self._entries.values())

    def _start(self, entry: _Entry, now: float) -> None:
        if now < entry.due:
            return
        if entry.call is None:
            entry.call = Call(entry.made.rule.name, entry.made.check.run, self._clock, self._wake)
        elif entry.late:
            self._time_out(entry, now)
        else:
            return  # it runs, within its time
        planned = entry.due + entry.interval
        entry.due = planned if planned > now else now + entry.interval

    def _collect(self, entry: _Entry, now: float) -> None:
        call = entry.call
        if call is None:
            return
        if call.answer is not None:
            entry.call = None
            if not entry.late:  # what comes too late was counted already
                self._settle(entry, finding_of(call.answer), call.answer.seconds)
            entry.late = False
        elif not entry.late and now >= call.started + entry.timeout:
            entry.late = True
            self._time_out(entry, now)

    def _time_out(self, entry: _Entry, now: float) -> None:
        running = now - entry.call.started if entry.call else 0.0
        entry.status = msgspec.structs.replace(entry.status, timeouts=entry.status.timeouts + 1)
        message = f"no answer within {Duration(entry.timeout)}"
        self._settle(entry, unhealthy(message, hint="it is asked again when it has come back"), running)

    def _settle(self, entry: _Entry, finding: Finding, seconds: float) -> None:
        rule, old, wall = entry.made.rule, entry.state, self._clock.now()
        if rule.severity == "warning" and finding.level is Level.UNHEALTHY:
            finding = msgspec.structs.replace(finding, level=Level.WARNING)
        entry.state = advance(old, finding, rule.streak, rule.recover, wall)
        status, first = entry.status, old.level is Level.UNKNOWN and entry.status.runs == 0
        moved = entry.state.level != old.level
        entry.status = msgspec.structs.replace(
            status,
            state=entry.state.level.word,
            level=int(entry.state.level),
            since=entry.state.since,
            message=finding.message,
            hint=finding.hint,
            value=finding.value,
            last_run=wall,
            last_success=wall if finding.level is Level.HEALTHY else status.last_success,
            seconds=seconds,
            runs=status.runs + 1,
            failures=status.failures + (finding.level in (Level.UNKNOWN, Level.UNHEALTHY)),
            transitions=status.transitions + (moved and not first),
            hung=entry.late,
        )
        if moved and not (first and entry.state.level is Level.HEALTHY):
            self._changed(Transition(rule, old.level, entry.state.level, finding))

    def _next(self, entry: _Entry) -> float:
        if entry.call is not None and not entry.late:
            return entry.call.started + entry.timeout
        return entry.due


def finding_of(answer: Answer[Finding]) -> Finding:
    """What a run gave; one that raised found nothing out."""
    if answer.value is not None:
        return answer.value
    error = answer.error
    if isinstance(error, AgentError):
        return unknown(error.what + (f", path {error.path}" if error.path else ""), hint=error.hint)
    return unknown(f"the check failed: {error!r}")


def _aged(status: CheckStatus, ttl: float, now: float) -> CheckStatus:
    if status.last_run is None or now - status.last_run <= ttl:
        return status
    message = f"the last result is {now - status.last_run:.0f} s old: {status.message}"
    return msgspec.structs.replace(status, state=Level.UNKNOWN.word, level=0, message=message)


def overall(checks: Iterable[CheckStatus]) -> Level:
    """The worst state of all; unknown ones only where there is nothing else."""
    return Level(max((one.level for one in checks), default=0))
