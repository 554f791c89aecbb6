"""A plug that is pulled takes nothing that was durable, doubles nothing and tears nothing."""

from __future__ import annotations

import pytest

from tests.crash.__main__ import POWERED, power, why_no_power

SEED = 3


def cut(kind: str, cuts: int, sabotage: str = "", *, apart: bool = False) -> dict[str, object]:
    """A series of cuts; skips where none can be made."""
    if reason := why_no_power(kind):
        pytest.skip(reason)
    found = power(kind, SEED, cuts, sabotage, apart=apart)
    print(f"seed {SEED}: {found}")
    return found


@pytest.mark.root
@pytest.mark.parametrize(("kind", "apart"), [("ext4", False), ("xfs", True)])
def test_nothing_durable_is_lost_by_power_cuts(kind: str, *, apart: bool) -> None:
    """Case 14: some cuts, at places and at random moments, after something was released or reset.

    The archive lies on the same file system, or on another one that is not cut.
    """
    found = cut(kind, 10, apart=apart)
    assert [] == found["findings"]
    assert found["counted"] >= 8, found  # type: ignore[operator]  # a number


@pytest.mark.root
@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("kind", POWERED)
def test_nothing_durable_is_lost_by_hundreds_of_power_cuts(kind: str, *, apart: bool) -> None:
    """The same, two hundred times."""
    found = cut(kind, 200, apart=apart)
    assert [] == found["findings"]
    assert found["counted"] >= 180, found  # type: ignore[operator]  # a number


@pytest.mark.root
def test_an_agent_that_does_not_sync_is_found() -> None:
    """Without fsync a cut takes what was called durable, and the harness says so."""
    assert cut("ext4", 6, "early")["findings"]
