"""The only wiring: configuration to objects to one task group; signals, readiness, the order of stopping."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import AsyncIterable
from dataclasses import dataclass
from typing import Literal
from zlib import crc32

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from agent import __version__
from agent.components import Components
from agent.config import RESTART_KEYS, Config, Loaded, changed
from agent.control import Reloaded
from agent.duties.keeper import Keeper
from agent.kit import linux, log, user
from agent.kit.clock import Clock, SystemClock
from agent.kit.errors import AgentError, LockedError
from agent.kit.loops import Heartbeat, Waker, guard, repeat
from agent.metrics import Metrics, StreamSeries
from agent.web.server import WebServer

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

    def again(self) -> tuple[Config, Reloaded]:
        """Read the same sources once more; a bad file keeps what is in force and says why."""
        old = self.loaded
        self.metrics.config_reloads.inc()
        try:
            new = old.again(os.environ)
        except AgentError as error:
            self.metrics.config_reload_failures.inc()
            self.metrics.config_last_reload_successful.set(0)
            _log.error("the new configuration is wrong, the old one stays in force", error=error)
            return old.config, Reloaded(ok=False, message=str(error))
        keys = changed(old.config, new.config)
        restart = [key for key in keys if key in RESTART_KEYS]
        self.loaded = new
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

    def __init__(self, metrics: Metrics, components: Components) -> None:
        self._metrics = metrics
        self._components = components

    def stepped(self, name: str, seconds: float) -> None:
        """A step succeeded."""
        self._metrics.duty_steps.labels(name).inc()
        self._metrics.duty_step_seconds.labels(name).inc(seconds)
        self._components.succeeded(name)

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
        self.reading = Reading(loaded, self.metrics, self.clock)
        self.waker = Waker()
        self.heartbeat = Heartbeat(self.clock, self.metrics.event_loop_lag_seconds.observe)
        self.keeper = Keeper(config, self.clock, self.metrics, self.components, wake=self.waker.wake,
                             config_path=loaded.path, reloader=self.reading.again)  # fmt: skip
        self.web: WebServer | None = None

    async def run(self) -> None:
        """Run until a signal ends it."""
        with anyio.open_signal_receiver(*_SIGNALS) as signals:
            self.reading.accepted()
            await anyio.to_thread.run_sync(self._open)
            try:
                self._serve()
                async with anyio.create_task_group() as group:
                    group.start_soon(guard, "heartbeat", self.heartbeat.run)
                    group.start_soon(guard, "keeper", self._keep)
                    await self._obey(signals, group)
                    group.cancel_scope.cancel()
            finally:
                if self.web:
                    self.web.stop(min(2.0, self.config.agent.stop_timeout))
                self.keeper.close()

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
        self.metrics.attach(StreamSeries(lambda: self.keeper.status().streams), *StreamSeries.families)

    def _serve(self) -> None:
        state = self.keeper.engine.state
        if state is None:
            return
        self.web = WebServer(
            self.keeper, self.metrics, self.components, self.clock, listen=self.config.web.listen, state=state,
            heartbeat=lambda: self.heartbeat.last, ready=lambda: self.keeper.ready,
            service_version=self.config.agent.service_version or __version__,
        )  # fmt: skip
        addresses = self.web.start()
        _log.info(
            "telemetry-agent runs", version=__version__, pid=os.getpid(), directory=self.config.files.directory,
            web=addresses.tcp or "off", config=self.reading.loaded.path or "built-in defaults",
        )  # fmt: skip

    async def _keep(self) -> None:
        watching = Watching(self.metrics, self.components)
        limiter = anyio.CapacityLimiter(1)
        await repeat(self.keeper, clock=self.clock, limiter=limiter, waker=self.waker, observer=watching)

    async def _obey(self, signals: AsyncIterable[signal.Signals], group: TaskGroup) -> None:
        """Until a signal to stop; the others start their work and the next one is heard at once."""
        async for number in signals:
            if number in (signal.SIGTERM, signal.SIGINT):
                _log.info("stopping", signal=signal.Signals(number).name)
                self.keeper.stop()
                self._leave_in_time()
                return
            group.start_soon(self._command, "reload" if number == signal.SIGHUP else "rotate")

    def _leave_in_time(self) -> None:
        """Whatever still runs at the end of `stop_timeout` is left behind: every step may be cut off anywhere."""

        def leave() -> None:
            _log.error("a step does not end; leaving without it, the next start finds everything again")
            os._exit(0)

        timer = threading.Timer(self.config.agent.stop_timeout, leave)
        timer.daemon = True
        timer.start()

    async def _command(self, what: Literal["reload", "rotate"]) -> None:
        """A signal asks for it; nobody waits for the answer but the log."""
        try:
            if what == "reload":
                await anyio.to_thread.run_sync(self.keeper.reload)
            else:
                await anyio.to_thread.run_sync(lambda: self.keeper.rotate([]))
        except AgentError as error:
            _log.error(f"{what} by signal failed", error=error)


def run(loaded: Loaded) -> int:
    """Run the agent in the foreground; the process's exit status.

    Raises AgentError (LockedError, ConfigError) when it cannot start.
    """
    linux.tune_memory()
    config = loaded.config
    if config.agent.user:
        user.drop(config.agent.user, config.files.directory, config.state_path)
    agent = Agent(loaded)
    try:
        anyio.run(agent.run)
    except BaseExceptionGroup as group:
        for error in group.exceptions:
            _log.critical("the agent ends by a failure", error=error)
        return 1
    # A call that hangs in a worker thread (a dead mount) must not hold the process: everything is flushed by now.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
