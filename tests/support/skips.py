"""With `--strict-skips` a test that skips fails, unless tests/skips.txt lists it with the reason.

A line of the list is `pattern | reason`: the pattern, in the shell's way, is matched against the whole test id. Empty
lines and those that begin with `#` mean nothing.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path

import pytest

LIST = Path(__file__).parents[1] / "skips.txt"


def patterns(path: Path) -> list[str]:
    """The patterns of a list. Raises pytest.UsageError for a line without a pattern or without a reason."""
    found = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        pattern, _, reason = (part.strip() for part in line.partition("|"))
        if not pattern or not reason:
            raise pytest.UsageError(f"{path}, line {number}: it must be `pattern | reason`")
        found.append(pattern)
    return found


def judge(report: pytest.TestReport | pytest.CollectReport, allowed: Sequence[str]) -> None:
    """Make a failure of a skip that no pattern allows; an expected failure is no skip."""
    if report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    if any(fnmatch.fnmatchcase(report.nodeid, literal(pattern)) for pattern in allowed):
        return
    why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid} skips, and {LIST.name} does not allow it: {why}"


def literal(pattern: str) -> str:
    """The pattern with `[` meaning itself: a test id has its parameters in brackets."""
    return pattern.replace("[", "[[]")
