"""Each call of a step fails once, or for a long time: the source is intact, the agent lives, and work resumes."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.model.machine import Machine
from tests.model.sequences import MEMORY
from tests.support.gate import CALLS, METHODS, gated

MOST = 120
"""More calls than one step makes here."""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory in memory where there is one."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as found:
        yield Path(found)


def told(machine: Machine, event: str) -> list[str]:
    """The reasons of a stream's entries in the audit trail, whether or not they could be written."""
    assert machine.keeper
    return [one["reason"] for one in machine.keeper.engine.audit.recent if one["event"] == event and "stream" in one]


def step(machine: Machine) -> None:
    """One step; what it raises the loop would log, and try again."""
    try:
        machine.agent("step", 0)
    except OSError as error:
        assert "injected" in str(error)  # noqa: PT017 - most steps raise nothing


def fail_once(place: Path, number: int, error: int) -> str:
    """One call of a step fails; the call's name, empty when the step makes fewer."""
    home = Path(tempfile.mkdtemp(dir=place))
    machine = Machine(home)
    with gated(machine.gate) as gate:
        machine.writer.write(60)
        machine.agent("open", 0)
        gate.arm(fail_at=number, error=error)
        step(machine)
        machine.writer.write(60)
        gate.arm()
        machine.settle()
        failed = [name for name in (gate.last,) if name]
    assert [] == machine.findings()
    machine.writer.close()
    return failed[0] if failed else ""


def calls_of_a_step(place: Path) -> int:
    """How many calls of the disk one step makes that seals, releases and resets."""
    home = Machine(Path(tempfile.mkdtemp(dir=place)))
    with gated(home.gate) as gate:
        home.writer.write(60)
        home.agent("open", 0)
        gate.arm()
        home.agent("step", 0)
        count = gate.count
        home._bury()
    home.writer.close()
    return count


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_each_call_of_a_step_fails_once(error: int, place: Path) -> None:
    """Sealing, releasing, resetting: whichever call fails, every record is there once in the end."""
    count = calls_of_a_step(place)
    for number in range(1, count + 1):
        fail_once(place, number, error)
    assert 20 < count < MOST


@pytest.mark.parametrize("call", ["create", "write_all", "sync_file", "publish", "sync", "punch"])
def test_a_call_that_fails_for_long_is_told_once_and_when_it_is_over(call: str, place: Path) -> None:
    """The same failure again and again is one entry in the trail; the first success is another."""
    machine = Machine(place)
    with gated(machine.gate) as gate:
        machine.writer.write(60)
        machine.agent("open", 0)
        for _ in range(5):
            gate.arm(fail_at=1, fail_for=1 << 30)
            gate.only = lambda name: name == call
            step(machine)
            machine.writer.write(1)
            machine.clock.sleep(31)
        assert 1 == len(told(machine, "error"))
        gate.arm()
        machine.rest()
        assert 1 == len(told(machine, "recovered"))
        machine.settle()
    assert [] == machine.findings()


def test_every_call_of_the_disk_passes_the_gate() -> None:
    """What agent.kit.disk can change is what the gate counts."""
    from agent.kit.disk import Directory

    assert all(callable(getattr(Directory, name)) for name in METHODS)
    assert all(callable(getattr(__import__("agent.kit.disk", fromlist=["x"]), name)) for name in CALLS)


def test_a_file_that_is_deleted_while_it_is_sealed(place: Path) -> None:
    """What was being read stays readable, so it is published whole."""
    machine = Machine(place)
    with gated(machine.gate) as gate:
        machine.writer.write(60)
        machine.agent("open", 0)
        real = gate.place

        def unlink(name: str) -> None:
            if name == "copy.member" and machine.writer.path.exists():
                machine.writer.delete(hold=False)
            real(name)

        gate.place = unlink  # type: ignore[method-assign]  # one test's own trap
        from agent.kit import steps

        steps.watch(unlink)
        machine.agent("step", 0)
        machine.settle()
    assert [] == machine.findings()
    assert not os.path.exists(machine.writer.path)
