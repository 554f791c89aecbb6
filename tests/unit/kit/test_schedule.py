"""When a schedule is due, in local time and around changes of the clocks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.kit.schedule import ALIASES, LocalZone, next_run

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(autouse=True, scope="module")
def local_zone() -> Iterator[None]:
    """Local time is Berlin's, by its POSIX rule: forward on the last Sunday of March, back in October."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        yield
    time.tzset()


def local(text: str, fold: int = 0) -> float:
    """The instant of a local time."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).timestamp()


@pytest.mark.parametrize(
    ("schedule", "after", "due"),
    [
        ("@hourly", "2026-06-01 10:20", "2026-06-01 11:00"),
        ("@daily", "2026-06-01 10:20", "2026-06-02 00:00"),
        ("@midnight", "2026-06-01 10:20", "2026-06-02 00:00"),
        ("@weekly", "2026-06-01 10:20", "2026-06-07 00:00"),
        ("@monthly", "2026-06-01 10:20", "2026-07-01 00:00"),
        ("@yearly", "2026-06-01 10:20", "2027-01-01 00:00"),
        ("@Daily ", "2026-06-01 10:20", "2026-06-02 00:00"),
        ("*/15 * * * *", "2026-06-01 10:20", "2026-06-01 10:30"),
        ("0 */6 * * *", "2026-06-01 12:00", "2026-06-01 18:00"),
        ("30 4 1,15 * 5", "2026-06-01 10:20", "2026-06-05 04:30"),
        ("0 0 L * *", "2026-02-01 00:00", "2026-02-28 00:00"),
    ],
)
def test_schedule_is_due_at_the_next_local_time(schedule: str, after: str, due: str) -> None:
    """Cron fields and their nicknames give the first local time later than the one asked about."""
    assert local(due) == next_run(schedule, local(after))


def test_run_at_an_hour_that_does_not_exist_happens_when_the_clocks_have_moved() -> None:
    """A run at 02:30 is due at 03:00 on the day on which the clocks go from 02:00 to 03:00."""
    assert local("2026-03-29 03:00") == next_run("30 2 * * *", local("2026-03-29 01:00"))


def test_run_at_an_hour_that_comes_twice_happens_once() -> None:
    """A run at 02:30 is due the first time that the clocks show it; the second time belongs to the next day's run."""
    first = next_run("30 2 * * *", local("2026-10-25 01:00"))

    assert local("2026-10-25 02:30", fold=0) == first
    assert local("2026-10-26 02:30") == next_run("30 2 * * *", local("2026-10-25 02:10", fold=1))


def test_hourly_run_misses_no_hour_when_the_clocks_go_back() -> None:
    """With a wildcard hour both passages of an hour have their run."""
    runs = [local("2026-10-25 01:30")]
    for _ in range(3):
        runs.append(next_run("0 * * * *", runs[-1]))

    expected = [1800.0, 3600.0, 3600.0]
    assert expected == [later - sooner for sooner, later in pairwise(runs)]


@given(st.floats(1_600_000_000, 2_200_000_000), st.sampled_from([*ALIASES, "30 2 * * *", "*/7 * * * *"]))
def test_next_run_is_always_later(after: float, schedule: str) -> None:
    """No time answers with itself or the past: a duty that asks again after a run goes on."""
    assert next_run(schedule, after) > after


@given(st.integers(1_600_000_000, 2_200_000_000) | st.integers(-9000, 9000).map(lambda s: 1_792_890_000 + s))
def test_local_zone_agrees_with_the_zone_database(instant: int) -> None:
    """Offset, wall time and the way back to the instant are those of zoneinfo, also around a change."""
    ours = datetime.fromtimestamp(instant, LocalZone())
    theirs = datetime.fromtimestamp(instant, BERLIN)

    assert theirs.replace(tzinfo=None) == ours.replace(tzinfo=None)
    assert (theirs.fold, theirs.utcoffset(), instant) == (ours.fold, ours.utcoffset(), ours.timestamp())


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ("", "five cron fields"),
        ("* * * *", "five cron fields"),
        ("0 * * * * *", "five cron fields"),
        ("61 * * * *", "bad minute"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("@reboot", "the aliases are @hourly"),
        ("0 0 */31 2 MON#5", "never due"),
    ],
)
def test_wrong_schedule_says_why(schedule: str, why: str) -> None:
    """What is no schedule, or never comes, is a ValueError that says what is wrong with it."""
    with pytest.raises(ValueError, match=why):
        next_run(schedule, 0.0)
