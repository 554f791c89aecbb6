"""What consumers have not delivered is protected, by the rules that were asked for."""

from __future__ import annotations

import pytest

from agent.config import Retention
from agent.streams.lag import Lag, lag
from agent.streams.plan import Claim, Hold, Room, Shelf, Shelved, hold, retire
from agent.streams.views import Views, view
from tests.support.bench import Bench, lines

ROOM = Room(total=100, free=100, capacity=1000, max_total=None, min_free=None)


def row(hold: Hold, *, age: float = 0, allocated: int = 10, newest: bool = False) -> Shelved:
    """A released segment."""
    return Shelved("a", f"{age}", 10, age, allocated, False, newest, True, hold)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ([], Hold()),
        ([Claim(10)], Hold()),
        ([Claim(9)], Hold(True, True, True)),
        ([Claim(0, True)], Hold(True, True, False)),
        ([Claim(0, True, max_bytes=100)], Hold(True, True, False)),
        ([Claim(0, True, max_bytes=99)], Hold(True, False, False)),
        ([Claim(5, True, max_bytes=95)], Hold(True, True, False)),
        ([Claim(0, True, max_age=59)], Hold(True, False, False)),
        ([Claim(0, True, max_age=60)], Hold(True, True, False)),
        ([Claim(0, False, max_bytes=1)], Hold(True, True, True)),
        ([Claim(0, True, max_bytes=1), Claim(3)], Hold(True, True, True)),
        ([Claim(0, True, max_bytes=1), Claim(10)], Hold(True, False, False)),
    ],
)
def test_who_holds_a_segment(claims: list[Claim], expected: Hold) -> None:
    """The segment [0, 10), 60 s old, of a stream of 100 bytes: kept while somebody wants it within his bounds."""
    assert expected == hold(claims, 0, 10, 60, 100)


HELD, OPEN, FIRM = Hold(True, True, False), Hold(True, False, False), Hold(True, True, True)


@pytest.mark.parametrize(("claim", "gone"), [(HELD, 0), (FIRM, 0), (OPEN, 3), (Hold(), 3)])
@pytest.mark.parametrize("rules", [Retention(keep=1, max_age=None), Retention(keep=0)])
def test_count_and_age_spare_what_is_held(claim: Hold, gone: int, rules: Retention) -> None:
    """Four segments, all older than an hour: what nobody holds goes by the rule."""
    rows = [row(claim, age=9000 - number, newest=number == 3) for number in range(4)]

    assert (gone if rules.keep else gone and 4) == len(retire([Shelf(rules, rows, True)], ROOM))


@pytest.mark.parametrize(
    ("claim", "room", "reasons"),
    [
        (HELD, Room(100, 100, 1000, 50, None), []),
        (OPEN, Room(100, 100, 1000, 90, None), ["max_total"]),
        (HELD, Room(100, 5, 1000, None, 15), ["min_free"]),
        (FIRM, Room(100, 5, 1000, None, 15), []),
        (HELD, Room(100, 5, 1000, 50, 15), ["min_free"]),
    ],
)
def test_space_spares_what_is_held(claim: Hold, room: Room, reasons: list[str]) -> None:
    """The budget takes nothing that is held; too little free space takes what may be dropped at all."""
    rules = Retention(keep=0, max_age=None)
    rows = [row(claim, age=10.0 - number) for number in range(2)]

    assert reasons == [one.reason for one in retire([Shelf(rules, rows, True)], room)]


def test_lag_counts_what_lies_behind(bench: Bench) -> None:
    """Bytes exactly, records exactly for whole segments and by proportion elsewhere, and the age of the oldest."""
    writer = bench.writer().write(lines(0, 100))
    bench.look()
    bench.seal()
    writer.write(lines(100, 150))
    bench.look()
    now = view(bench.stream())

    assert Lag(0, 0, 0.0) == lag(now, 150 * 64, bench.clock.now())
    assert (150 * 64, 150) == (lag(now, 0, bench.clock.now()).bytes, lag(now, 0, bench.clock.now()).records)
    assert 75 == lag(now, 75 * 64, bench.clock.now()).records
    assert 25 == lag(now, 125 * 64, bench.clock.now()).records
    bench.clock.sleep(30)
    assert lag(now, 125 * 64, bench.clock.now()).seconds >= 30


def test_lag_is_the_age_of_what_waits_not_of_what_is_unsealed(bench: Bench) -> None:
    """A file that is delivered at once and sealed rarely has no lag."""
    views = Views(bench.clock)
    writer = bench.writer()
    for number in range(300):
        writer.write(lines(number, number + 1))
        bench.look()
        views.publish(bench.stream())
        bench.clock.sleep(1)
    (now,) = views.all()

    assert 1 <= lag(now, 299 * 64, bench.clock.now()).seconds <= 2
    assert 11 <= lag(now, 289 * 64, bench.clock.now()).seconds <= 13
    assert 200 <= lag(now, 100 * 64, bench.clock.now()).seconds <= 300
    assert lag(now, 0, bench.clock.now()).seconds >= 300
    assert len(now.growth) <= 66


def test_a_segment_says_nearer_when_its_bytes_came(bench: Bench) -> None:
    """During an outage the age grows with the clock: old marks of growth are wide, but segments are sealed often."""
    views = Views(bench.clock)
    writer = bench.writer()
    for number in range(300):
        writer.write(lines(number, number + 1))
        bench.look()
        if number % 10 == 9:
            bench.seal()
        views.publish(bench.stream())
        bench.clock.sleep(1)
    (now,) = views.all()

    assert 200 <= lag(now, 100 * 64, bench.clock.now()).seconds <= 211
    assert 250 <= lag(now, 50 * 64, bench.clock.now()).seconds <= 261
