"""Judging a number by two limits, with a margin below each within which a bad state stays."""

from __future__ import annotations

from agent.health.check import Finding, Level


def judge(
    value: float, message: str, *, warn: float | None, critical: float | None, margin: float | None = None,
    hint: str = "",
) -> Finding:  # fmt: skip
    """The finding for `value`: at a limit it is reached; None is no limit, or no margin (a part of the limit)."""
    level = _level(value, warn, critical, 1.0)
    held = _level(value, warn, critical, 1.0 - margin) if margin else None
    advice = hint if level > Level.HEALTHY else ""
    return Finding(level=level, message=message, hint=advice, value=value, held=held)


def _level(value: float, warn: float | None, critical: float | None, factor: float) -> Level:
    if critical is not None and value >= critical * factor:
        return Level.UNHEALTHY
    if warn is not None and value >= warn * factor:
        return Level.WARNING
    return Level.HEALTHY


def percent(share: float) -> str:
    """A share as people read it, `87.5%`."""
    return f"{share * 100:.1f}%"
