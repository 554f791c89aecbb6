"""A metric family as the reference shows it, and the words that several families share."""

from __future__ import annotations

from typing import NamedTuple

PREFIX = "telemetry_agent_"
OTHER = "other"


class Family(NamedTuple):
    """One row of the reference: a family as it is exposed."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str
