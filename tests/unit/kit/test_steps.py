"""Places between two actions."""

from __future__ import annotations

import re
from pathlib import Path

import agent
from agent.kit import steps

REACHED = re.compile(r'\breach\("([a-z.]+)"\)')


def test_every_place_that_is_reached_is_listed() -> None:
    """A crash test takes its kill points from the list, so none may be missing there, and none be named twice."""
    package = Path(agent.__file__).parent
    reached = {name for path in package.rglob("*.py") for name in REACHED.findall(path.read_text("utf-8"))}

    assert set() == reached - set(steps.STEPS)
    assert len(set(steps.STEPS)) == len(steps.STEPS)


def test_a_hook_sees_each_place_until_it_is_taken_away() -> None:
    """In production there is none."""
    seen: list[str] = []
    steps.watch(seen.append)
    steps.reach("copy.created")
    steps.watch(None)
    steps.reach("copy.synced")

    assert ["copy.created"] == seen
