"""Rules become checks: the built-in ones, those of the configuration, and those that other packages bring."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple, cast

import msgspec

from agent.config import Health
from agent.config import checks as rules
from agent.health.check import Check
from agent.health.surroundings import Surroundings
from agent.kit.errors import ConfigError, every


class Made(NamedTuple):
    """A rule and the check that follows it."""

    rule: rules.Check
    check: Check


def build(health: Health, around: Surroundings) -> list[Made]:
    """Every check, by name. Raises ConfigError when a plug-in cannot be loaded or refuses its options."""
    chosen = {rule.name: rule for rule in (*_built_in(health, around.directory), *health.check)}
    wanted = sorted(chosen.values(), key=lambda one: one.name)
    checks = every(partial(_make, rule, around, rule.timeout or health.timeout) for rule in wanted)
    return [Made(rule, check) for rule, check in zip(wanted, checks, strict=True)]


def _built_in(health: Health, directory: str) -> Iterator[rules.Check]:
    """The checks that need no entry. They look at what does not flap by itself, so one result counts."""
    found: dict[rules.BuiltIn, rules.Check] = {
        "telemetry_directory": rules.Telemetry(kind="telemetry", name="telemetry_directory", for_=1),
        "disk_space": rules.Disk(kind="disk", name="disk_space", path=directory, for_=1),
        "memory": rules.Memory(kind="memory", name="memory"),
        "main_loop": rules.Loop(kind="loop", name="main_loop", for_=1),
        "streams": rules.Stream(kind="stream", name="streams", for_=1),
    }
    return (found[name] for name in health.built_in)


def _make(rule: rules.Check, around: Surroundings, timeout: float) -> Check:  # noqa: C901 - a table
    from agent.health import (
        clock,
        collector,
        command,
        cpu,
        directory,
        disk,
        dns,
        file,
        http,
        load,
        loop,
        memory,
        pressure,
        sink,
        stream,
        tcp,
        telemetry,
    )

    match rule:
        case rules.Disk():
            return disk.DiskCheck(rule)
        case rules.Memory():
            return memory.MemoryCheck(rule, around.procfs)
        case rules.Cpu():
            return cpu.CpuCheck(rule, around.procfs)
        case rules.Load():
            return load.LoadCheck(rule, around.procfs)
        case rules.Pressure():
            return pressure.PressureCheck(rule, around.procfs)
        case rules.Http():
            return http.HttpCheck(rule, around.clock, timeout)
        case rules.Tcp():
            return tcp.TcpCheck(rule, around.clock, timeout)
        case rules.Dns():
            return dns.DnsCheck(rule)
        case rules.Process():
            from agent.health import process  # psutil, only where it is asked for

            return process.ProcessCheck(rule, around.procfs)
        case rules.Command():
            return command.CommandCheck(rule, around.clock, timeout)
        case rules.File():
            return file.FileCheck(rule, around.clock)
        case rules.Directory():
            return directory.DirectoryCheck(rule)
        case rules.Stream():
            return stream.StreamCheck(rule, around)
        case rules.Collector():
            return collector.CollectorCheck(rule, timeout)
        case rules.Sink():
            return sink.SinkCheck(rule, around.components)
        case rules.Clock():
            return clock.ClockCheck(rule, around.clock)
        case rules.Loop():
            return loop.LoopCheck(rule, around.clock, around.heartbeat)
        case rules.Telemetry():
            return telemetry.TelemetryCheck(around)
        case rules.Plugin():
            return _load(rule)
    raise ConfigError(f"health check {rule.name} has a kind that nobody makes: {rule.kind}")


def _load(rule: rules.Plugin) -> Check:
    from importlib.metadata import entry_points

    for entry in entry_points(group=rules.PLUGINS, name=rule.kind):
        try:
            kind: Any = entry.load()
            return cast("Check", kind(msgspec.convert(rule.options, kind.options)))
        except msgspec.ValidationError as error:
            raise ConfigError(
                f"health check {rule.name}: {error}", hint=f"see the documentation of {entry.value}"
            ) from error
        except Exception as error:
            what = f"health check {rule.name}: {entry.value} cannot be used: {error}"
            raise ConfigError(what, hint="is the package whole, and made for this version?") from error
    raise ConfigError(f"health check {rule.name}: no installed package has a check of the kind {rule.kind!r}")
