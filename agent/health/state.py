"""The state of a check, damped: pure, so that every rule of it is a row in a test.

Rules: the first known result counts at once. The state gets worse when so many of the last results were at least
that bad (`streak`), and better after `recover` better ones in a row. A finding within the margin of a limit holds a
state that is bad already. A run that found nothing out is neither good nor bad, but `streak.needed` such in a row make
the state unknown. After a change counting begins anew.
"""

from __future__ import annotations

import msgspec

from agent.config.checks import Streak
from agent.health.check import Finding, Level


class State(msgspec.Struct, frozen=True):
    """What is said of a check, and the results not yet acted upon."""

    level: Level = Level.UNKNOWN
    since: float = 0.0
    """Wall time at which `level` was reached."""
    recent: tuple[Level, ...] = ()
    """The newest results, newest last."""


def advance(state: State, finding: Finding, streak: Streak, recover: int, now: float) -> State:
    """The state after one more result."""
    result = effective(finding, state.level)
    recent = (*state.recent, result)[-max(streak.of, streak.needed, recover) :]
    level = _next(state.level, recent, streak, recover)
    if level == state.level:
        return State(level, state.since, recent)
    return State(level, now, ())


def effective(finding: Finding, level: Level) -> Level:
    """The result that counts: within the margin a bad state is found again."""
    if finding.held is None or finding.level >= level:
        return finding.level
    return max(finding.level, min(level, finding.held))


def _next(level: Level, recent: tuple[Level, ...], streak: Streak, recover: int) -> Level:
    if level is Level.UNKNOWN:
        return recent[-1]
    if len(recent) >= streak.needed and not any(recent[-streak.needed :]):
        return Level.UNKNOWN
    window = recent[-streak.of :]
    for worse in (Level.UNHEALTHY, Level.WARNING):
        if worse > level and sum(one >= worse for one in window) >= streak.needed:
            return worse
    latest = [one for one in recent if one is not Level.UNKNOWN][-recover:]
    if len(latest) == recover and all(one < level for one in latest):
        return max(latest)
    return level
