"""The registry runs the collectors: it alone limits their time, times them and reports how they fared.

A pass asks every collector, each in a quarantined call, and publishes one immutable snapshot by setting one
reference, so a reader sees a whole pass or the one before it. A pass ends within the time limit even when every
collector hangs, and belongs in a worker thread, never on the event loop.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.kit.clock import Clock
from agent.kit.quarantine import Answer, Hung, Quarantine
from agent.system.container import ContainerCollector
from agent.system.cpu import CpuCollector
from agent.system.disk import DiskCollector
from agent.system.family import Column, Family, single, table
from agent.system.filesystem import FilesystemCollector, StatVfs
from agent.system.memory import MemoryCollector
from agent.system.network import NetworkCollector
from agent.system.pressure import PressureCollector
from agent.system.processes import ProcessesCollector
from agent.system.reading import Collector, Reading
from agent.system.snapshot import Report, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the `[system]` section says about reading; how often to read is its user's business."""

    procfs: str = "/proc"
    """Where procfs is mounted; in a container with the host's mounted in, `/host/proc`."""
    sysfs: str = "/sys"
    rootfs: str = "/"
    """Where the host's root directory is mounted; mount points are looked at below it and named without it."""
    timeout: float = 5.0
    """Seconds a pass may take; a file system has half of it to answer."""
    node_exporter_names: bool = False
    """Add the families of node_exporter, `node_*`, made of the same readings."""


def collectors(settings: Settings, clock: Clock, statvfs: StatVfs = os.statvfs) -> list[Collector]:
    """Every collector there is, over the configured roots."""
    proc, sys = settings.procfs.rstrip("/"), settings.sysfs.rstrip("/")
    node = settings.node_exporter_names
    return [
        CpuCollector(proc, node_names=node),
        MemoryCollector(proc, node_names=node),
        ProcessesCollector(proc, node_names=node),
        FilesystemCollector(
            proc, settings.rootfs, Quarantine(clock, settings.timeout / 2), statvfs=statvfs, node_names=node
        ),
        DiskCollector(proc, sys, node_names=node),
        NetworkCollector(proc, node_names=node),
        PressureCollector(proc, node_names=node),
        ContainerCollector(proc, sys),
    ]


class Registry:
    """Runs passes and keeps the newest snapshot. One thread calls `step`; any thread reads `snapshot`."""

    def __init__(
        self,
        found: Sequence[Collector],
        clock: Clock,
        timeout: float,
        changed: Callable[[Report], None] = lambda _: None,
    ) -> None:
        """`changed` is told, in the pass's thread, of each collector whose `ok` or `error` changed: log it there."""
        self._collectors = found
        self._clock = clock
        self._changed = changed
        self._quarantine: Quarantine[Reading] = Quarantine(clock, timeout)
        self._snapshot = Snapshot()

    @property
    def snapshot(self) -> Snapshot:
        """The newest pass."""
        return self._snapshot

    def step(self) -> Snapshot:
        """One pass, `timeout` seconds long at most. It never raises because of a collector."""
        outcomes = self._quarantine.run({collector.name: collector.collect for collector in self._collectors})
        reports = tuple(report(collector, outcomes[collector.name]) for collector in self._collectors)
        before = {old.name: (old.ok, old.error) for old in self._snapshot.reports}
        families = tuple(family for one in reports for family in one.families)
        now = self._clock.now()
        self._snapshot = Snapshot(at=now, families=families + own_families(reports, now), reports=reports)
        for one in reports:
            if before.get(one.name, (True, "")) != (one.ok, one.error):
                self._changed(one)
        return self._snapshot


def report(collector: Collector, outcome: Answer[Reading] | Hung) -> Report:
    """What an outcome means for its collector."""
    name, scope, seconds = collector.name, collector.scope, outcome.seconds
    if isinstance(outcome, Hung):
        error = "does not answer; it is asked again when its last read has come back"
        return Report(name=name, scope=scope, ok=False, seconds=seconds, error=error)
    if outcome.value is None:
        return Report(name=name, scope=scope, ok=False, seconds=seconds, error=str(outcome.error))
    reading = outcome.value
    return Report(
        name=name,
        scope=scope,
        ok=True,
        seconds=seconds,
        source=reading.source,
        error=reading.problem,
        families=reading.families,
    )


def own_families(reports: Sequence[Report], now: float) -> tuple[Family, ...]:
    """How the pass itself went."""
    rows = [((one.name,), one) for one in reports]
    at = single(
        "telemetry_agent_system_pass_timestamp_seconds", "When the system was read, in seconds since 1970.", now
    )
    return (*table(_PASS, rows, ("collector",)), at)


_PASS: tuple[Column[Report], ...] = (
    Column(
        "telemetry_agent_collector_duration_seconds",
        "How long the collector ran in the newest pass; while it hangs, how long it has been running.",
        lambda one: one.seconds,
    ),
    Column(
        "telemetry_agent_collector_success",
        "1 when the collector read its numbers in the newest pass, 0 when it failed or hung.",
        lambda one: one.ok,
    ),
)
