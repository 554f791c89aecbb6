"""The named places of the agent, and which of them a kill has to meet."""

from __future__ import annotations

import re
from pathlib import Path

from agent.kit.steps import STEPS

ROOT = Path(__file__).resolve().parents[2]

ELSEWHERE: tuple[str, ...] = (
    *("ballast.dropped", "ballast.made"),
    *("ship.begun", "ship.sending", "ship.answered", "ship.buried", "ship.settled"),
)
"""Reached on full disks and by delivery, which have kills of their own (test_full_disk, test_shipper_kills)."""


def in_code() -> set[str]:
    """Every place that a `reach` in agent/ names."""
    texts = (path.read_text("utf-8") for path in (ROOT / "agent").rglob("*.py"))
    return {name for text in texts for name in re.findall(r'\breach\("([a-z.]+)"\)', text)}


def wanted() -> list[str]:
    """The places at which the agent must be killed, in the order of the protocol."""
    return [name for name in STEPS if name not in ELSEWHERE]
