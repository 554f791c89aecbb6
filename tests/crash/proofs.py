"""The rows of the table of proofs that other tests of this repository know how to make."""

from __future__ import annotations

import errno
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.faults.test_calls import ERRORS, STORIES, calls, fail_once
from tests.model.sequences import MEMORY
from tests.support.program import AGENT, ROOT
from tests.torture.runs import run
from tests.torture.writers import MODES

MAX_SIZE = 1 << 20
CONTROLS = {
    "tests/torture/test_judge.py": "one_damaged_record or never_was or bit_that_flipped or wrong_crc or "
    "missing_segment or sealed_twice or wrong_name or index_that_lies or nuls_behind or copy_and_truncate",
    "tests/torture/test_writers_full_speed.py": "harness_fails",
    "tests/crash/test_kills.py": "broken_agent",
    "tests/crash/test_power.py": "does_not_sync",
    "tests/model/test_model.py": "broken_agent",
    "tests/torture/test_runs.py": "does_nothing",
}
"""Tests in which somebody breaks the promise on purpose, and the harness has to notice."""
HOSTILE = (
    "tests/faults/test_hostile_directory.py",
    "tests/faults/test_full_disk.py",
    "tests/faults/test_filesystems.py",
    "tests/faults/test_replaced.py",
)


@dataclass
class Row:
    """One line of the table."""

    what: str
    count: int
    seconds: float
    wrong: list[str] = field(default_factory=list)
    records: int | None = None
    """Records that were written and looked for; None where a run judges by other means."""
    lost: int | None = None
    """Of those: lost, twice, torn or out of order."""

    def cells(self) -> str:
        """As markdown."""
        records, lost = ("-" if one is None else f"{one:,}" for one in (self.records, self.lost))
        return f"| {self.what} | {self.count:,} | {records} | {lost} | {self.seconds:.0f} | {len(self.wrong)} |"


def faults(*, long: bool) -> Row:
    """Each call that the agent makes to the disk in any of its actions fails once, with each error."""
    begun, count, wrong = time.monotonic(), 0, []
    with tempfile.TemporaryDirectory(dir=MEMORY) as place:
        for name, story in STORIES.items():
            for number in calls(Path(place), story):
                for error in ERRORS if long else ERRORS[:1]:
                    count += 1
                    try:
                        fail_once(Path(place), story, number, error)
                    except AssertionError as found:
                        wrong.append(f"{name}, event {number} with {errno.errorcode[error]}: {found}")
    return Row("calls of the disk that fail, one at a time", count, time.monotonic() - begun, wrong)


def full_speed(*, long: bool) -> Row:
    """Writers at full speed in each mode, on this machine's own file system."""
    begun, wrong = time.monotonic(), []
    records = lost = seals = 0
    for mode in sorted(MODES):
        with tempfile.TemporaryDirectory() as place:
            watched = Path(place) / "watched"
            watched.mkdir()
            result = run(mode, Path(place), watched, 5 if long else 2, MAX_SIZE, command=AGENT, options=())
        one = result.verdict
        seals, records = seals + result.seals, records + one.written
        lost += one.lost + one.twice + one.torn + one.disorder
        wrong += [] if one.good and result.ended.status == 0 else [f"{mode}: {result.report()}"]
    what = f"seals beside a writer at full speed, {len(MODES)} modes of writing"
    return Row(what, seals, time.monotonic() - begun, wrong, records, lost)


def controls() -> Row:
    """Negative controls: each must be noticed."""
    row = Row("negative controls that were noticed", 0, 0.0)
    for path, which in CONTROLS.items():
        _add(row, [path, "-k", which])
    return row


def hostile() -> Row:
    """Hostile directories, full disks, forbidden files."""
    row = Row("tests with a hostile directory, a full disk, a forbidden file", 0, 0.0)
    _add(row, HOSTILE)
    return row


def _add(row: Row, selection: Sequence[str]) -> None:
    """Run tests in a process of their own; count those that passed, name those that did not."""
    begun = time.monotonic()
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report.name}", *selection]
        subprocess.run(line, cwd=ROOT, check=False, capture_output=True)
        for case in ET.parse(report.name).iter("testcase"):  # noqa: S314 - pytest has just written it
            name = f"{case.get('classname')}.{case.get('name')}"
            if case.find("failure") is not None or case.find("error") is not None:
                row.wrong.append(name)
            elif case.find("skipped") is None:
                row.count += 1
    row.seconds += time.monotonic() - begun
