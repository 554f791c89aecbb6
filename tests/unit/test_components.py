"""The parts' register."""

from __future__ import annotations

from agent.components import Component, Components
from tests.support.clock import ManualClock


def test_a_state_keeps_its_beginning() -> None:
    """`since` moves with the state, not with the message; the last success is remembered through a failure."""
    clock = ManualClock(100.0)
    parts = Components(clock)
    parts.report("keeper", "ok")
    clock.advance(5)
    parts.report("keeper", "failed", "disk full", "free space")
    clock.advance(5)
    parts.report("keeper", "failed", "disk still full")

    assert [Component("keeper", "failed", 105.0, 100.0, "disk still full", "")] == parts.all()


def test_a_report_says_whether_anything_changed() -> None:
    """So that a log tells each change once."""
    parts = Components(ManualClock())

    assert [True, False, True, True, False] == [
        parts.report("a", "starting"),
        parts.report("a", "starting"),
        parts.report("a", "ok"),
        parts.report("a", "ok", "better"),
        parts.report("a", "ok", "better", "a hint alone is no news"),
    ]


def test_a_success_is_noted_without_a_report() -> None:
    """Of a part that is known; others are not invented."""
    clock = ManualClock(100.0)
    parts = Components(clock)
    parts.report("b", "degraded")
    clock.advance(1)
    parts.succeeded("b")
    parts.succeeded("unknown")

    assert [("b", "degraded", 101.0)] == [(one.name, one.state, one.last_success) for one in parts.all()]


def test_parts_come_by_name() -> None:
    """Status shows the same order each time."""
    parts = Components(ManualClock())
    for name in ("web", "keeper", "shipper"):
        parts.report(name, "ok")

    assert ["keeper", "shipper", "web"] == [one.name for one in parts.all()]
