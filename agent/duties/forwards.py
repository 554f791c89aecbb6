"""All consumers of an agent: made from the configuration, run beside each other, asked by commands and scrapes.

Also used while no agent runs: a command then works on the same cursors and dead letters, under the directory's lock.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import anyio
import anyio.to_thread

from agent import audit
from agent.components import Components, State
from agent.config import Config, Forward
from agent.control import CursorStatus, ForwardStatus, Replayed
from agent.duties import replay, series
from agent.duties.backlog import Backlog, Bound, bounded
from agent.duties.budget import Budget
from agent.duties.keeper import Keeper
from agent.duties.ledger import Ledger
from agent.duties.processing import chain
from agent.duties.sender import Work
from agent.duties.shipper import Consumer
from agent.duties.standing import standing
from agent.kit import log
from agent.kit.clock import Clock
from agent.kit.errors import AgentError, CorruptError, NoAnswerError, UnknownError, every, printable
from agent.metrics import Metrics, Sample
from agent.sinks.build import build
from agent.streams.deadletters import DeadLetters, Letter, pick
from agent.streams.engine import Engine
from agent.streams.lag import Lag, fullness, lag
from agent.streams.reader import record_start
from agent.streams.views import View, Views

_log = log.get("forwards")


class Forwards:
    """The consumers by name. Implements `Delivery`."""

    def __init__(
        self, engine: Engine, views: Views, clock: Clock, components: Components, environ: Mapping[str, str],
        budget: Budget | None = None,
    ) -> None:  # fmt: skip
        """Make every consumer; the engine is open. Raises ConfigError for a destination that cannot be used."""
        state = engine.grounds.state
        if state is None:
            raise AgentError("there is no state directory", path=engine.catalog.config.state_path)
        self._state = state
        self._views = views
        self._clock = clock
        self.finished = anyio.Event()
        """Set when every consumer has ended."""
        self._loop: asyncio.AbstractEventLoop | None = None
        forwards = engine.holding.forwards
        self._trails = {name: Trail(name, forward, components, engine) for name, forward in forwards.items()}
        self.consumers = {
            name: Consumer(
                forward, build(forward, clock, environ), views, cursors,
                DeadLetters(state, name, limit=forward.dead_letters), clock,
                self._trails[name], budget, chain(forward, environ),
            )
            for name, cursors in engine.holding.cursors.items()
            for forward in (forwards[name],)
        }  # fmt: skip

    # -- running

    async def run(self) -> None:
        """Run every consumer until `stop`."""
        self._loop = asyncio.get_running_loop()
        try:
            async with anyio.create_task_group() as group:
                for consumer in self.consumers.values():
                    group.start_soon(self._run, consumer)
        finally:
            self.finished.set()

    async def _run(self, consumer: Consumer) -> None:
        """A consumer that fails by a defect ends alone: rotation and the other consumers go on."""
        try:
            await consumer.run()
        except Exception as error:  # noqa: BLE001 - whatever it is, it stays with this consumer
            _log.critical("a consumer ended by a failure", forward=consumer.name, error=error, exc_info=error)
            self._trails[consumer.name].ended(error)

    def stop(self) -> None:
        """Ask every consumer to finish; in the loop's thread."""
        for consumer in self.consumers.values():
            consumer.stop()

    def backlog(self) -> Backlog | None:
        """The duty that looks whether too much waits for forwards that keep all; None where none has bounds."""
        bounds = [
            Bound(one.forward, partial(self._waiting, one), self._trails[name].beyond)
            for name, one in self.consumers.items()
            if bounded(one.forward)
        ]
        return Backlog(bounds, lambda: self._views.ready) if bounds else None

    # -- what is told

    def statuses(self) -> list[ForwardStatus]:
        """Each consumer as it is now, from one copy of its books. From any thread; waits for nobody."""
        return [self._status(consumer, consumer.book.snapshot()) for consumer in self.consumers.values()]

    def samples(self) -> list[Sample]:
        """The same for a scrape."""
        found = [(consumer, consumer.book.snapshot()) for consumer in self.consumers.values()]
        return list(series.samples((consumer, self._status(consumer, books), books) for consumer, books in found))

    def _status(self, consumer: Consumer, books: Ledger) -> ForwardStatus:
        failover, unsent = consumer.sender.failover, consumer.forward.unsent
        lags = [one for _, one in self._waiting(consumer)]
        return ForwardStatus(
            name=consumer.name,
            kind=consumer.forward.kind,
            destination=consumer.sender.destination,
            breaker=failover.breakers[failover.current].state,
            trips=failover.trips,
            read=books.read,
            delivered=books.delivered,
            dead_lettered=books.dead_lettered,
            empty=books.empty,
            filtered=sum(books.filtered.values()),
            dropped_items=sum(books.dropped.values()),
            left_out=books.dropped,
            unsettled=books.unsettled,
            in_flight=books.in_flight,
            exports=books.successes + books.refusals,
            successful_exports=books.successes,
            failed_exports=books.refusals,
            retries=sum(books.retries.values()),
            rejected_items=books.rejected,
            sent_bytes=books.sent_bytes,
            unreadable_bytes=sum(books.unreadable.values()),
            waited_batches=books.waited,
            backlog_bytes=sum(one.bytes for one in lags),
            lag_seconds=max((one.seconds for one in lags), default=0.0),
            unsent_ratio=fullness(lags, unsent.max_bytes, unsent.max_age),
            last_success=books.last_success or None,
            last_failure=books.last_failure or None,
            last_error=books.last_error,
        )

    def _waiting(self, consumer: Consumer) -> list[tuple[str, Lag]]:
        """What each of its streams has that it has not passed."""
        now = self._clock.now()
        waiting = []
        for one in self._views.all():
            if consumer.forward.selects(one.name):
                found = consumer.cursors.get(one.stream_id)
                waiting.append((one.name, lag(one, found.position if found else one.first, now)))
        return waiting

    def cursors(self, *, timeout: float = 10.0) -> list[CursorStatus]:  # noqa: ARG002 - Delivery's signature
        """Every cursor, also the orphaned ones."""
        known = {name: consumer.cursors for name, consumer in self.consumers.items()}
        return list(standing(self._state, known, self._views.all(), self._clock.now()))

    # -- what is asked

    def reset_cursor(
        self, consumer: str, streams: list[str], *, position: int | None = None, time: float | None = None,
        timeout: float = 30.0,  # noqa: ARG002 - Delivery's signature
    ) -> list[CursorStatus]:  # fmt: skip
        """Go on from elsewhere; durable on return."""
        chosen = self._consumer(consumer)
        there = {printable(one.name): one for one in self._views.all() if chosen.forward.selects(one.name)}
        unknown = [name for name in streams if name not in there]
        if unknown:
            raise UnknownError(
                f"{consumer} has no stream {', '.join(map(repr, unknown))}",
                hint=f"there are: {', '.join(sorted(there)[:10]) or 'none yet'}",
            )
        for one in [there[name] for name in streams] or list(there.values()):
            chosen.reset(one, _place(one, position, time))
        return [one for one in self.cursors() if one.consumer == consumer and (one.stream in streams or not streams)]

    def drop_letters(self, consumer: str, ids: list[str], *, timeout: float = 30.0) -> int:  # noqa: ARG002 - as above
        """Delete dead letters."""
        chosen = self._consumer(consumer)
        with chosen.letters.alone():
            picked = pick(chosen.letters.all(), ids)
            count = chosen.letters.remove({one.id for one in picked})
        self._trails[consumer].dropped(picked)
        return count

    def replay_letters(self, consumer: str, ids: list[str], *, timeout: float = 300.0) -> Replayed:
        """Send dead letters again; in the loop of the running consumers, or in one of its own where none runs."""
        chosen = self._consumer(consumer)
        if self._loop is None:
            return anyio.run(replay.alone, chosen, ids)
        try:
            return asyncio.run_coroutine_threadsafe(replay.replay(chosen, ids), self._loop).result(timeout)
        except TimeoutError:
            raise NoAnswerError(f"not done within {timeout:g} s; it goes on", hint="see the agent's log") from None

    def _consumer(self, name: str) -> Consumer:
        if name not in self.consumers:
            known = ", ".join(self.consumers) or "none is configured"
            raise UnknownError(f"no forward is called {name!r}", hint=f"there are: {known}")
        return self.consumers[name]


class _Problem(NamedTuple):
    state: State
    message: str
    hint: str


class Trail:
    """Tells of one consumer in the components and in the audit trail. No success hides that too much waits."""

    def __init__(self, name: str, forward: Forward, components: Components, engine: Engine) -> None:
        self._name = name
        self._part = f"forward {name}"
        self._components = components
        self._audit: Callable[..., None] = engine.audit.write
        self._hint = f"see `telemetry-agent cursors`; kind {forward.kind}"
        self._lock = threading.Lock()
        self._problems: dict[str, _Problem] = {}
        """By what does not go well."""
        self.state(True)

    def state(self, ok: bool, message: str = "", hint: str = "", *, of: Work = "sending") -> None:
        """Some of the consumer's work goes on, or does not."""
        with self._lock:
            self._note(of, None if ok else _Problem("degraded", message, hint or self._hint))
            if ok and of == "sending":
                self._components.succeeded(self._part)

    def ended(self, error: Exception) -> None:
        """The consumer is no more."""
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        why = f"ended by a failure: {type(error).__name__}: {error}"
        with self._lock:
            self._note("running", _Problem("failed", why, "restart the agent: its records wait on disk"))

    def beyond(self, message: str, hint: str) -> None:
        """So much more waits than may; an empty message: no longer."""
        with self._lock:
            self._note("waiting", _Problem("failed", message, hint) if message else None)

    def _note(self, work: str, problem: _Problem | None) -> None:
        if problem is None:
            self._problems.pop(work, None)
        else:
            self._problems[work] = problem
        found = sorted(self._problems.values(), key=lambda one: one.state != "failed")
        state = found[0].state if found else "ok"
        message, hint = ("; ".join(texts) for texts in ([one.message for one in found], [one.hint for one in found]))
        self._components.report(self._part, state, message, hint)

    def dropped(self, letters: Sequence[Letter]) -> None:
        """An operator let these go: one entry for each stream that they are from."""
        streams: dict[str, list[Letter]] = {}
        for one in letters:
            streams.setdefault(one.stream, []).append(one)
        for stream, found in streams.items():
            self.audit(
                "command", stream=stream, reason="dead-letters drop", forward=self._name, letters=len(found),
                positions=[min(one.start for one in found), max(one.end for one in found)],
                bytes=sum(one.end - one.start for one in found),
            )  # fmt: skip

    def audit(self, event: audit.Event, **details: Any) -> None:
        """Something happened to data."""
        self._audit(event, **details)


def _place(one: View, position: int | None, time: float | None) -> int:
    """The record meant: the one that holds the position, and for a time the first that was sealed from then on."""
    if time is not None:
        return one.sealed_since(time)
    try:
        return record_start(one, max(position or 0, one.first))
    except (OSError, CorruptError):
        # What cannot be read is told when it is to be delivered.
        return max(one.first, min(position or 0, one.end))


def rehearse(config: Config, clock: Clock, environ: Mapping[str, str]) -> None:
    """Make what every forward needs but its directory, and connect to nobody. Raises ConfigError for all of them."""

    def make(forward: Forward) -> None:
        chain(forward, environ)
        if forward.kind == "otlp":
            build(forward, clock, environ)

    every([partial(make, forward) for forward in config.forward])


@contextmanager
def offline(config: Config, clock: Clock, environ: Mapping[str, str]) -> Iterator[Forwards]:
    """Delivery's commands in this process, while no agent runs. Raises LockedError when one has the directory."""
    components = Components(clock)
    keeper = Keeper(config, clock, Metrics(), components)
    keeper.open(watch=False)
    try:
        keeper.engine.lookout.look("", None)
        keeper.complete_views()
        yield Forwards(keeper.engine, keeper.views, clock, components, environ)
    finally:
        keeper.close()
