"""The only wiring: configuration to objects to one task group; signals, readiness, the order of stopping.

Read `Agent` from the top: what there is, what one part is given of another, how it all lives and ends, what it shows.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterable, Callable
from typing import TYPE_CHECKING, Any, Literal

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from agent import __version__
from agent.app.configuration import Configuration
from agent.app.ending import Ending
from agent.app.observer import StepObserver
from agent.components import Components, State
from agent.config import Config, Loaded, extras
from agent.duties import forwards
from agent.duties.alerter import Alerter
from agent.duties.budget import Budget
from agent.duties.commands import Commands
from agent.duties.forwards import Forwards
from agent.duties.keeper import Keeper
from agent.duties.outputs import Outputs
from agent.duties.segments import listing
from agent.duties.vitals import Checkup, Vitals
from agent.health import exposition as health_metrics
from agent.health.surroundings import Surroundings
from agent.kit import linux, log
from agent.kit.clock import SystemClock
from agent.kit.errors import AgentError, LockedError
from agent.kit.loops import Duty, Heartbeat, Waker, guard, repeat
from agent.kit.notify import Notifier
from agent.kit.priority import WORK, interrupt_nobody
from agent.metrics import ForwardSeries, MemorySeries, Metrics, StreamSeries
from agent.streams import rights
from agent.system.exposition import SnapshotCollector
from agent.system.memory_limit import MemoryReader
from agent.web.doors import Doors
from agent.web.facts import Facts
from agent.web.history import History
from agent.web.messages import Source
from agent.web.server import WebServer

if TYPE_CHECKING:
    from agent.rehearsal.practice import Practice

_log = log.get("agent")

LOCK_WAIT = 10.0
"""Seconds that a starting agent waits for a command to give the directory back."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


class Agent:
    """Everything that runs, made in order and stopped in the reverse one."""

    def __init__(self, loaded: Loaded) -> None:
        config = loaded.config
        self.config = config
        self.clock = SystemClock()
        self.metrics = Metrics()
        log.setup(config.agent.log_level, config.agent.log_format, clock=self.clock,
                  count=lambda level: self.metrics.log_messages.labels(level).inc())  # fmt: skip
        self.components = Components(self.clock)
        self.notifier = Notifier(os.environ, self.clock)
        self.ending = Ending()
        self.configuration = Configuration(loaded, self.metrics, self.clock, self.notifier)
        self.observer = StepObserver(self.metrics, self.components, self._told)
        self.heartbeat = Heartbeat(self.clock, self.metrics.event_loop_lag_seconds.observe)
        WORK.configure(config.agent.nice, config.agent.ionice)
        self.budget = Budget(self.clock, MemoryReader(config.agent.memory_limit or 0), self._tell_memory)
        self.waker, self.check_waker, self.alert_waker = Waker(), Waker(), Waker()
        self.keeper = Keeper(config, self.clock, self.metrics, self.components, wake=self.waker.wake,
                             replaced=self.ending.start_anew, config_path=loaded.path)  # fmt: skip
        self.keeper.own = self.budget.own
        self.commands = Commands(self.keeper, self.keeper.requests.ask, self.configuration.again)
        self.history = History()
        self.vitals = Vitals(config.system, self.clock, self._remember)
        self.checkup = Checkup(config, self._surroundings(), wake=self.check_waker.wake, audit=self._audit("check"))
        self.alerter = Alerter(config, self.clock, self.metrics, self.components, wake=self.alert_waker.wake,
                               audit=self._audit("alert"))  # fmt: skip
        self.doors = Doors(config.web, self.clock)
        self.outputs = Outputs(config, self.clock, self.observer)
        self.forwards: Forwards | None = None
        self.web: WebServer | None = None
        self.practice: Practice | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.said = ""

    # -- what the parts are given of each other

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            clock=self.clock, directory=self.config.files.directory, status=self.keeper.status,
            components=self.components, heartbeat=lambda: self.heartbeat.last, procfs=self.config.system.procfs,
        )  # fmt: skip

    def _audit(self, event: Literal["check", "alert"]) -> Callable[[str, dict[str, Any]], None]:
        """Writes such an entry from any thread: the engine's own does it."""
        keeper = self.keeper

        def audit(reason: str, details: dict[str, Any]) -> None:
            keeper.requests.tell(lambda: keeper.engine.audit.write(event, reason=reason, **details))

        return audit

    def _remember(self, now: float) -> None:
        """Keep a point of what the status page draws."""
        if self.keeper.ready:
            self.history.take(self.keeper.status(), now)

    def _tell_memory(self, state: State, message: str, hint: str) -> None:
        self.components.report("memory", state, message, hint)

    def _told(self) -> None:
        """After each step: the service manager hears that the first sweep is done, and how things are."""
        if not self.keeper.ready or not self.notifier.listens:
            return
        said = f"{self.checkup.summary()}; watching {self.config.files.directory}"
        self.notifier.ready(said)
        if said != self.said:
            self.said = said
            self.notifier.status(said)

    def _prepare(self, config: Config) -> Callable[[], None]:
        checks = self.checkup.prepare(config)
        alerts = self.alerter.prepare(config)
        rules = self.doors.prepare(config.web)
        # They come into force at the next start, which must not fail then.
        forwards.rehearse(config, self.clock, os.environ)

        def take_into_force() -> None:
            log.set_level(config.agent.log_level)
            self.checkup.configure(checks)
            self.alerter.configure(alerts)
            self.doors.adopt(rules)
            self.vitals.configure(config.system)

        return take_into_force

    @property
    def stop_timeout(self) -> float:
        """Seconds to stop in, by the configuration that is in force now."""
        return self.configuration.loaded.config.agent.stop_timeout

    # -- its life

    async def run(self) -> None:
        """Run until a signal ends it."""
        self.loop = asyncio.get_running_loop()
        with anyio.open_signal_receiver(*_SIGNALS) as signals:
            self.configuration.accepted()
            self.configuration.prepare.append(self._prepare)
            self.notifier.extend(LOCK_WAIT * 3)
            await anyio.to_thread.run_sync(self._open)
            try:
                self._serve()
                async with anyio.create_task_group() as group:
                    group.start_soon(guard, "heartbeat", self.heartbeat.run)
                    group.start_soon(guard, "keeper", self._repeat, self.keeper, self.waker)
                    group.start_soon(guard, "vitals", self._repeat, self.vitals, Waker())
                    group.start_soon(guard, "health", self._repeat, self.checkup, self.check_waker)
                    group.start_soon(guard, "alerts", self._repeat, self.alerter, self.alert_waker)
                    if self.notifier.listens:
                        group.start_soon(guard, "notifier", self.notifier.pulse)
                    group.start_soon(self.outputs.run)
                    if self.forwards:
                        group.start_soon(self.forwards.run)
                        if backlog := self.forwards.backlog():
                            group.start_soon(guard, "backlog", self._repeat, backlog, Waker())
                    await self._obey(signals, group)
                    await self._deliver_last()
                    group.cancel_scope.cancel()
            finally:
                if self.web:
                    self.web.stop(min(2.0, self.stop_timeout))
                if self.practice:
                    self.practice.close()
                self.alerter.close()
                self.outputs.close()
                self.keeper.close()

    async def _deliver_last(self) -> None:
        """Let destinations answer what they were just sent; what they don't take now waits on disk."""
        self.outputs.stop()
        if self.forwards:
            self.forwards.stop()
            with anyio.move_on_after(self.stop_timeout / 3):
                await self.forwards.finished.wait()

    def _open(self) -> None:
        """Take the directory; a command that has it is waited for, another agent is not outwaited."""
        give_up = self.clock.monotonic() + LOCK_WAIT
        while True:
            try:
                self.keeper.open()
                break
            except LockedError:
                if self.clock.monotonic() >= give_up:
                    raise
                self.clock.sleep(0.2)
        self.components.report("keeper", "ok")
        self.outputs.open()
        self.alerter.open(self.keeper.engine.grounds.state)
        if self.config.forward:
            engine = self.keeper.engine
            self.forwards = Forwards(engine, self.keeper.views, self.clock, self.components, os.environ, self.budget)
            self.keeper.forwards = self.forwards.statuses
        self._expose()
        self.components.report("vitals", "ok")
        self.components.report("health", "ok")

    def _expose(self) -> None:
        """The metrics that are not counted but asked for, at each scrape."""
        if self.forwards:
            self.metrics.attach(ForwardSeries(self.forwards.samples), *ForwardSeries.families)
        streams = StreamSeries(
            lambda: self.keeper.status().streams, lambda: self.configuration.loaded.config.web.stream_series
        )
        self.metrics.attach(streams, *StreamSeries.families)
        self.metrics.attach(MemorySeries(self.budget.own), *MemorySeries.families)
        self.metrics.attach(SnapshotCollector(lambda: self.vitals.snapshot))
        self.metrics.attach(health_metrics.BoardCollector(self.checkup.view), *health_metrics.ROWS)

    def _serve(self) -> None:
        state = self.keeper.engine.grounds.state
        if state is None:
            return
        if self.config.web.test_endpoints:
            from agent.rehearsal.practice import Practice

            self.practice = Practice(lambda: self.configuration.loaded.config, self.clock)
        self.web = WebServer(
            self.commands, self.metrics, self.components, self.clock, listen=self.config.web.listen, state=state,
            heartbeat=lambda: self.heartbeat.last, ready=lambda: self.keeper.ready,
            service_version=self.config.agent.service_version or __version__, delivery=self.forwards,
            alerting=self.alerter, doors=self.doors,
            facts=self._facts(),
        )  # fmt: skip
        addresses = self.web.start()
        _log.info(
            "telemetry-agent runs", version=__version__, pid=os.getpid(), directory=self.config.files.directory,
            web=addresses.tcp or "off", config=self.configuration.loaded.path or "built-in defaults",
        )  # fmt: skip

    def _facts(self) -> Facts:
        keeper = self.keeper
        return Facts(
            checks=self.checkup.view,
            alerts=self.alerter.alerts,
            sources=lambda: {name: Source(**found) for name, found in self.vitals.snapshot.sources().items()},
            config=self.configuration.shown,
            audit=keeper.engine.audit.newest,
            drills=self.practice,
            history=self.history,
            log=lambda: self.configuration.without_secrets(log.recent()),
            loop=lambda: self.loop,
            segments=lambda stream, limit: listing(keeper.requests, keeper.engine, stream, limit),
        )

    async def _repeat(self, duty: Duty, waker: Waker) -> None:
        """Each duty has worker threads of its own, so that none waits for another's."""
        limiter = anyio.CapacityLimiter(1)
        await repeat(duty, clock=self.clock, limiter=limiter, waker=waker, observer=self.observer)

    async def _obey(self, signals: AsyncIterable[signal.Signals], group: TaskGroup) -> None:
        """Until a signal to stop; the others start their work and the next one is heard at once."""
        async for number in signals:
            if number in (signal.SIGTERM, signal.SIGINT):
                if self.ending.anew:
                    self.notifier.reloading()
                else:
                    _log.info("stopping", signal=signal.Signals(number).name)
                    self.notifier.stopping(self.stop_timeout)
                self.keeper.stop()
                self.ending.within(self.stop_timeout)
                return
            group.start_soon(self._command, "reload" if number == signal.SIGHUP else "rotate")

    async def _command(self, what: Literal["reload", "rotate"]) -> None:
        """A signal asks for it; nobody waits for the answer but the log."""
        try:
            if what == "reload":
                await anyio.to_thread.run_sync(self.commands.reload)
            else:
                await anyio.to_thread.run_sync(lambda: self.commands.rotate([]))
        except AgentError as error:
            _log.error(f"{what} by signal failed", error=error)


def run(loaded: Loaded) -> int:
    """Run the agent in the foreground; the process's exit status.

    Raises AgentError (LockedError, ConfigError) when it cannot start.
    """
    extras.require(loaded)
    linux.tune_memory()
    interrupt_nobody()
    rights.settle(loaded.config)
    agent = Agent(loaded)
    try:
        anyio.run(agent.run)
    except BaseExceptionGroup as group:
        for error in group.exceptions:
            _log.critical("the agent ends by a failure", error=error)
        return 1
    return agent.ending.now()
