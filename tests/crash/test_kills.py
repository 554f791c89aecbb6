"""An agent that is killed again and again beside writers that live on loses nothing, and its places are all reached."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.kit.steps import STEPS
from tests.crash.child import Order
from tests.crash.kills import Killing, session
from tests.crash.nursery import Nursery
from tests.crash.places import ELSEWHERE, in_code, wanted
from tests.torture.judge import table

SEED = 20


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    """A process that forks agents."""
    with Nursery() as found:
        yield found


def test_every_place_in_the_code_is_killed_at() -> None:
    """What the code reaches is the list of steps, and what has its own tests is in it."""
    assert set(STEPS) == in_code()
    assert set(ELSEWHERE) < set(STEPS)


def prove(place: Path, nursery: Nursery, rounds: int, moments: int, calls: int) -> None:
    """Kill, judge, and see that each place was fired."""
    book, verdicts = session(place, nursery, SEED, rounds, moments=moments, calls=calls)
    print(f"seed {SEED}", *(f"{name}: {count}" for name, count in sorted(book.kills.items())), sep="\n")
    print(table(verdicts))
    assert all(one.good for one in verdicts), table(verdicts)
    assert [] == book.faults
    assert [] == [step for step in wanted() if not book.kills.get(step)]
    assert min(book.reached["release.punched"], book.reached["reset.truncated"], book.reached["retain.marked"]) > 0


def test_nothing_is_lost_by_kills(tmp_path: Path, nursery: Nursery) -> None:
    """Case 8: once at each place, at system calls by strace, at random moments: lost 0, twice 0, torn 0, in order."""
    prove(tmp_path, nursery, 1, 4, 1)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_nothing_is_lost_by_hundreds_of_kills(tmp_path: Path, nursery: Nursery) -> None:
    """The same, a dozen times at each place."""
    prove(tmp_path, nursery, 12, 80, 6)


@pytest.mark.parametrize(
    ("how", "step"), [("punch", "release.punched"), ("forget", "publish.synced"), ("drop", "publish.synced")]
)
def test_a_broken_agent_is_found(how: str, step: str, tmp_path: Path, nursery: Nursery) -> None:
    """An agent that punches too far, forgets after a kill what is sealed, or leaves out a record, fails the judge.

    Each has its chance for sure: two lives get so far that the second shows what the first has done.
    """
    killing = Killing(tmp_path, nursery, SEED, sabotage=how, limit=50)
    try:
        killing.start({"telemetry.json": ("append", "--rate", "8000")})
        killing.at(step, times=3)
        killing.at(step, times=3)
        verdicts = killing.end()
    finally:
        killing.kill_writers()
    assert {step: 2} == killing.book.kills, killing.book
    assert not all(one.good for one in verdicts)


def test_a_life_that_fails_is_noted(tmp_path: Path, nursery: Nursery) -> None:
    """An agent that ends with an error is no kill: its status tells."""
    file = tmp_path / "file"
    file.touch()
    death = nursery.live(Order(directory=str(file), album=str(tmp_path)))
    assert 1 == death.status
