"""The duties that read the machine and run the checks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.components import Components
from agent.config import Config, Files, Health, System
from agent.config.checks import File, Plugin, Tcp
from agent.duties.requests import Requests
from agent.duties.vitals import Checkup, Vitals, once
from agent.health.surroundings import Surroundings
from agent.kit.clock import SystemClock
from agent.kit.errors import ConfigError
from agent.kit.units import Duration
from tests.support.clock import ManualClock
from tests.unit.web.conftest import status_with


def config_with(directory: Path, *checks: File | Plugin | Tcp) -> Config:
    """Only these checks."""
    return Config(files=Files(directory=str(directory)), health=Health(built_in=(), check=checks))


def around(directory: Path) -> Surroundings:
    """The real clock: nothing here takes time."""
    clock = SystemClock()
    return Surroundings(
        clock=clock, directory=str(directory), status=status_with, components=Components(clock),
        heartbeat=clock.monotonic,
    )  # fmt: skip


def test_a_step_reads_the_machine_and_names_the_next() -> None:
    """Every interval; before the first there is nothing."""
    vitals = Vitals(System(interval=Duration("7s")), ManualClock())
    assert vitals.snapshot.at is None

    assert 107.0 == vitals.step(100.0)
    assert (vitals.snapshot.value("system_memory_size_bytes") or 0) > 0
    assert vitals.snapshot.value("node_memory_MemTotal_bytes") is None


def test_other_settings_hold_from_the_next_step_on() -> None:
    """A new interval, and another set of names."""
    vitals = Vitals(System(), ManualClock())
    vitals.step(0.0)
    vitals.configure(System(interval=Duration("1s"), node_exporter_names=True))

    assert 1.0 == vitals.step(0.0)
    assert vitals.snapshot.value("node_memory_MemTotal_bytes") is not None


def test_one_pass_runs_every_check(tmp_path: Path) -> None:
    """With its finding, whatever the threads do."""
    there = File(kind="file", name="there", path=str(tmp_path))
    gone = File(kind="file", name="gone", path=str(tmp_path / "no"))
    found = once(config_with(tmp_path, there, gone), SystemClock())

    assert [("gone", "unhealthy"), ("there", "healthy")] == [(one.name, one.state) for one in found]


def test_the_summary_names_what_is_wrong(tmp_path: Path) -> None:
    """A word where all is well, before the first run too."""
    checkup = Checkup(config_with(tmp_path), around(tmp_path))
    assert "unknown" == checkup.summary()


def test_built_in_checks_are_on_by_default(tmp_path: Path) -> None:
    """And an entry of the same name replaces one."""
    memory = File(kind="file", name="memory", path=str(tmp_path))
    config = Config(files=Files(directory=str(tmp_path)), health=Health(check=(memory,)))
    checkup = Checkup(config, around(tmp_path))

    expected = ["disk_space", "main_loop", "memory", "streams", "telemetry_directory"]
    assert expected == [one.name for one in checkup.view()]
    assert "file" == next(one.kind for one in checkup.view() if one.name == "memory")


def test_a_configuration_that_cannot_be_made_is_refused_before_anything_changes(tmp_path: Path) -> None:
    """The old checks stay."""
    checkup = Checkup(config_with(tmp_path, File(kind="file", name="a", path="/")), around(tmp_path))
    with pytest.raises(ConfigError, match="'nowhere' is no address"):
        checkup.prepare(config_with(tmp_path, Tcp(kind="tcp", name="b", address="nowhere")))

    assert ["a"] == [one.name for one in checkup.view()]


def test_prepared_checks_come_into_force_with_the_next_step(tmp_path: Path) -> None:
    """A step in the duty's thread takes them."""
    checkup = Checkup(config_with(tmp_path, File(kind="file", name="a", path="/")), around(tmp_path))
    checkup.configure(checkup.prepare(config_with(tmp_path, File(kind="file", name="b", path="/"))))
    checkup.step(0.0)

    assert ["b"] == [one.name for one in checkup.view()]


def test_what_is_told_to_a_duty_is_done_in_its_step() -> None:
    """Nobody waits for it, and its failure is nobody's."""
    done: list[int] = []
    requests = Requests(lambda: done.append(0))
    requests.tell(lambda: done.append(1))
    requests.tell(lambda: os.stat("/nowhere"))
    assert [0, 0] == done

    assert 2 == requests.serve()
    assert [0, 0, 1] == done
    requests.close()
    requests.tell(lambda: done.append(2))
    assert 0 == requests.serve()
