"""A writer at full speed, seals every few milliseconds: nothing lost, doubled, torn or out of order.

Each mode of writing on each file system, from the bytes on disk alone. The short form takes 3 s a case, the long one
(`-m long`) 10 s. `--rotator reference` puts the harness's own rotator in the agent's place, to try the harness.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from tests.support.program import AGENT, KEEP_ALL, REFERENCE, Program
from tests.torture import segments, tamper
from tests.torture.judge import judge
from tests.torture.mounts import KINDS, mounted
from tests.torture.runs import STREAM, Run, Writers, run
from tests.torture.tally import Truth
from tests.torture.writers import MODES

MAX_SIZE = 200_000
SEALS = 20
"""At least so many a second (200 in 10 s)."""
RELEASES = 10
SLACK = 16 << 20
"""Allocated bytes beyond 3 x max_size: two pieces of a paced release, and what the file system allocates ahead."""
BEHIND = 0.5
"""Seconds of the writer's own speed by which the rotator may be behind on a machine with two cores."""
PACES = ((), ("--rate", "100000"), ("--rate", "30000"))
"""Full speed, then records a second: where the writers leave no CPU for seals, the run is judged but does not count."""


@pytest.fixture
def command(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The program under test."""
    return REFERENCE if request.config.getoption("rotator") == "reference" else AGENT


def prove(
    mode: str, directory: Path, place: Path, seconds: float, command: tuple[str, ...], *, share: float = 1.0
) -> Run:
    """Run until a run counts; each one, counting or not, must be without fault.

    `share` of the seals and releases is enough, and the rotator may be behind by as much longer: the short form runs
    beside whatever else a machine does.
    """
    reports = []
    for attempt, pace in enumerate(PACES):
        watched = directory / str(attempt)
        watched.mkdir()
        result = run(mode, place, watched, seconds, MAX_SIZE, command=command, options=pace)
        reports.append(result.report())
        print(reports[-1])
        assert result.verdict.good, reports[-1]
        assert result.ended.status == 0, reports[-1]
        most = 3 * MAX_SIZE + SLACK + BEHIND / share * result.bytes_written / result.seconds
        if result.counts(SEALS * share, RELEASES * share, most):
            return result
        shutil.rmtree(watched)
    pytest.fail("no run counts:\n" + "\n".join(reports))


@pytest.mark.root
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", sorted(MODES))
def test_nothing_is_lost(mode: str, kind: str, tmp_path: Path, command: tuple[str, ...]) -> None:
    """Cases 1, 2: 3 s in each mode on each file system: every record once, whole, in order, blocks given back."""
    with mounted(kind, tmp_path, 4 << 30) as directory:
        prove(mode, directory, tmp_path, 3, command, share=0.2)


@pytest.mark.root
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", sorted(MODES))
def test_nothing_is_lost_in_ten_seconds(mode: str, kind: str, tmp_path: Path, command: tuple[str, ...]) -> None:
    """As the short form, for 10 s: at least 200 seals and 100 releases."""
    with mounted(kind, tmp_path, 12 << 30) as directory:
        prove(mode, directory, tmp_path, 10, command)


CONTROLS = {"drop": "lost", "double": "twice", "tear": "torn", "glue": "torn", "swap": "disorder"}


def run_until_sealed(records: int, directory: Path, place: Path, command: tuple[str, ...]) -> Truth:
    """A writer beside `command`, until so many of its records are sealed, however long that takes."""
    settings = {**KEEP_ALL, "rotation.max_size": f"{MAX_SIZE}B"}
    with Program(command, directory, settings) as program:
        writers = Writers.start(directory / STREAM, "hold", place, "--rate", "20000")
        try:
            while sum(segments.load(path).index["records"] for path in directory.glob("*.gz")) < records:
                program.check_alive()
                time.sleep(0.1)
            writers.processes[0].terminate()
            (truth,) = writers.wait()
        finally:
            writers.kill()
        assert program.stop().status == 0
    return truth


def test_the_harness_fails_a_damaged_run(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Case 28: negative controls on a run of the program under test: each damage, and each false claim, is found."""
    directory = tmp_path / "run"
    directory.mkdir()
    truth = run_until_sealed(3 * tamper.EVERY, directory, tmp_path, command)
    assert judge(directory, [truth])[0].good
    missed = []
    for name, field in CONTROLS.items():
        copy = tamper.copy_run(directory, tmp_path / name)
        count = tamper.damage(copy, STREAM, getattr(tamper, name))
        found = getattr(judge(copy, [truth])[0], field)
        assert count >= 2
        if found != count:
            missed.append(f"{name}: {found} of {count} found")
        shutil.rmtree(copy)
    for claim in (tamper.claim_loss, tamper.claim_gap):
        copy = tamper.copy_run(directory, tmp_path / claim.__name__)
        claim(copy, STREAM, 363)
        if judge(copy, [truth])[0].good:
            missed.append(claim.__name__)
        shutil.rmtree(copy)

    assert [] == missed
