"""Whatever writers, operators, clocks and kills do to the agent, in any order: the invariant holds afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.kit import disk
from agent.streams.copying import Copier
from tests.crash.places import wanted
from tests.model.machine import Action
from tests.model.regressions import CASES
from tests.model.sequences import MEMORY, Tally, fails, make, shrink

SEED = 1
SHORT, LONG = 400, 6000


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory in memory where there is one."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as found:
        yield Path(found)


def explore(seed: int, count: int, place: Path) -> Tally:
    """Run the lists of `count` seeds; the first that fails is shrunk and shown."""
    tally = Tally()
    for one in range(seed, seed + count):
        actions = make(one)
        if fails(actions, place, tally):
            actions = shrink(actions, place)
            pytest.fail(f"seed {one}: {actions}\n" + "\n".join(fails(actions, place)))
    print(f"seeds {seed} to {seed + count - 1}: {tally.report()}")
    return tally


def test_hundreds_of_action_lists(place: Path) -> None:
    """Case 29: nothing is lost, doubled, torn or left unsealed, and nothing is counted as lost that is not."""
    tally = explore(SEED, SHORT, place)
    assert sum(tally.kills.values()) > SHORT // 10
    assert sum(tally.faults.values()) > SHORT // 40
    assert sum(tally.visits.values()) > SHORT // 10
    assert sum(tally.refused.values()) > SHORT // 10


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_thousands_of_action_lists(place: Path) -> None:
    """The same, fifteen times as many, and the agent is killed at each of its places."""
    tally = explore(SEED + SHORT, LONG, place)
    assert set(wanted()) <= {event for _, event in tally.kills}


@pytest.mark.parametrize("what", list(CASES))
def test_what_failed_once_holds(what: str, place: Path) -> None:
    """A list that failed once, shrunk, does not fail again."""
    assert [] == fails(CASES[what], place)


PLAIN: list[Action] = [
    ("write", 60), ("look", 0), ("seal", 0), ("write", 60), ("release", 0), ("half", 50), ("close", 0),
    ("write", 30), ("crash", 30 * 9), ("step", 0),
]  # fmt: skip


def _punch_beyond(patch: pytest.MonkeyPatch) -> None:
    real = disk.punch
    patch.setattr(disk, "punch", lambda fd, start, end: real(fd, start, end + 8192))


def _skip_a_record(patch: pytest.MonkeyPatch) -> None:
    real = Copier._cut

    def cut(self: Copier, count: int, at_end: bool, whole: bool) -> tuple[int, bool]:
        stop, last = real(self, count, at_end, whole)
        self._buffer[: min(stop, 100)] = self._buffer[: min(stop, 100)].swapcase()
        return stop, last

    patch.setattr(Copier, "_cut", cut)
    patch.setattr("agent.streams.compare._same", lambda *_, **__: True)
    patch.setattr("agent.streams.copying._still_there", lambda *_: True)


def _forget_what_is_sealed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("agent.streams.load.restore", lambda *_: None)


@pytest.mark.parametrize("sabotage", [_punch_beyond, _skip_a_record, _forget_what_is_sealed])
def test_a_broken_agent_is_found(
    sabotage: Callable[[pytest.MonkeyPatch], None], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Punching too far, damaging a record, or forgetting what is sealed fails a plain list that is good otherwise."""
    assert [] == fails(PLAIN, place)
    sabotage(monkeypatch)
    assert fails(PLAIN, place)


def test_a_failing_list_is_shrunk(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left after shrinking still fails, and nothing can be left out."""
    _forget_what_is_sealed(monkeypatch)
    few = shrink(PLAIN, place)
    assert fails(few, place)
    assert len(few) < len(PLAIN)
    assert not any(fails([*few[:at], *few[at + 1 :]], place) for at in range(len(few)))
