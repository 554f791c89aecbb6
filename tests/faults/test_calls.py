"""Each call of a step fails once, or for a long time: the source is intact, the agent lives, and work resumes."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.config import AgentSection, Config, Files, Retention, Rotation
from agent.kit.units import Duration, Size
from tests.model.machine import TICKS, Action, Machine
from tests.model.sequences import MEMORY
from tests.support.gate import CALLS, METHODS, gated
from tests.torture.judge import STATE

ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EACCES)

OFTEN = {"max_size": Size("3KB"), "max_age": Duration("5s")}


@dataclass(frozen=True)
class Story:
    """What writer and agent do while one call fails, and under which rules."""

    rotation: dict[str, Any]
    actions: tuple[Action, ...]
    reached: str
    """The place at its end, so that a story which misses its subject is noticed."""
    keep: int = 0

    def config(self, machine: Machine) -> Config:
        """What the agent is given."""
        return Config(
            files=Files(directory=str(machine.directory)),
            rotation=Rotation(**self.rotation),
            retention=Retention(keep=self.keep, max_age=None, max_total=None),
            agent=AgentSection(state_directory=STATE),
        )


LATER = ("tick", TICKS.index(12.0))
STEP = ("step", 0)
STORIES = {
    "seal and release": Story(OFTEN, (("write", 60), STEP, ("write", 60)), "release.done"),
    "reset": Story(OFTEN, (("write", 20), ("let_go", 0), STEP, LATER, STEP), "reset.truncated"),
    "capture and merge": Story(
        {"max_size": Size("12KB"), "max_age": None, "capture": Duration("1s")},
        (("write", 20), STEP, LATER, ("write", 20), STEP, LATER, ("write", 40), STEP, LATER, STEP),
        "merge.removed",
    ),
    "retain": Story(
        OFTEN, (("write", 60), STEP, LATER, ("write", 20), STEP, LATER, STEP, LATER, STEP), "retain.removed", keep=1
    ),
    "tomb": Story(
        {**OFTEN, "unlink_idle": Duration("2s")},
        (("write", 20), ("let_go", 0), *(STEP, LATER) * 8),
        "tomb.removed",
    ),
    "rename": Story(
        {"max_size": Size("1KB"), "max_age": Duration("5s"), "method": "rename"},
        (("write", 20), STEP, ("reopen", 0), ("write", 20), *(STEP, LATER) * 4, ("let_go", 0), *(STEP, LATER) * 4),
        "tomb.removed",
    ),
}


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


@contextmanager
def told_by(place: Path, story: Story) -> Iterator[Machine]:
    """A machine with the story's rules, whose agent runs; at the end everything is settled and judged."""
    machine = Machine(Path(tempfile.mkdtemp(dir=place)))
    machine._config = lambda: story.config(machine)  # type: ignore[method-assign]  # the story's rules
    with gated(machine.gate) as gate:
        machine.agent("open", 0)
        gate.arm()
        yield machine
        gate.arm()
        del machine._config  # without capture everything is sealed in the end
        machine.settle()
    found = machine.findings()
    assert not found, found
    machine.writer.close()


def play(machine: Machine, story: Story) -> None:
    """All of it; an action of the agent that fails is what the loop would try again."""
    for name, number in story.actions:
        if name == "step":
            step(machine)
        else:
            machine.act(name, number)


def calls(place: Path, story: Story) -> list[int]:
    """The numbers of the events that are calls of the disk, when nothing fails."""
    found: list[int] = []
    with told_by(place, story) as machine:
        real = machine.gate.call

        def call(name: str) -> None:
            real(name)
            found.append(machine.gate.count)

        machine.gate.call = call  # type: ignore[method-assign]  # to count them
        play(machine, story)
        assert machine.gate.seen[story.reached]
        machine.gate.call = real  # type: ignore[method-assign]
    return found


def fail_once(place: Path, story: Story, number: int, error: int) -> None:
    """One call of a story fails. AssertionError with what is wrong in the end."""
    with told_by(place, story) as machine:
        machine.gate.arm(fail_at=number, error=error)
        play(machine, story)
        assert machine.gate.failed


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", sorted(STORIES))
def test_each_call_fails_once(name: str, place: Path, *, every: bool) -> None:
    """Case 10: whichever call fails, every record is there once in the end. Errors take turns, or all of them come."""
    story = STORIES[name]
    numbers = calls(place, story)
    for number in numbers:
        for error in ERRORS if every else (ERRORS[number % len(ERRORS)],):
            fail_once(place, story, number, error)
    assert len(numbers) > 10


@pytest.mark.parametrize("name", sorted(STORIES))
def test_short_writes_go_on(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 10: a write that takes only a part is no error, and what it left is written."""
    real, cut = os.writev, 0

    def writev(fd: int, pieces: Sequence[bytes]) -> int:
        nonlocal cut
        whole = b"".join(pieces)
        cut += len(whole) > 1
        return real(fd, [whole[: (len(whole) + 1) // 2]])

    with told_by(place, STORIES[name]) as machine:
        monkeypatch.setattr("agent.kit.disk.os.writev", writev)
        play(machine, STORIES[name])
        monkeypatch.undo()
    assert cut


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
    """Case 27: what was being read stays readable, so it is published whole."""
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
