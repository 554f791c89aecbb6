"""A run of the torture tests proves something only when the rotator rotated."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.program import REFERENCE, Program
from tests.torture.runs import Run, run

IDLE = (sys.executable, "-c", "import signal; signal.pause()")


def short(place: Path, command: tuple[str, ...]) -> Run:
    """A run of half a second."""
    directory = place / "run"
    directory.mkdir()
    return run("append", place, directory, 0.5, 200_000, command=command)


def test_a_rotator_that_does_nothing_loses_nothing_and_does_not_count(tmp_path: Path) -> None:
    """Every record is live, so the judge is content; without a seal the run counts for nothing."""
    result = short(tmp_path, IDLE)

    assert result.verdict.good
    assert (0, 0) == (result.seals, result.releases)
    assert not result.counts(1, 0, 1 << 40)


def test_a_run_that_rotates_counts_as_far_as_it_did(tmp_path: Path) -> None:
    """Seals, releases and the most allocated bytes are each asked for."""
    result = short(tmp_path, REFERENCE)

    assert result.verdict.good, result.report()
    assert result.counts(1, 1, 1 << 40), result.report()
    assert not result.counts(1_000_000, 1, 1 << 40)
    assert not result.counts(1, 1_000_000, 1 << 40)
    assert not result.counts(1, 1, 1000)


def test_a_rotator_that_ends_by_itself_is_an_error(tmp_path: Path) -> None:
    """A crash is no quiet run: its output is shown."""
    with pytest.raises(RuntimeError, match=r"it ended by itself:\n.*no such thing"):
        short(tmp_path, (sys.executable, "-c", "raise SystemExit('no such thing')"))


def test_a_program_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """A stop never waits longer than its limit; the status tells of the kill."""
    deaf = (
        "import signal, sys; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True)\nwhile True: signal.pause()"
    )
    with Program((sys.executable, "-c", deaf), tmp_path, {}) as program:
        while "deaf" not in program.output():
            program.check_alive()
        ended = program.stop(limit=0.2)

    assert -9 == ended.status
