"""Commands run when a state changes."""

from pathlib import Path
from typing import Any

from agent.config.checks import Clock
from agent.health.action import Actions
from agent.health.board import Transition
from agent.health.check import Level, unhealthy
from agent.kit.units import Duration
from tests.support.clock import ManualClock


class Bench:
    """Actions whose audit is remembered."""

    def __init__(self, *action: str) -> None:
        self.clock = ManualClock()
        self.trail: list[tuple[str, dict[str, Any]]] = []
        self.rule = Clock(kind="clock", name="c", action=action, action_interval=Duration("5m"))
        self.actions = Actions(self.clock, lambda reason, details: self.trail.append((reason, details)))

    def change(self) -> None:
        """The check gets unhealthy; its command, if it started, has ended after this."""
        self.actions.changed(Transition(self.rule, Level.HEALTHY, Level.UNHEALTHY, unhealthy("it burns")))
        for call in self.actions._running.values():
            assert call.wait(20) is not None

    def reasons(self) -> list[str]:
        """What was audited."""
        return [reason for reason, _ in self.trail]


def test_every_change_is_audited() -> None:
    """With what it was before, and why; without an action nothing runs."""
    bench = Bench()
    bench.change()

    assert [("unhealthy", {"check": "c", "before": "healthy", "why": "it burns"})] == bench.trail


def test_the_action_learns_what_changed(tmp_path: Path) -> None:
    """By its environment; that it ran is audited."""
    out = tmp_path / "out"
    bench = Bench("/bin/sh", "-c", f'env | grep ^TELEMETRY | sort > "{out}"')
    bench.change()

    expected = ["CHECK=c", "BEFORE=healthy", "MESSAGE=it burns", "STATE=unhealthy"]
    assert sorted(f"TELEMETRY_AGENT_{one}" for one in expected) == out.read_text("utf-8").splitlines()
    assert ["unhealthy", "action"] == bench.reasons()
    assert bench.trail[1][1]["ok"] is True


def test_actions_are_rate_limited(tmp_path: Path) -> None:
    """One in five minutes; what was skipped is audited too."""
    out = tmp_path / "out"
    bench = Bench("/bin/sh", "-c", f'echo x >> "{out}"')
    bench.change()
    bench.clock.sleep(299)
    bench.change()
    bench.clock.sleep(1)
    bench.change()

    assert ["unhealthy", "action", "unhealthy", "action skipped", "unhealthy", "action"] == bench.reasons()
    assert "x\nx\n" == out.read_text("utf-8")


def test_a_failing_action_is_told() -> None:
    """And stops nothing."""
    bench = Bench("/nowhere")
    bench.change()

    assert (False, True) == (bench.trail[1][1]["ok"], "could not be started" in bench.trail[1][1]["how"])
