"""Ages of segments under clocks that jump, were never set, and were set late; across restarts and reboots."""

from __future__ import annotations

import pytest

from agent.config import Retention
from agent.kit.units import Duration
from agent.streams import ages, engine
from tests.support.bench import Bench, lines
from tests.unit.streams.conftest import Make

HOUR = 3600.0
SET = 1_750_000_000.0
"""What the clock shows once it was set."""


@pytest.fixture
def old(make: Make, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench that keeps a day, in a boot called `one`."""
    monkeypatch.setattr(engine, "boot_id", lambda: "one")
    return make(retention=Retention(keep=0, max_age=Duration(24 * HOUR), max_total=None))


def reboot(bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str = "two", *, wall: float | None = None) -> None:
    """Stop, and start in another boot, whose steady clock begins anew; with `wall` the clock begins there, too."""
    bench.stop()
    monkeypatch.setattr(engine, "boot_id", lambda: name)
    bench.clock.steady = 50.0
    if wall is not None:
        bench.clock.wall = wall


def sealed(bench: Bench, number: int) -> None:
    """One more segment."""
    bench.writer().write(lines(number, number + 1))
    bench.rotate()


def measured(bench: Bench) -> list[float]:
    """The ages of the stream's segments."""
    bench.look()
    return bench.engine.ages.of(bench.stream().segments)


def test_a_clock_set_late_makes_nobody_old_after_a_restart(old: Bench) -> None:
    """M1: sealed in 1970, the clock set, the agent restarted: an hour is an hour, and nothing is deleted."""
    old.clock.wall = 100.0
    sealed(old, 0)
    old.clock.jump(SET)
    old.retain()
    old.stop()
    old.clock.advance(HOUR)

    assert [HOUR] == measured(old)
    assert [] == old.retain()
    old.clock.advance(24 * HOUR)
    assert ["max_age"] == old.retain()


@pytest.mark.parametrize("state", [True, False])
def test_a_clock_set_late_makes_nobody_old_after_a_reboot(
    old: Bench, monkeypatch: pytest.MonkeyPatch, *, state: bool
) -> None:
    """M1: the boot's clock is known from the state, or from what was sealed after it was set."""
    old.clock.wall = 100.0
    sealed(old, 0)
    old.clock.advance(HOUR)
    old.clock.jump(SET)
    old.retain()
    sealed(old, 1)
    if not state:
        old.stop()
        (old.path / ".telemetry-agent" / ages.NAME).unlink()
    reboot(old, monkeypatch)
    old.clock.advance(HOUR)

    assert [2 * HOUR, HOUR] == pytest.approx(measured(old), abs=1)


def test_a_clock_that_was_never_set_counts_from_the_first_sight(old: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing tells how long the machine was off: the age is what was seen of it, never fifty years."""
    old.clock.wall = 100.0
    sealed(old, 0)
    reboot(old, monkeypatch, wall=SET)

    assert [0.0] == measured(old)
    old.clock.advance(HOUR)
    assert [HOUR] == measured(old)
    assert [] == old.retain()


def test_a_segment_from_the_future_ages_once_time_has_caught_up(old: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that starts in 1970 again: nothing is deleted then, and the true age counts once the clock is set."""
    old.clock.wall = SET
    sealed(old, 0)
    old.retain()
    reboot(old, monkeypatch, wall=100.0)

    assert [0.0] == measured(old)
    old.clock.advance(60)
    assert [60.0] == measured(old)
    old.clock.jump(SET + 23 * HOUR - old.clock.wall)
    assert [23 * HOUR] == pytest.approx(measured(old), abs=1)
    old.clock.jump(100 * 24 * HOUR)
    assert [23 * HOUR] == pytest.approx(measured(old), abs=1)


def test_a_segment_sealed_in_a_wrong_future_is_not_kept_for_ever(old: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stood in 2080 and was put right: what was sealed then goes when it is a day old, reboot or not."""
    old.clock.wall = SET + 50 * 365 * 24 * HOUR
    sealed(old, 0)
    old.clock.jump(-50 * 365 * 24 * HOUR)
    old.retain()
    old.stop()
    old.clock.advance(2 * HOUR)
    assert [2 * HOUR] == measured(old)
    reboot(old, monkeypatch)
    old.clock.advance(23 * HOUR)
    old.look()
    old.release()

    assert ["max_age"] == old.retain()


def test_a_damaged_memory_of_clocks_is_no_obstacle(old: Bench) -> None:
    """State may be lost at any time."""
    sealed(old, 0)
    old.retain()
    old.stop()
    (old.path / ".telemetry-agent" / ages.NAME).write_bytes(b'{"one":"x')

    assert [0.0] == measured(old)


def test_steps_of_the_clock_are_written_down_and_bounded(old: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a step is worth a write; of many boots the newest stay."""
    old.retain()
    path = old.path / ".telemetry-agent" / ages.NAME
    before = path.stat().st_ino
    old.clock.advance(HOUR)
    old.retain()
    assert before == path.stat().st_ino
    for number in range(40):
        reboot(old, monkeypatch, f"boot {number}")
        old.retain()

    kept = ages._load(old.engine.grounds.state)
    assert [f"boot {number}" for number in range(8, 40)] == list(kept)
