"""What the command line says about how much to measure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """Sizes and durations; the defaults are those of the bars."""

    place: Path
    """A directory with space for three times `size`; everything made below it is removed again."""
    size: int = 1_000_000_000
    """Bytes of telemetry to seal."""
    seconds: float = 10
    """Duration of each measurement beside a writer."""
    idle_seconds: float = 60
    runs: int = 3
    """Alternating runs with and without the agent; medians are printed."""
    files: int = 10_000
    """Files due at once, and segments at a restart."""
    backlog: int = 10_000_000_000
    """Bytes of telemetry in segments to deliver; an eighth of it is on disk."""
