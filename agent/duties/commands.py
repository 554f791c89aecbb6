"""The commands over a keeper: rotate, cleanup, reload, carried out in the thread that owns the engine.

Where an agent runs, that is the keeper's own, which hears of them through its `Requests`; a command for which no agent
runs owns the engine itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

import msgspec

from agent.components import Components
from agent.config import Config
from agent.control import Control, PlanItem, Reloaded, Rotated, Status
from agent.duties.keeper import Keeper
from agent.kit.clock import Clock
from agent.kit.errors import AgentError, RefusedError, printable
from agent.metrics import Metrics
from agent.streams import dues, plan, report
from agent.streams.catalog import Stream
from agent.streams.dues import Due
from agent.streams.outcome import Sealed
from agent.streams.shelves import Cleared

Answer = TypeVar("Answer")
Reloader = Callable[[], tuple[Config, Reloaded]]
"""Reads the configuration again: what is in force then, and what became of it."""


class Ask(Protocol):
    """How a call gets into the engine's thread, and its answer back. Raises what the call raises."""

    def __call__(self, call: Callable[[], Answer], timeout: float, /) -> Answer:
        """The answer, within so many seconds."""
        ...


def at_once(call: Callable[[], Answer], _timeout: float) -> Answer:
    """For the thread that owns the engine: there is nobody to wait for."""
    return call()


class Commands:
    """Implements `Control` over a keeper."""

    def __init__(self, keeper: Keeper, ask: Ask, reloader: Reloader | None = None) -> None:
        self._keeper = keeper
        self._engine = keeper.engine
        self._ask = ask
        self._reloader = reloader

    def status(self) -> Status:
        """The newest snapshot."""
        return self._keeper.status()

    def rotate(self, streams: list[str], *, timeout: float = 60.0) -> list[Rotated]:
        """Seal these streams now, or all where the list is empty."""
        return self._ask(lambda: self._rotate(streams), timeout)

    def cleanup(self, *, dry_run: bool = False, timeout: float = 300.0) -> list[PlanItem]:
        """One pass of everything that is due."""
        return self._ask(lambda: self._cleanup(dry_run=dry_run), timeout)

    def reload(self, *, timeout: float = 30.0) -> Reloaded:
        """Read the configuration again; a bad one changes nothing."""
        return self._ask(self._reload, timeout)

    # -- in the engine's thread

    def _rotate(self, names: list[str]) -> list[Rotated]:
        self._engine.lookout.look_everywhere()
        catalog = self._engine.catalog
        chosen = catalog.find(names) if names else list(catalog.streams.values())
        there = [stream for stream in chosen if stream.facts.there or stream.departed]
        outcomes = self._keeper.seal([Due(stream, "request") for stream in there])
        self._keeper.retain()
        return [_rotated(outcome) for outcome in outcomes]

    def _cleanup(self, *, dry_run: bool) -> list[PlanItem]:
        self._engine.lookout.look_everywhere()
        ready, _ = dues.find(self._engine.tools, self._engine.catalog.streams.values())
        items = [
            PlanItem(action="seal", stream=printable(due.stream.name), target=printable(due.stream.leaf),
                     reason=due.reason, bytes=due.stream.live_bytes)
            for due in ready
        ]  # fmt: skip
        if dry_run:
            return items + [_planned(stream, item) for stream, item in self._retention()]
        outcomes = {outcome.stream: outcome for outcome in self._keeper.seal(ready)}
        done = [_carried_out(item, outcomes[due.stream]) for item, due in zip(items, ready, strict=True)]
        self._engine.rounds.release(paced=False)
        self._engine.rounds.reset()
        cleared = self._engine.shelves.clear(self._retention())
        self._keeper.publish()
        return done + [_cleared(one) for one in cleared]

    def _retention(self) -> list[tuple[Stream, plan.Retire]]:
        return self._engine.shelves.surplus(report.directory(self._engine).total_bytes)

    def _reload(self) -> Reloaded:
        if self._reloader is None:
            raise AgentError("nothing to reload: no agent runs")
        config, answer = self._reloader()
        if answer.ok:
            self._keeper.configure(config)
        self._engine.audit.write("reload", reason="ok" if answer.ok else "rejected", why=answer.message)
        return answer


def _rotated(outcome: Sealed) -> Rotated:
    name = printable(outcome.stream.name)
    if outcome.segment:
        return Rotated(stream=name, outcome="sealed", segment=outcome.segment.name, bytes=outcome.bytes,
                       records=outcome.records)  # fmt: skip
    if outcome.error is None:
        return Rotated(stream=name, outcome="nothing", message="no whole record to seal")
    refused = isinstance(outcome.error, RefusedError)
    return Rotated(stream=name, outcome="refused" if refused else "failed", message=printable(str(outcome.error)))


def _planned(stream: Stream, item: plan.Retire) -> PlanItem:
    return PlanItem(action="mark" if item.mark else "retire", stream=printable(stream.name), target=item.segment.name,
                    reason=item.reason, bytes=item.segment.allocated)  # fmt: skip


def _cleared(one: Cleared) -> PlanItem:
    message = printable(str(one.error)) if one.error else ""
    return msgspec.structs.replace(_planned(one.stream, one.item), done=one.error is None, message=message)


def _carried_out(item: PlanItem, outcome: Sealed) -> PlanItem:
    done = _rotated(outcome)
    return PlanItem(action="seal", stream=item.stream, target=done.segment or item.target, reason=item.reason,
                    bytes=done.bytes, done=done.outcome == "sealed", message=done.message)  # fmt: skip


@contextmanager
def offline(config: Config, clock: Clock) -> Iterator[Control]:
    """Control in this process, while no agent runs. Raises LockedError when one has the directory."""
    keeper = Keeper(config, clock, Metrics(), Components(clock))
    keeper.open(watch=False)
    try:
        keeper.engine.lookout.look("", None)
        keeper.engine.rounds.release(paced=False)
        yield Commands(keeper, at_once)
        keeper.engine.rounds.release(paced=False)
        keeper.engine.rounds.reset()
    finally:
        keeper.close()
