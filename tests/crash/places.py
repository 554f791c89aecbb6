"""The named places of the agent, and which of them the program can reach today."""

from __future__ import annotations

import re
from pathlib import Path

from agent.kit.steps import STEPS

ROOT = Path(__file__).resolve().parents[2]

NOT_YET: tuple[str, ...] = (
    "ballast.dropped",
    "ballast.made",
)
"""Steps of features that are not built: nothing in agent/ reaches them. The only place where this is said."""

ELSEWHERE: tuple[str, ...] = (
    *("tomb.renamed", "tomb.drained", "tomb.removed"),
    *("ship.begun", "ship.sending", "ship.answered", "ship.buried", "ship.settled"),
)
"""Reached only by `rotation.method = "rename"`, `rotation.unlink_idle` and delivery, which have tests of their own."""


def in_code() -> set[str]:
    """Every place that a `reach` in agent/ names."""
    texts = (path.read_text("utf-8") for path in (ROOT / "agent").rglob("*.py"))
    return {name for text in texts for name in re.findall(r'\breach\("([a-z.]+)"\)', text)}


def wanted() -> list[str]:
    """The places at which the agent must be killed, in the order of the protocol."""
    return [name for name in STEPS if name not in NOT_YET and name not in ELSEWHERE]
