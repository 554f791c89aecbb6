"""The keeper: the duty that drives the log engine. Its one thread looks, seals, releases and retains.

Other threads never touch the engine: they read the snapshot, an immutable value that each step replaces, or ask
through `Requests`. A step is bounded by what is due; between pieces the engine breathes, and stops there when the
agent has to leave.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from agent.components import Components
from agent.config import Config
from agent.control import ForwardStatus, Own, Status
from agent.duties.cadence import Look
from agent.duties.requests import Requests
from agent.duties.retainer import Retainer
from agent.duties.snapshot import Snapshots
from agent.duties.watcher import Watcher
from agent.kit import linux, log
from agent.kit.clock import Clock
from agent.kit.errors import AgentError, StoppingError
from agent.metrics import Metrics
from agent.streams import dues
from agent.streams.catalog import Stream
from agent.streams.dues import Due
from agent.streams.engine import Engine
from agent.streams.grounds import ReplacedError
from agent.streams.outcome import Sealed
from agent.streams.views import Views

_log = log.get("keeper")

RELEASE_RATE = 160e6
"""Bytes a second that are released of one stream, so that its writer hardly feels it: 8 MiB each 50 ms."""

TRIM_EVERY = 30.0
"""Seconds after which memory that was freed goes back to the system: about as often as everything is looked at."""

SEALED_A_STEP = 256 << 20
"""Bytes after which what else is due waits for the next step, so that what comes due meanwhile need not."""

RELEASE_EVERY = 0.1
"""Seconds between two rounds of release that leave nothing pending: each one makes a writer wait, a large one no longer
than a small one, so few are felt less (measured as the p99.9 of its writes)."""

REST = 0.05
"""Seconds between two rounds of lease tests."""


class Keeper:
    """The duty over an engine, and its newest snapshot."""

    name = "keeper"

    def __init__(
        self,
        config: Config,
        clock: Clock,
        metrics: Metrics,
        components: Components,
        *,
        wake: Callable[[], None] = lambda: None,
        replaced: Callable[[], None] = lambda: None,
        config_path: str = "",
    ) -> None:
        self._clock = clock
        self._components = components
        self._wake = wake
        self._replaced = replaced
        self._config_path = config_path
        self._stopping = threading.Event()
        self.requests = Requests(wake)
        self.views = Views(clock)
        """What consumers read by; kept up only where there are some."""
        changed = self.views.publish if config.forward else None
        self.engine = Engine(config, clock, metrics, self._breathe, changed=changed)
        self.forwards: Callable[[], list[ForwardStatus]] = list
        self.own: Callable[[], Own | None] = lambda: None
        self._watcher: Watcher | None = None
        self._deadlines: dict[Stream, float] = {}
        self._candidates: dict[Stream, None] = {}
        """Streams that were touched, or whose time came, until the rules have been asked about them."""
        self._unsealed = 0
        """Bytes that are due and wait for the next step."""
        self._next_release = 0.0
        self._next_trim = float("inf")
        self._snapshots = Snapshots(self.engine, clock, metrics, config_path)
        self._lines = self._snapshots.lines
        self._retainer = Retainer(self.engine, components)

    # -- start and stop

    def open(self, *, watch: bool = True) -> None:
        """Take the directory and read it. Raises LockedError, OSError, AgentError."""
        self.engine.open()
        self.engine.audit.write("start", config=self._config_path)
        if watch:
            self._watcher = Watcher(
                self.engine.grounds.managed(),
                files=self.engine.catalog.config.files,
                clock=self._clock,
                wake=self._wake,
                relevant=self.engine.survey.relevant,
            )
        self.publish()

    def stop(self) -> None:
        """Ask a running step to end at its next breath. From any thread."""
        self._stopping.set()

    def close(self) -> None:
        """Let go of the directory; no step may run any more."""
        self.requests.close()
        if self._watcher:
            self._watcher.close()
        self.engine.audit.write("stop")
        self.engine.close()

    def _breathe(self) -> None:
        if self._stopping.is_set():
            raise StoppingError("the agent is stopping")
        if self._snapshots.late:
            self.publish()

    @property
    def ready(self) -> bool:
        """True once everything was looked at."""
        return self._snapshots.newest is not None and self.engine.survey.swept

    def configure(self, config: Config) -> None:
        """Take another configuration into force: every stream is looked at by its rules."""
        self.engine.catalog.configure(config)
        self._deadlines = dict.fromkeys(self.engine.catalog.streams.values(), 0.0)
        self._lines.touch(self.engine.catalog.streams.values())

    # -- the duty

    def step(self, now: float) -> float | None:
        """One pass over what is due; the monotonic time of the next."""
        self._snapshots.begin(now)
        self._breathe()
        asked = self.requests.serve()
        self._check_root()
        self._deadlines.update(dict.fromkeys(self._candidates, now))  # what a step that failed left undone
        candidates: dict[Stream, None] = {}
        self._candidates = candidates
        self._look(now)
        self._look_again(now)
        if self.engine.lookout.observed and self.engine.survey.swept and not self.views.ready:
            self.complete_views()
        self._lines.touch(candidates)
        first = self.ready and not (self._snapshots.newest and self._snapshots.newest.ready)
        if first:
            self.publish()  # who asks once it is ready finds all
        outcomes = self._seal_due(candidates)
        pending = self._release(now)
        self._lines.touch(self.engine.rounds.reset())
        if any(outcome.segment for outcome in outcomes):
            self._retainer.published(now)
        if now >= self._retainer.next or self.engine.squeeze.cramped:
            self.engine.squeeze.cramped = False
            self.retain()
            self._deadlines.update(dict.fromkeys(self.engine.rounds.bury(), now))
        self._lines.touch(stream for stream in candidates if stream.refused)
        self._lines.touch(outcome.stream for outcome in outcomes)
        if asked or now >= self._snapshots.next:
            self.publish()
        if first or now >= self._next_trim:
            linux.trim_memory()  # what starting, and each look at everything, took is not needed again
            self._next_trim = now + TRIM_EVERY
        return self._next(pending)

    def _check_root(self) -> None:
        try:
            self.engine.grounds.check_root()
        except ReplacedError:
            self._replaced()
            raise

    def _look(self, now: float) -> None:
        """Take the looks that are due: the streams they touched are candidates."""
        looks = self._watcher.due(now) if self._watcher else [Look("", None)]
        try:
            for look in looks:
                self._take(look)
        except BaseException:
            # One may have seen of any stream what no other sees again, and those behind it are not taken.
            self._deadlines.update(dict.fromkeys(self.engine.catalog.streams.values(), now))
            raise

    def _take(self, look: Look) -> None:
        began = self._clock.monotonic()
        looked = self.engine.lookout.look(look.directory, look.names)
        self._candidates.update(dict.fromkeys(looked.touched))
        self._candidates.update(dict.fromkeys(looked.suspects))
        if self._watcher:
            ended = self._clock.monotonic()
            self._watcher.report(look, looked.grew, ended - began, ended, self._soon(looked.touched))
            if look.names is None:
                self._watcher.manage(self.engine.grounds.managed())

    def _look_again(self, now: float) -> None:
        """Refresh what is known of streams that may have come due by now: they are candidates as well."""
        again = dict.fromkeys(stream for stream, at in self._deadlines.items() if at <= now)
        leaves: dict[str, list[str]] = {}
        for stream in again:
            leaves.setdefault(stream.place.relative, []).append(stream.leaf)
        for relative, names in leaves.items():
            self.engine.lookout.look(relative, names)
        self._candidates.update(again)

    def _soon(self, touched: list[Stream]) -> dict[str, float]:
        """In how many seconds each stream that grew comes due by its size."""
        found: dict[str, float] = {}
        for stream in touched:
            limit, rate = stream.rotation.max_size, stream.facts.rate
            if limit is not None and rate > 0:
                found[stream.leaf] = max(0.0, (limit - stream.live_bytes) / rate)
        return found

    def _seal_due(self, candidates: dict[Stream, None]) -> list[Sealed]:
        ready, later = dues.find(self.engine.tools, candidates)
        for stream in candidates:
            self._deadlines.pop(stream, None)
        ready, rest = dues.share(ready, SEALED_A_STEP)
        self._unsealed = sum(due.stream.live_bytes for due in rest)
        self._deadlines.update(dict.fromkeys((due.stream for due in rest), self._clock.monotonic()))
        outcomes = self.seal(ready)
        # What was just sealed may be due again soon, if it goes on growing as it did.
        done = [one for one in outcomes if (one.segment or one.captured) and not one.more]
        soon, again = dues.find(self.engine.tools, (outcome.stream for outcome in done))
        for stream, due in [*later.items(), *again.items()]:
            if due.at is not None:
                self._deadlines[stream] = due.at
        self._deadlines.update(dict.fromkeys((due.stream for due in soon), self._clock.monotonic()))
        for outcome in outcomes:
            if outcome not in done or outcome.stream.departed:
                self._deadlines[outcome.stream] = outcome.stream.not_before
        self._candidates = {}
        return outcomes

    def seal(self, ready: list[Due]) -> list[Sealed]:
        """Seal these; what failed is looked at again when its time comes."""
        outcomes = self.engine.rotator.seal(ready)
        for outcome in outcomes:
            if outcome.error is not None:
                self._deadlines[outcome.stream] = outcome.stream.not_before
            if outcome.segment:
                _log.info(
                    "sealed",
                    stream=outcome.stream.name,
                    reason=outcome.reason,
                    segment=outcome.segment.name,
                    bytes=outcome.bytes,
                    records=outcome.records,
                )
        return outcomes

    def _release(self, now: float) -> bool:
        if now < self._next_release:
            return True
        most, pending = self.engine.rounds.release()
        self._next_release = now + (most / RELEASE_RATE if pending else RELEASE_EVERY)
        return pending

    def retain(self) -> None:
        """Delete what the rules say, and keep room for what is to be sealed."""
        if self.engine.ages.keep_time():
            self._deadlines.update(dict.fromkeys(dues.reschedule(self.engine.catalog.streams.values()), 0.0))
        self._lines.touch(self._retainer.retain(self._clock.monotonic(), self.engine.rounds.coming + self._unsealed))
        if self.engine.lookout.observed:
            self.views.keep({stream.id for stream in self.engine.catalog.all()})
        self.engine.squeeze.keep_room()

    def complete_views(self) -> None:
        """Everything was looked at: consumers may read, also what is left of streams whose live file is gone."""
        for stream in self.engine.catalog.all():
            self.views.publish(stream)
        self.views.complete()

    def _next(self, pending: bool) -> float | None:
        now = self._clock.monotonic()
        times = [self._retainer.next]
        if pending:
            times.append(max(now + 0.001, self._next_release))
        if self.engine.rounds.resting:
            times.append(now + REST)
        if self._lines.stale:
            times.append(self._snapshots.next)
        if self._deadlines:
            times.append(max(now + 0.005, min(self._deadlines.values())))
        look = self._watcher.next_time(now) if self._watcher else None
        if look is not None:
            times.append(look)
        return min(times)

    # -- snapshots

    def publish(self) -> None:
        """Replace the snapshot by one of now."""
        watcher = self._watcher.status() if self._watcher else None
        self._snapshots.take(ready=self.ready, watcher=watcher, usage=self._retainer.usage)

    def status(self) -> Status:
        """The newest snapshot, with what other duties know by now: an idle directory makes none for half a minute."""
        newest = self._snapshots.newest
        if newest is None:
            raise AgentError("the agent is still starting", hint="try again in a second")
        return msgspec.structs.replace(
            newest, components=self._components.all(), forwards=self.forwards(), own=self.own()
        )
