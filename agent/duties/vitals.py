"""Two duties that look after the machine and the agent: one reads system metrics, one runs health checks.

Both only start and collect what runs in quarantined daemon threads, so a step is short whatever hangs. A new
configuration is built by `prepare`, in whatever thread reloads, and taken into force by the duty's next step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from agent.components import Components
from agent.config import Config, Health, System
from agent.control import CheckStatus
from agent.health.action import Actions, Audit
from agent.health.board import Board, overall
from agent.health.build import Made, build
from agent.health.check import Level
from agent.health.surroundings import Surroundings
from agent.kit import log
from agent.kit.clock import Clock
from agent.streams import report
from agent.system.registry import Registry, Settings, collectors
from agent.system.snapshot import Report, Snapshot

_log = log.get("vitals")


class Vitals:
    """Reads the machine's and the container's numbers every `[system] interval`."""

    name = "vitals"

    def __init__(self, system: System, clock: Clock, after: Callable[[float], None] = lambda _now: None) -> None:
        """`after(now)` is called at the end of each step."""
        self._clock = clock
        self._after = after
        self._system = system
        self._wanted = system
        self._registry = _registry(system, clock)

    @property
    def snapshot(self) -> Snapshot:
        """The newest reading."""
        return self._registry.snapshot

    def configure(self, system: System) -> None:
        """Other settings from the next step on."""
        self._wanted = system

    def step(self, now: float) -> float:
        """One reading."""
        if self._wanted != self._system:
            self._system = self._wanted
            self._registry = _registry(self._system, self._clock)
        self._registry.step()
        self._after(now)
        return now + self._system.interval


def _registry(system: System, clock: Clock) -> Registry:
    settings = Settings(
        procfs=system.procfs,
        sysfs=system.sysfs,
        rootfs=system.rootfs,
        timeout=system.timeout,
        node_exporter_names=system.node_exporter_names,
    )
    return Registry(collectors(settings, clock), clock, settings.timeout, _tell)


def _tell(report: Report) -> None:
    if report.ok and not report.error:
        _log.info("a collector works again", collector=report.name)
    else:
        _log.warning("a collector has trouble", collector=report.name, error=report.error)


class Prepared(NamedTuple):
    """Checks that were made, not yet in force."""

    made: list[Made]
    health: Health


class Checkup:
    """Runs the health checks."""

    name = "health"

    def __init__(
        self, config: Config, around: Surroundings, *, wake: Callable[[], None] = lambda: None,
        audit: Audit = lambda _reason, _details: None,
    ) -> None:  # fmt: skip
        """Raise ConfigError when a check cannot be made."""
        self._around = around
        self._board = Board(
            build(config.health, around), config.health, around.clock, wake=wake,
            changed=Actions(around.clock, audit).changed,
        )  # fmt: skip

    def view(self) -> list[CheckStatus]:
        """Every check as it is now."""
        return self._board.view()

    def summary(self) -> str:
        """How things are, in a few words."""
        checks = self.view()
        bad = [f"{one.name} {one.state}" for one in checks if one.level > Level.HEALTHY]
        return f"{overall(checks).word}: {', '.join(bad)}" if bad else overall(checks).word

    def prepare(self, config: Config) -> Prepared:
        """Make the checks of another configuration. Raises ConfigError when one cannot be made."""
        return Prepared(build(config.health, self._around), config.health)

    def configure(self, prepared: Prepared) -> None:
        """Take them into force."""
        self._board.configure(*prepared)

    def step(self, now: float) -> float | None:
        """Collect results, start what is due."""
        return self._board.step(now)


def rehearse(config: Config, clock: Clock) -> Prepared:
    """Make the checks beside no agent; the main loop's is left out, there is none. Raises ConfigError."""
    around = Surroundings(
        clock=clock, directory=config.files.directory, status=lambda: report.offline(config, clock),
        components=Components(clock), heartbeat=clock.monotonic, procfs=config.system.procfs,
    )  # fmt: skip
    chosen = tuple(name for name in config.health.built_in if name != "main_loop")
    health = msgspec.structs.replace(config.health, built_in=chosen)
    return Prepared(build(health, around), health)


def once(config: Config, clock: Clock) -> list[CheckStatus]:
    """Run every check once: what `telemetry-agent health` does where no agent runs. Raises ConfigError."""
    board = Board(*rehearse(config, clock), clock)
    while True:
        board.step(clock.monotonic())
        if board.idle():
            return board.view()
        clock.sleep(0.01)
