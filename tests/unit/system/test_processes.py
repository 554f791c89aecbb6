"""Load, processes, open files, boot time."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.system.files import ReadingError
from agent.system.processes import ProcessesCollector, parse_load, parse_open_files


def test_loads_and_threads_come_from_one_line() -> None:
    """The fourth field is runnable over all threads."""
    assert parse_load("0.21 0.37 0.39 1/719 19737\n") == (0.21, 0.37, 0.39, 719.0)


def test_open_files_have_a_limit() -> None:
    """The middle number has been 0 since Linux 2.6."""
    assert parse_open_files("1024\t0\t1631329\n") == (1024.0, 1631329.0)


def test_only_numbers_in_procfs_are_processes(tree: Callable[[str], Path]) -> None:
    """1 and 2 are, self and stat are not."""
    reading = ProcessesCollector(f"{tree('v2')}/proc").collect()

    assert [f.samples[0][1] for f in reading.families if f.name == "system_processes"] == [2.0]


def test_a_damaged_loadavg_is_an_error_that_names_it(tree: Callable[[str], Path]) -> None:
    """Half a line is no load."""
    root = tree("v2")
    (root / "proc" / "loadavg").write_text("0.21 0.37\n", "ascii")

    with pytest.raises(ReadingError, match="loadavg"):
        ProcessesCollector(f"{root}/proc").collect()
