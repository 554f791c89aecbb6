"""How results become a state: every rule is a row."""

import pytest

from agent.config.checks import Streak
from agent.health.check import Finding, Level
from agent.health.limits import judge
from agent.health.state import State, advance

LETTERS = {"u": Level.UNKNOWN, "h": Level.HEALTHY, "w": Level.WARNING, "x": Level.UNHEALTHY}


def states(results: str, streak: Streak, recover: int = 1) -> str:
    """The states after each of `results`, as letters."""
    state, said = State(), ""
    for now, letter in enumerate(results):
        state = advance(state, Finding(level=LETTERS[letter]), streak, recover, float(now))
        said += next(one for one, level in LETTERS.items() if level is state.level)
    return said


@pytest.mark.parametrize(
    ("results", "streak", "recover", "expected"),
    [
        ("hxhxhxhx", Streak(3, 3), 1, "hhhhhhhh"),  # for 3 never fires on a flapping one
        ("hxhxhx", Streak(3, 5), 1, "hhhhhx"),  # 3 of 5 does
        ("hxxx", Streak(3, 3), 1, "hhhx"),
        ("hxxh", Streak(2, 2), 1, "hhxh"),
        ("xh", Streak(3, 3), 1, "xh"),  # the first result counts at once
        ("wxxx", Streak(3, 3), 1, "wwwx"),
        ("hwxw", Streak(3, 3), 1, "hhhw"),  # two warnings and worse are three warnings
        ("xhhh", Streak(1, 1), 3, "xxxh"),
        ("xhwh", Streak(1, 1), 3, "xxxw"),  # better, but only as good as the worst of the last
        ("xhxh", Streak(1, 1), 2, "xxxx"),
        ("xuhuh", Streak(3, 3), 2, "xxxxh"),  # what found nothing out is neither good nor bad
        ("huuu", Streak(3, 3), 1, "hhhu"),
        ("huxuxux", Streak(3, 3), 1, "hhhhhhh"),  # only three bad results in a row are three in a row
        ("uh", Streak(3, 3), 1, "uh"),
        ("hxxxhx", Streak(3, 5), 1, "hhhxhh"),  # after a change counting begins anew
        ("xxxh", Streak(2, 3), 1, "xxxh"),  # a window that is still full of bad ones holds no recovery back
        ("xuuuh", Streak(3, 3), 1, "xxxuh"),  # three that found nothing out are looked for beyond the recovery's one
    ],
)
def test_results_become_a_state(results: str, streak: Streak, recover: int, expected: str) -> None:
    """Streaks, windows, recovery, unknown results."""
    assert expected == states(results, streak, recover)


def test_since_is_when_the_state_was_reached() -> None:
    """Further results of the same kind leave it alone."""
    one = advance(State(), Finding(level=Level.HEALTHY), Streak(1, 1), 1, 5.0)
    two = advance(one, Finding(level=Level.HEALTHY), Streak(1, 1), 1, 9.0)

    assert (Level.HEALTHY, 5.0) == (two.level, two.since)


def test_a_number_that_hovers_at_a_limit_does_not_flap() -> None:
    """It gets bad at the limit, and good again only a margin below it."""
    state, said = State(), []
    for value in (0.79, 0.80, 0.79, 0.77, 0.75, 0.79, 0.91, 0.89, 0.85):
        finding = judge(value, "", warn=0.8, critical=0.9, margin=0.05)
        state = advance(state, finding, Streak(1, 1), 1, 0.0)
        said.append(state.level.word)

    fine, warn, bad = "healthy", "warning", "unhealthy"
    assert [fine, warn, warn, warn, fine, fine, bad, bad, warn] == said


def test_a_hint_is_for_trouble() -> None:
    """Nobody is told to do something about a healthy number."""
    assert "" == judge(0.1, "", warn=0.8, critical=None, hint="free some").hint
    assert "free some" == judge(0.8, "", warn=0.8, critical=None, hint="free some").hint
