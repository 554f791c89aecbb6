"""What waits beyond the bounds of `[forward.unsent]` where nothing may be deleted: unhealthy until it is less."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.components import Component
from agent.config import Forward
from agent.config.forward import Unsent
from agent.duties import backlog
from agent.duties.backlog import HINT, Bound, bounded, excess
from agent.kit.units import Duration, Size
from agent.streams.lag import Lag
from tests.support.hostile import Hostile
from tests.support.yard import Yard, bodies, forward, numbers, once, settled, spans

BOTH = Unsent(max_bytes=Size("1kB"), max_age=Duration("5m"))


@pytest.mark.parametrize(
    ("lags", "told"),
    [
        ([], ""),
        ([Lag(1000, 1, 300.0)], ""),
        ([Lag(1001, 1, 300.0)], "0.json: 1.0 kB wait, unsent.max_bytes is 1kB"),
        ([Lag(0, 0, 0.0), Lag(9, 1, 301.0)], "1.json: the oldest has waited for 5m 1s, unsent.max_age is 5m"),
        (
            [Lag(2000, 1, 0.0), Lag(5000, 1, 7200.0), Lag(9000, 1, 0.0)],
            (
                "1.json: 5.0 kB wait, unsent.max_bytes is 1kB; the oldest has waited for 2h, unsent.max_age is 5m, "
                "and 2 more streams beyond the bounds"
            ),
        ),
    ],
)
def test_what_is_beyond_is_told_by_its_worst_stream(lags: list[Lag], told: str) -> None:
    """At a bound is not beyond it; which stream, how much, and against what."""
    assert told == excess([(f"{number}.json", one) for number, one in enumerate(lags)], BOTH)


@pytest.mark.parametrize(
    ("unsent", "expected"),
    [
        (Unsent(), False),
        (Unsent(max_bytes=Size(1)), True),
        (Unsent(max_age=Duration("1s")), True),
        (Unsent(max_bytes=Size(1), when_full="drop_oldest"), False),
    ],
)
def test_only_who_sets_bounds_and_keeps_is_looked_at(unsent: Unsent, expected: bool) -> None:
    """Without bounds nothing is too much, and where the oldest may go, retention sees to it."""
    assert expected == bounded(Forward(name="out", unsent=unsent))


class Watched:
    """A bound over a backlog in the test's hands, and what was logged."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes = 0
        self.reported: list[str] = []
        self.logged: list[str] = []
        monkeypatch.setattr(backlog, "_log", self)
        self.bound = Bound(
            Forward(name="out", unsent=BOTH),
            lambda: [("a.json", Lag(self.bytes, 1, 0.0))],
            lambda message, _: self.reported.append(message),
        )

    def error(self, _: str, **__: object) -> None:
        """It began."""
        self.logged.append("begins")

    def info(self, _: str, **__: object) -> None:
        """It is over."""
        self.logged.append("ends")


def test_begin_and_end_are_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it lasts health is kept up to date, and the log is silent."""
    watched = Watched(monkeypatch)
    for now, count in enumerate((0, 2000, 3000, 4000, 10, 0)):
        watched.bytes = count
        watched.bound.look(1000.0 * now)

    assert ["begins", "ends"] == watched.logged
    assert ["", "2.0 kB", "3.0 kB", "4.0 kB", "", ""] == [
        one.removeprefix("a.json: ").partition(" wait")[0] for one in watched.reported
    ]


def test_a_backlog_that_swings_about_its_bound_does_not_fill_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once in some minutes; what stays beyond in the end is told for certain."""
    watched = Watched(monkeypatch)
    for now in range(0, 200, 10):
        watched.bytes = 2000 if now % 20 == 0 else 0
        watched.bound.look(now)
    watched.bytes = 2000
    for now in range(200, 400, 10):
        watched.bound.look(now)

    assert ["begins", "ends", "begins"] == watched.logged


def part(yard: Yard) -> Component:
    """The forward's state."""
    return next(one for one in yard.components.all() if one.name == "forward out")


def test_a_kept_backlog_beyond_its_bound_fails_the_forward(tmp_path: Path, server: Hostile) -> None:
    """Also while batches are taken; with what, how much and what to do; within the bounds it is over by itself."""
    unsent = Unsent(max_bytes=Size("1kB"))
    with Yard(tmp_path, forward(server, unsent=unsent)) as yard:
        looks = yard.forwards.backlog()
        assert looks is not None
        yard.write(spans(0, 50))
        yard.look()
        for now in (0.0, 10.0):
            assert now + backlog.EVERY == looks.step(now)
        yard.forwards._trails["out"].state(True)
        found = part(yard)
        assert ("failed", HINT) == (found.state, found.hint)
        assert "telemetry.json: 3.2 kB wait, unsent.max_bytes is 1kB" == found.message
        yard.forwards._trails["out"].state(False, "refused", "look at it")
        found = part(yard)
        assert ("failed", f"{HINT}; look at it") == (found.state, found.hint)
        assert found.message.endswith("is 1kB; refused")
        yard.run(settled(yard, 50))
        looks.step(20.0)
        assert ("ok", "", "") == (part(yard).state, part(yard).message, part(yard).hint)

    assert once(0, 50) == numbers(bodies(server))


def test_the_first_look_waits_until_streams_are_met(tmp_path: Path, server: Hostile) -> None:
    """A forward that starts at the latest record would seem to be behind by everything."""
    unsent = Unsent(max_bytes=Size("1kB"))
    with Yard(tmp_path, forward(server, unsent=unsent, start="latest")) as yard:
        looks = yard.forwards.backlog()
        assert looks is not None
        looks.step(0.0)
        yard.write(spans(0, 50))
        yard.look()
        looks.step(10.0)

        assert "ok" == part(yard).state


def test_who_sets_no_bounds_has_no_such_duty(tmp_path: Path, server: Hostile) -> None:
    """It would wake an idle agent for nothing."""
    with Yard(tmp_path, forward(server)) as yard:
        assert yard.forwards.backlog() is None
