"""Cases 28 and 29: whatever fails, each record is delivered or a dead letter, and the books balance at each scrape."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.soak.chaos import IN_FLIGHT, RECORDS, Result, run
from tests.soak.oracle import Outcome, bad, record


def judge(result: Result) -> None:
    """Nothing lost, nothing made up, nothing altered; twice at most what was in flight at a kill."""
    for outcome in result.outcomes.values():
        assert not outcome.lost, result.report()
        assert not outcome.unknown, result.report()
        assert not outcome.altered, result.report()
        assert outcome.twice <= result.kills * IN_FLIGHT * RECORDS, result.report()
    good = result.outcomes["good"]
    assert good.refused == {number for number in good.produced if number % 97 == 13}, result.report()
    assert result.scrapes, result.report()
    assert not result.unbalanced, result.report()
    assert not result.losses, result.report()
    assert result.fresh < 30, result.report()


@pytest.mark.timeout(400)
def test_case_28_29_every_fault_at_once(tmp_path: Path) -> None:
    """A few seconds of random answers, seals, retention, kills and starts."""
    result = run(tmp_path, 3, seed=1)

    judge(result)
    assert result.kills, result.report()
    assert result.sealed, result.report()


@pytest.mark.long
@pytest.mark.timeout(7000)
def test_case_29_soak(tmp_path: Path) -> None:
    """The same for half an hour, or for SOAK_SECONDS."""
    result = run(tmp_path, float(os.environ.get("SOAK_SECONDS", "1800")), seed=2)

    print(result.report())
    judge(result)
    assert min(result.said.values()) > 0


def outcome(*delivered: bytes, produced: int = 5, refused: tuple[str, ...] = ()) -> Outcome:
    """What the oracle makes of some requests and letters."""
    found = Outcome(set(range(produced)))
    for body in delivered:
        found.took(body)
    found.buried(refused)
    return found


def joined(*numbers: int) -> bytes:
    """A request with these records."""
    head, tail = b'{"resourceSpans":[', b"]}\n"
    return head + b",".join(record(number)[len(head) : -len(tail)] for number in numbers) + b"]}"


def test_the_oracle_sees_what_is_wrong() -> None:
    """Lost, twice, unknown and altered records are each seen; without any of them there is none."""
    fine = outcome(joined(0, 1), joined(2, 4), refused=(bad(3).decode(),))
    assert (set(), set(), set(), 0) == (fine.lost, fine.unknown, fine.altered, fine.twice)

    assert {3, 4} == outcome(joined(0, 1), joined(2)).lost
    assert 1 == outcome(joined(0, 1), joined(1)).twice
    assert {7} == outcome(joined(7)).unknown
    assert {1} == outcome(joined(1).replace(b'"traceState":"', b'"traceState":"0')).altered
