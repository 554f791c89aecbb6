"""The outage: a writer, an agent and a collector of one's own; the collector is taken away and comes back.

Invariants: the user's directory, agent, destinations and collector have no part in it, so nothing of theirs is harmed
or falsified; all that is taken from the configuration is how patient a forward is (batch, retry, breaker, timeout).
The verdict is the writer's own count against the ids that the receiver saw; the agent's counters are only shown.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.config import Forward
from agent.control import ForwardStatus
from agent.control.drills import OutageProgress, OutageReport, Phase
from agent.kit.disk import Directory
from agent.kit.errors import AgentError, StoppingError
from agent.otlp.generate import sequences
from agent.rehearsal.proxy import Proxy
from agent.rehearsal.receiver import Receiver
from agent.rehearsal.stage import AGENT, Child, Stage, directory, lines_told
from agent.streams.deadletters import DeadLetters

NAME = "rehearsal"
"""What the forward of a rehearsal is called."""
_BEFORE = 3.0
"""Seconds of delivery before the outage."""
_LOOK = 0.2
_TELL = 1.0
_FRESH = 2.0
"""Seconds that records may wait for others beyond `batch.max_delay` and still count as the newest ones."""

_ENDED = "the rehearsal was ended before its count"
_RULES = """\
# A rehearsal: everything is kept, so that everything can be counted.
[files]
directory = {{directory}}
critical_total = "off"

[retention]
keep = 0
max_age = "off"
max_total = "off"

[web]
listen = ""

[[forward]]
name = "{name}"
endpoints = ["http://127.0.0.1:{port}"]
compression = "{forward.compression}"
timeout = "{timeout}s"

[forward.batch]
max_bytes = {max_bytes}
max_records = {forward.batch.max_records}
max_delay = "{max_delay}s"
in_flight = {forward.batch.in_flight}

[forward.retry]
initial = "{initial}s"
maximum = "{maximum}s"
multiplier = {forward.retry.multiplier}
jitter = "{forward.retry.jitter}"
max_attempts = {forward.retry.max_attempts}

[forward.breaker]
failures = {forward.breaker.failures}
recovery = "{recovery}s"
"""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is rehearsed: `seconds` without a collector, `rate` lines a second, with the patience of `forward`."""

    seconds: float = 30.0
    rate: float = 100.0
    forward: Forward = field(default_factory=lambda: Forward(name=NAME))
    keep: bool = False
    """Leave the files; `kept` of the outage tells where."""
    agent: Sequence[str] = AGENT

    @property
    def patience(self) -> float:
        """Seconds after the collector's return in which a sound agent has delivered everything."""
        forward = self.forward
        return float(forward.breaker.recovery + 2 * forward.retry.maximum + forward.timeout) + 30.0


class Outage:
    """One rehearsal. `told` hears how it goes about once a second; `stop` ends the outage early, and all is counted."""

    def __init__(self, plan: Plan, told: Callable[[OutageProgress], None], stop: threading.Event) -> None:
        self._plan = plan
        self._told = told
        self._stop = stop
        self._began = self._next_told = time.monotonic()
        self._children: list[Child] = []
        self._killed = False
        self._longest_lag = 0.0
        self._largest_backlog = 0
        self._trips = 0
        self._opened: float | None = None
        self.kept: Path | None = None

    def kill(self) -> None:
        """End everything at once, without a count. From any thread."""
        self._killed = True
        self._stop.set()
        for child in self._children:
            child.kill()

    def play(self) -> OutageReport:
        """Rehearse; takes the outage's seconds, and until all is delivered. Raises AgentError when it cannot go on."""
        keep = self._plan.keep
        with directory("rehearsal", keep=keep) as root, Receiver() as receiver, Proxy(receiver.port) as proxy:
            self.kept = root if keep else None
            stage = Stage(root, self._rules(proxy.port), whose="the rehearsal's", agent=self._plan.agent)
            self._children.append(stage.agent)
            try:
                return self._play(stage, receiver, proxy)
            except AgentError as error:
                if self._killed:
                    raise StoppingError(_ENDED) from error
                raise
            finally:
                for child in self._children:
                    child.end()

    def _rules(self, port: int) -> str:
        forward = self._plan.forward
        batch, retry = forward.batch, forward.retry
        return _RULES.format(
            name=NAME, port=port, forward=forward, timeout=float(forward.timeout), max_bytes=int(batch.max_bytes),
            max_delay=float(batch.max_delay), initial=float(retry.initial), maximum=float(retry.maximum),
            recovery=float(forward.breaker.recovery),
        )  # fmt: skip

    def _play(self, stage: Stage, receiver: Receiver, proxy: Proxy) -> OutageReport:
        patience = self._plan.patience
        stage.await_ready(self._stop)
        if self._stop.is_set():
            raise StoppingError(_ENDED)
        writer = stage.writer(self._plan.rate)
        self._children.append(writer)

        def until(phase: Phase, done: Callable[[ForwardStatus | None], bool], limit: float) -> float | None:
            return self._until(phase, stage, receiver, done, limit)

        if until("before", lambda _: receiver.distinct > 0, 30) is None:
            raise AgentError("nothing was delivered before the outage", hint="the rehearsal's files tell more: --keep")
        until("before", lambda _: self._stop.is_set(), _BEFORE)
        proxy.take_away()
        away = self._now()
        until("outage", lambda _: self._stop.is_set(), self._plan.seconds)
        back, had = self._now(), receiver.distinct
        proxy.bring_back()
        recovered = until("recovery", lambda _: receiver.distinct > had, patience)
        fresh = float(self._plan.forward.batch.max_delay) + _FRESH
        caught_up = until("recovery", lambda one: one is not None and one.lag_seconds < fresh, patience)
        self._children.remove(writer)
        written = lines_told(writer.end())
        writer.check()
        until("counting", lambda one: _all_there(one, receiver, written), patience)
        stage.agent.end()
        stage.agent.check()
        ids, dead = receiver.snapshot(), _dead(stage.state)
        return OutageReport(
            written=written,
            delivered=sum(one < written for one in ids),
            dead_lettered=len({one for one in dead if one < written and one not in ids}),
            lost=sum(one not in ids and one not in dead for one in range(written)),
            twice=sum(times > 1 for times in ids.values()),
            strange=sum(one >= written for one in ids),
            outage_seconds=round(back - away, 3),
            trips=self._trips,
            opened_after=_after(self._opened, away),
            recovered_after=_after(recovered, back),
            caught_up_after=_after(caught_up, back),
            longest_lag=round(self._longest_lag, 3),
            largest_backlog=self._largest_backlog,
        )

    def _until(
        self, phase: Phase, stage: Stage, receiver: Receiver, done: Callable[[ForwardStatus | None], bool], limit: float
    ) -> float | None:
        """Look on until it is done: when that was; None when `limit` seconds were not enough."""
        give_up = time.monotonic() + limit
        while not self._killed:
            forward = self._look(phase, stage, receiver)
            if done(forward):
                return self._now()
            if time.monotonic() >= give_up:
                return None
            time.sleep(min(_LOOK, max(0.01, give_up - time.monotonic())))
        raise StoppingError(_ENDED)

    def _look(self, phase: Phase, stage: Stage, receiver: Receiver) -> ForwardStatus | None:
        """See how the agent stands, and tell of it when it is time."""
        for child in self._children:
            if child.code is not None and not self._killed:
                raise child.failure()
        forwards = stage.control.status().forwards
        forward = forwards[0] if forwards else None
        if forward:
            self._longest_lag = max(self._longest_lag, forward.lag_seconds)
            self._largest_backlog = max(self._largest_backlog, forward.backlog_bytes)
            self._trips = forward.trips
            if self._opened is None and forward.trips:
                self._opened = self._now()
        if time.monotonic() >= self._next_told:
            self._next_told = time.monotonic() + _TELL
            self._told(_progress(phase, self._now(), receiver.distinct, forward))
        return forward

    def _now(self) -> float:
        return time.monotonic() - self._began


def _progress(phase: Phase, at: float, received: int, forward: ForwardStatus | None) -> OutageProgress:
    if forward is None:
        return OutageProgress(phase=phase, at=round(at, 1), received=received)
    return OutageProgress(
        phase=phase, at=round(at, 1), received=received, backlog_bytes=forward.backlog_bytes,
        lag_seconds=round(forward.lag_seconds, 1), breaker=forward.breaker, trips=forward.trips,
    )  # fmt: skip


def _all_there(forward: ForwardStatus | None, receiver: Receiver, written: int) -> bool:
    dead = forward.dead_lettered if forward else 0
    return receiver.distinct + dead >= written


def _after(moment: float | None, start: float) -> float | None:
    return None if moment is None else round(max(0.0, moment - start), 1)


def _dead(state: Path) -> set[int]:
    """The ids in the dead letters."""
    with Directory.open(str(state)) as place:
        return {number for one in DeadLetters(place, NAME).all() for number in sequences(one.content)}
