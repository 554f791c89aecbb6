"""When to look at what: each case turns an invented clock."""

from __future__ import annotations

from itertools import pairwise

import pytest

from agent.duties.cadence import (
    FORGET,
    GROWING,
    GROWING_LONGEST,
    LISTING,
    QUIET,
    REST_FIRST,
    REST_LONGEST,
    SOONEST,
    Cadence,
    Look,
)

SCAN = 30.0
ALL = Look("", None)


def names(*found: str) -> Look:
    """A look at these names in the root."""
    return Look("", frozenset(found))


def covered(at: float = 0.0) -> Cadence:
    """A cadence whose root is watched and swept."""
    cadence = Cadence(SCAN)
    cadence.manage([""], at)
    cadence.cover([""], at)
    assert cadence.due(at) == [ALL]
    cadence.report(ALL, [], 0.0, at)
    return cadence


def heated(at: float = 0.0) -> Cadence:
    """A cadence with the hot name `a` in a directory that is no longer watched."""
    cadence = covered(at - 0.2)
    for now in (at - 0.2, at):
        cadence.events("", ["a"], now)
        assert cadence.due(now) == [names("a")]
        cadence.report(names("a"), ["a"], 0.0, now)
    cadence.cover([], at)
    return cadence


def looks_until(cadence: Cadence, start: float, end: float, cost: float = 0.0) -> list[tuple[float, Look]]:
    """Every look until `end`, none of which finds growth; each costs that many seconds."""
    found = []
    now = start
    while (at := cadence.next_time()) is not None and at <= end:
        now = max(now, at)
        for look in cadence.due(now):
            found.append((now, look))
            cadence.report(look, [], cost, now)
    return found


def test_nothing_to_watch_is_never_due() -> None:
    """Without directories there is no time at which to look."""
    assert Cadence(SCAN).next_time() is None
    assert Cadence(SCAN).due(5.0) == []


def test_a_quiet_directory_is_only_swept() -> None:
    """With a watch open and no events, only the sweep looks, once an interval."""
    assert looks_until(covered(), 0.0, 95.0) == [(30.0, ALL), (60.0, ALL), (90.0, ALL)]


def test_an_event_leads_to_one_look() -> None:
    """At once, at that name alone, and once however many events there were."""
    cadence = covered()

    assert cadence.events("", ["a", "b"], 1.0)
    assert not cadence.events("", ["a", "b"], 1.1)
    assert cadence.next_time() == 1.0
    assert cadence.due(1.2) == [names("a", "b")]
    assert cadence.due(1.3) == []


def test_events_without_growth_never_make_a_name_hot() -> None:
    """Our own releases (attack M3) are looked at ever less often, and the directory stays watched."""
    cadence = covered()
    looks, now = [], 1.0
    while now < 20.0:  # an event every tenth of a second, as a release in small pieces makes them
        cadence.events("", ["a"], now)
        looks += [now for look in cadence.due(now) if look == names("a")]
        cadence.report(names("a"), [], 0.0, now) if looks[-1:] == [now] else None
        now += 0.1

    assert len(looks) == 7
    assert cadence.quiet() == {""}
    assert [round(b - a) for a, b in pairwise(looks[2:])] == [2, 4, 4, 4]


def test_an_event_during_a_rest_is_looked_at_when_it_ends() -> None:
    """Growth that hides among our own events is found, at the latest after the longest rest."""
    cadence = covered()
    cadence.report(names("a"), [], 0.0, 1.0)

    assert cadence.events("", ["a"], 1.1)
    assert cadence.due(1.1) == []
    assert cadence.next_time() == 1.0 + REST_FIRST
    assert cadence.due(1.0 + REST_FIRST) == [names("a")]
    assert REST_FIRST < REST_LONGEST


def test_a_rest_is_short_again_after_a_long_time_and_after_growth() -> None:
    """Only events that go on make it longer."""
    cadence = covered()
    for now in (1.0, 2.0, 4.0):
        cadence.report(names("a"), [], 0.0, now)
    late = 4.0 + REST_LONGEST + FORGET
    cadence.report(names("a"), [], 0.0, late)
    cadence.events("", ["a"], late)
    assert cadence.due(late + REST_FIRST) == [ALL]  # the sweep takes the name with it

    cadence.report(names("a"), ["a"], 0.0, late + 10)
    cadence.events("", ["a"], late + 10)
    assert cadence.due(late + 10) == [names("a")]


def test_a_slow_writer_keeps_its_directory_watched() -> None:
    """A write a second is one look a second: its events cost less than a timer."""
    cadence = covered()
    for now in range(1, 20):
        cadence.events("", ["a"], now)
        assert cadence.due(now) == [names("a")]
        cadence.report(names("a"), ["a"], 0.0, now)

    assert cadence.quiet() == {""}
    assert not cadence.timed


def test_a_fast_writer_makes_its_directory_hot() -> None:
    """Growth twice within half a second: the watch is to be closed, and a timer looks."""
    cadence = heated()

    assert cadence.quiet() == frozenset()
    assert cadence.timed
    assert not cadence.events("", ["a"], 0.1)
    assert cadence.next_time() == pytest.approx(0.05)


def test_a_hot_name_is_looked_at_four_times_a_second() -> None:
    """While it grows, whatever its events say."""
    cadence, times = heated(), []
    while (now := cadence.next_time() or 0.0) < 3.0:
        for look in cadence.due(now):
            times.append(now)
            cadence.report(look, ["a"], 0.0, now)

    assert [round(b - a, 6) for a, b in pairwise(times)] == [GROWING] * (len(times) - 1)


def test_a_name_cools_when_it_stops_growing() -> None:
    """After a quiet time the directory may be watched again; until then it is looked at and listed."""
    cadence = heated()
    seen = looks_until(cadence, 0.0, QUIET + GROWING)

    assert cadence.quiet() == {""}
    assert len([look for _, look in seen if look == names("a")]) >= QUIET / GROWING * 0.7
    assert len([look for _, look in seen if look == ALL]) >= 4


def test_a_watch_is_followed_by_a_sweep() -> None:
    """What happened between the last look and the arming is found: armed first, swept after."""
    cadence = heated()
    looks_until(cadence, 0.0, QUIET + GROWING)
    now = QUIET + GROWING

    cadence.cover([""], now)

    assert cadence.next_time() == now
    assert cadence.due(now) == [ALL]
    assert cadence.due(now) == []


def test_a_directory_without_a_watch_is_listed_by_timer() -> None:
    """Polling: a new file is found within a second where listings are cheap."""
    cadence = Cadence(SCAN)
    cadence.manage([""], 0.0)

    seen = looks_until(cadence, 0.0, 5.0)

    assert seen == [(n * LISTING, ALL) for n in range(6)]


@pytest.mark.parametrize(("cost", "interval"), [(0.0001, 1.0), (0.01, 2.0), (0.05, 10.0), (10.0, SCAN)])
def test_listings_cost_a_bounded_part_of_a_core(cost: float, interval: float) -> None:
    """The interval follows the cost of a listing: half a percent, but at least one an interval of the sweep."""
    cadence = Cadence(SCAN)
    cadence.manage([""], 0.0)
    times = [at for at, _ in looks_until(cadence, 0.0, 3 * interval, cost)]

    assert times[1] - times[0] == pytest.approx(interval)


def test_listings_of_many_directories_share_the_bound() -> None:
    """A hundred directories at 1 ms are listed together, each 20 s."""
    cadence = Cadence(SCAN)
    cadence.manage([str(n) for n in range(100)], 0.0)
    seen = looks_until(cadence, 0.0, 25.0, 0.001)

    assert sorted({round(at, 3) for at, _ in seen}) == [0.0, 20.0]
    assert len(seen) == 200


def test_looks_at_very_many_hot_names_are_rarer() -> None:
    """A look that takes 50 ms is taken every 2.5 s, and the next one after a cheap one soon again."""
    cadence = heated()
    now = cadence.next_time() or 0.0
    cadence.due(now)
    cadence.report(names("a"), ["a"], 0.05, now)
    assert cadence._growing.at == pytest.approx(now + 2.5)

    cadence.report(names("a"), ["a"], 100.0, now)
    assert cadence._growing.at == pytest.approx(now + GROWING_LONGEST)


def test_a_name_about_to_come_due_is_looked_at_then() -> None:
    """A full-speed writer with a small limit is sealed when it is due, not at the next beat."""
    cadence = heated()
    cadence.report(names("a"), ["a"], 0.0, 0.0, {"a": 0.03})
    assert cadence.next_time() == pytest.approx(0.03)
    assert cadence.due(0.03) == [names("a")]

    cadence.report(names("a"), ["a"], 0.0, 0.03, {"a": 0.0})
    assert cadence.next_time() == pytest.approx(0.03 + SOONEST)


def test_a_name_that_stopped_growing_is_not_hurried() -> None:
    """An extrapolation holds for what grew; otherwise it would be looked at every 5 ms for nothing."""
    cadence = heated()
    cadence.due(0.0)
    cadence.report(names("a"), [], 0.0, 0.0, {"a": 0.001})

    assert cadence.next_time() == pytest.approx(0.05)


def test_all_hot_names_share_one_beat() -> None:
    """A hundred hot files in ten directories wake the agent four times a second, not four hundred."""
    cadence = Cadence(SCAN)
    cadence.manage([str(n) for n in range(10)], 0.0)
    grown = {f"{n}.json" for n in range(10)}
    times = set()
    while (now := max(0.0, cadence.next_time() or 0.0)) < 1.9:
        times.add(round(now, 6))
        for look in cadence.due(now):
            cadence.report(look, grown, 0.0001, now)

    assert len(times) <= 1.9 / GROWING + 2


def test_a_listing_asked_for_by_events_is_paced_by_its_cost() -> None:
    """Directories made and removed in a loop do not have a large one listed each time."""
    cadence = covered()
    cadence.report(ALL, [], 0.05, 1.0)

    assert cadence.stir("", 2.0)
    assert not cadence.stir("", 2.1)
    assert cadence.next_time() == 11.0
    assert cadence.due(11.0) == [ALL]
    assert cadence.rescans == 2


def test_unknown_directories_are_ignored() -> None:
    """Events and reports that come late, for what is no longer managed, change nothing."""
    cadence = covered()
    cadence.manage(["other"], 1.0)

    assert not cadence.events("", ["a"], 1.0)
    assert not cadence.stir("", 1.0)
    cadence.report(names("a"), ["a"], 0.0, 1.0)
    assert cadence.due(1.0) == [Look("other", None)]


def test_managing_the_same_directories_keeps_what_is_known() -> None:
    """A name stays hot when another directory comes."""
    cadence = heated()
    cadence.manage(["", "new"], 0.0)

    assert cadence.quiet() == {"new"}


def test_names_that_come_and_go_leave_nothing_behind() -> None:
    """Memory is bounded by what happened lately, not by every name that ever was."""
    cadence = covered()
    for number in range(1000):
        cadence.report(names(f"{number}"), [f"{number}"] if number % 2 else [], 0.0, 1.0)
    cadence.report(ALL, [], 0.0, 1.0 + REST_LONGEST + FORGET)

    place = cadence._places[""]
    assert (place.rests, place.grown, place.hot, place.asked) == ({}, {}, {}, {})
