"""The only wiring: configuration to objects to one task group; signals, readiness, the order of stopping."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NoReturn
from zlib import crc32

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from agent import __version__
from agent.components import Components, State
from agent.config import Config, Loaded, changed, needs_restart
from agent.control import Reloaded
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
from agent.kit.clock import Clock, SystemClock
from agent.kit.errors import AgentError, LockedError
from agent.kit.loops import Duty, Heartbeat, Waker, guard, repeat
from agent.kit.notify import Notifier
from agent.kit.priority import WORK
from agent.metrics import ForwardSeries, MemorySeries, Metrics, StreamSeries
from agent.streams import rights
from agent.system.exposition import SnapshotCollector
from agent.system.memory_limit import MemoryReader
from agent.web.doors import Doors
from agent.web.facts import Facts
from agent.web.history import History
from agent.web.messages import ConfigKey, Source
from agent.web.server import WebServer

if TYPE_CHECKING:
    from agent.rehearsal.practice import Practice

_log = log.get("agent")

LOCK_WAIT = 10.0
"""Seconds that a starting agent waits for a command to give the directory back."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


@dataclass
class Reading:
    """The configuration in force, and how it is read again."""

    loaded: Loaded
    metrics: Metrics
    clock: Clock
    notifier: Notifier
    prepare: list[Callable[[Config], Callable[[], None]]] = field(default_factory=list)
    """Each makes what a configuration asks for, or raises AgentError, and gives what takes it into force."""

    def again(self) -> tuple[Config, Reloaded]:
        """Read the same sources once more; a bad file keeps what is in force and says why."""
        self.notifier.reloading()
        try:
            return self._again()
        finally:
            self.notifier.reloaded()

    def _again(self) -> tuple[Config, Reloaded]:
        old = self.loaded
        self.metrics.config_reloads.inc()
        try:
            new = old.again(os.environ)
            prepared = [prepare(new.config) for prepare in self.prepare]
        except AgentError as error:
            self.metrics.config_reload_failures.inc()
            self.metrics.config_last_reload_successful.set(0)
            _log.error("the new configuration is wrong, the old one stays in force", error=error)
            return old.config, Reloaded(ok=False, message=str(error))
        keys = changed(old.config, new.config)
        restart = [key for key in keys if needs_restart(key)]
        self.loaded = new
        for take_into_force in prepared:
            take_into_force()
        self.accepted()
        _log.info("configuration read again", changed=keys, restart_needed=restart)
        return new.config, Reloaded(ok=True, changed=keys, restart_needed=restart)

    def accepted(self) -> None:
        """Tell the metrics that a configuration is in force."""
        self.metrics.config_last_reload_successful.set(1)
        self.metrics.config_last_reload_success_timestamp_seconds.set(self.clock.now())
        self.metrics.config_hash.set(hash_of(self.loaded.config))


def hash_of(config: Config) -> int:
    """A number that differs between configurations, the same in every process."""
    return crc32(repr(config).encode())


class Watching:
    """Tells metrics and components what the loops do."""

    def __init__(self, metrics: Metrics, components: Components, told: Callable[[], None]) -> None:
        self._metrics = metrics
        self._components = components
        self._told = told

    def stepped(self, name: str, seconds: float) -> None:
        """A step succeeded."""
        self._metrics.duty_steps.labels(name).inc()
        self._metrics.duty_step_seconds.labels(name).inc(seconds)
        self._components.succeeded(name)
        self._told()

    def failed(self, name: str, error: Exception, failures: int, retry: float) -> None:
        """A step failed."""
        self._metrics.duty_failures.labels(name).inc()
        hint = error.hint if isinstance(error, AgentError) else ""
        self._components.report(name, "degraded", f"{error} ({failures} in a row, next try in {retry:g} s)", hint)

    def recovered(self, name: str, failures: int) -> None:
        """A step succeeded after failures."""
        self._components.report(name, "ok", f"works again after {failures} failures")


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
        self.reading = Reading(loaded, self.metrics, self.clock, self.notifier)
        self.waker = Waker()
        self.heartbeat = Heartbeat(self.clock, self.metrics.event_loop_lag_seconds.observe)
        self.keeper = Keeper(config, self.clock, self.metrics, self.components, wake=self.waker.wake,
                             replaced=self._start_anew, config_path=loaded.path)  # fmt: skip
        self.commands = Commands(self.keeper, self.keeper.requests.ask, self.reading.again)
        self.anew = False
        """True when another directory stands at the watched path: the process ends and begins again in place."""
        self.watching = Watching(self.metrics, self.components, self._told)
        WORK.configure(config.agent.nice, config.agent.ionice)
        self.budget = Budget(self.clock, MemoryReader(config.agent.memory_limit or 0), self._tell_memory)
        self.keeper.own = self.budget.own
        self.vitals = Vitals(config.system, self.clock, self._remember)
        self.check_waker = Waker()
        self.checkup = self._make_checkup(config)
        self.doors = Doors(config.web, self.clock)
        self.alert_waker = Waker()
        self.alerter = self._make_alerter(config)
        self.said = ""
        self.history = History()
        self.outputs = Outputs(config, self.clock, self.watching)
        self.forwards: Forwards | None = None
        self.web: WebServer | None = None
        self.practice: Practice | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    def _remember(self, now: float) -> None:
        """Keep a point of what the status page draws."""
        if self.keeper.ready:
            self.history.take(self.keeper.status(), now)

    def _tell_memory(self, state: State, message: str, hint: str) -> None:
        self.components.report("memory", state, message, hint)

    def _make_checkup(self, config: Config) -> Checkup:
        keeper = self.keeper
        around = Surroundings(
            clock=self.clock, directory=config.files.directory, status=keeper.status, components=self.components,
            heartbeat=lambda: self.heartbeat.last, procfs=config.system.procfs,
        )  # fmt: skip

        def audit(reason: str, details: dict[str, Any]) -> None:
            keeper.requests.tell(lambda: keeper.engine.audit.write("check", reason=reason, **details))

        return Checkup(config, around, wake=self.check_waker.wake, audit=audit)

    def _make_alerter(self, config: Config) -> Alerter:
        keeper = self.keeper

        def audit(reason: str, details: dict[str, Any]) -> None:
            keeper.requests.tell(lambda: keeper.engine.audit.write("alert", reason=reason, **details))

        return Alerter(config, self.clock, self.metrics, self.components, wake=self.alert_waker.wake, audit=audit)

    def _prepare(self, config: Config) -> Callable[[], None]:
        checks = self.checkup.prepare(config)
        alerts = self.alerter.prepare(config)
        rules = self.doors.prepare(config.web)

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
        return self.reading.loaded.config.agent.stop_timeout

    def _told(self) -> None:
        """After each step: the service manager hears that the first sweep is done, and how things are."""
        if not self.keeper.ready or not self.notifier.listens:
            return
        said = f"{self.checkup.summary()}; watching {self.config.files.directory}"
        self.notifier.ready(said)
        if said != self.said:
            self.said = said
            self.notifier.status(said)

    async def run(self) -> None:
        """Run until a signal ends it."""
        self.loop = asyncio.get_running_loop()
        with anyio.open_signal_receiver(*_SIGNALS) as signals:
            self.reading.accepted()
            self.reading.prepare.append(self._prepare)
            self.notifier.extend(LOCK_WAIT * 3)
            await anyio.to_thread.run_sync(self._open)
            try:
                self._serve()
                async with anyio.create_task_group() as group:
                    group.start_soon(guard, "heartbeat", self.heartbeat.run)
                    group.start_soon(guard, "keeper", self._keep)
                    group.start_soon(guard, "vitals", self._repeat, self.vitals, Waker())
                    group.start_soon(guard, "health", self._repeat, self.checkup, self.check_waker)
                    group.start_soon(guard, "alerts", self._repeat, self.alerter, self.alert_waker)
                    if self.notifier.listens:
                        group.start_soon(guard, "notifier", self.notifier.pulse)
                    group.start_soon(self.outputs.run)
                    if self.forwards:
                        group.start_soon(self.forwards.run)
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
            self.metrics.attach(ForwardSeries(self.forwards.samples), *ForwardSeries.families)
        streams = StreamSeries(
            lambda: self.keeper.status().streams, lambda: self.reading.loaded.config.web.stream_series
        )
        self.metrics.attach(streams, *StreamSeries.families)
        self.metrics.attach(MemorySeries(self.budget.own), *MemorySeries.families)
        self.metrics.attach(SnapshotCollector(lambda: self.vitals.snapshot))
        self.metrics.attach(health_metrics.BoardCollector(self.checkup.view), *health_metrics.ROWS)
        self.components.report("vitals", "ok")
        self.components.report("health", "ok")

    def _serve(self) -> None:
        state = self.keeper.engine.grounds.state
        if state is None:
            return
        if self.config.web.test_endpoints:
            from agent.rehearsal.practice import Practice

            self.practice = Practice(lambda: self.reading.loaded.config, self.clock)
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
            web=addresses.tcp or "off", config=self.reading.loaded.path or "built-in defaults",
        )  # fmt: skip

    def _facts(self) -> Facts:
        keeper = self.keeper
        return Facts(
            checks=self.checkup.view,
            alerts=self.alerter.alerts,
            sources=lambda: {name: Source(**found) for name, found in self.vitals.snapshot.sources().items()},
            config=self._configuration,
            audit=keeper.engine.audit.newest,
            drills=self.practice,
            history=self.history,
            log=self._lines,
            loop=lambda: self.loop,
            segments=lambda stream, limit: listing(keeper.requests, keeper.engine, stream, limit),
        )

    def _lines(self) -> list[str]:
        from agent.config.secrets import secret_texts
        from agent.sinks.hiding import Hider

        hide = Hider(secret_texts(self.reading.loaded.config), os.environ)
        return [hide(line) for line in log.recent()]

    def _configuration(self) -> list[ConfigKey]:
        from agent.config.render import effective

        return [ConfigKey(*row) for row in effective(self.reading.loaded)]

    async def _keep(self) -> None:
        await self._repeat(self.keeper, self.waker)

    async def _repeat(self, duty: Duty, waker: Waker) -> None:
        """Each duty has worker threads of its own, so that none waits for another's."""
        limiter = anyio.CapacityLimiter(1)
        await repeat(duty, clock=self.clock, limiter=limiter, waker=waker, observer=self.watching)

    async def _obey(self, signals: AsyncIterable[signal.Signals], group: TaskGroup) -> None:
        """Until a signal to stop; the others start their work and the next one is heard at once."""
        async for number in signals:
            if number in (signal.SIGTERM, signal.SIGINT):
                if self.anew:
                    self.notifier.reloading()
                else:
                    _log.info("stopping", signal=signal.Signals(number).name)
                    self.notifier.stopping(self.stop_timeout)
                self.keeper.stop()
                self._leave_in_time()
                return
            group.start_soon(self._command, "reload" if number == signal.SIGHUP else "rotate")

    def _leave_in_time(self) -> None:
        """Whatever still runs at the end of `stop_timeout` is left behind: every step may be cut off anywhere."""

        def leave() -> None:
            _log.error("a step does not end; leaving without it, the next start finds everything again")
            self.leave()

        timer = threading.Timer(self.stop_timeout, leave)
        timer.daemon = True
        timer.start()

    def _start_anew(self) -> None:
        """Take up the directory that stands at the path now: everything open is of the old one, the socket too."""
        if not self.anew:
            self.anew = True
            _log.warning("another directory stands where the watched one was; the agent starts anew to watch it")
            os.kill(os.getpid(), signal.SIGTERM)

    def leave(self) -> NoReturn:
        """End the process: no call that hangs in a worker thread (a dead mount) may hold it."""
        sys.stdout.flush()
        sys.stderr.flush()
        if self.anew:
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - the same program once more
        os._exit(0)

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
    linux.tune_memory()
    rights.settle(loaded.config)
    agent = Agent(loaded)
    try:
        anyio.run(agent.run)
    except BaseExceptionGroup as group:
        for error in group.exceptions:
            _log.critical("the agent ends by a failure", error=error)
        return 1
    return agent.leave()
