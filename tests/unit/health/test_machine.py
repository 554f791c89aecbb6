"""Memory, CPU, load and pressure, over trees of files as the kernel has them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.config import checks as rules
from agent.health.cpu import CpuCheck
from agent.health.load import LoadCheck
from agent.health.memory import MemoryCheck
from agent.health.pressure import PressureCheck
from agent.kit.units import Share
from agent.system.files import ReadingError
from tests.unit.system.conftest import tree

__all__ = ["tree"]

Tree = Callable[[str], Path]


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A procfs of a machine that a test describes."""
    (tmp_path / "pressure").mkdir()
    (tmp_path / "meminfo").write_text("MemTotal: 1000 kB\nMemFree: 10 kB\nMemAvailable: 80 kB\n", "ascii")
    (tmp_path / "loadavg").write_text("9.00 5.00 1.00 1/80 11206\n", "ascii")
    (tmp_path / "stat").write_text("cpu 100 0 0 900 0 0 0 0\ncpu0 1 0 0 9 0 0 0 0\ncpu1 1 0 0 9 0 0 0 0\n", "ascii")
    line = "avg10=1.00 avg60=25.00 avg300=1.00 total=1\n"
    (tmp_path / "pressure" / "memory").write_text(f"some {line}full {line.replace('25', '70')}", "ascii")
    return tmp_path


def test_host_memory(proc: Path) -> None:
    """What is available is not in use, cache or not."""
    finding = MemoryCheck(rules.Memory(kind="memory", name="m", scope="host"), str(proc)).run()

    assert ("warning", "92.0% of the host's memory in use") == (finding.level.word, finding.message)


def test_container_memory_goes_before_the_hosts(tree: Tree) -> None:
    """Where the group has a limit; its working set counts, not its cache."""
    root = tree("v2")
    finding = MemoryCheck(rules.Memory(kind="memory", name="m"), str(root / "proc")).run()

    assert "of the container's limit in use" in finding.message


def test_container_memory_is_unknown_without_a_container(proc: Path) -> None:
    """The host's is never taken for it."""
    (proc / "self").mkdir()
    (proc / "self" / "mountinfo").write_text("", "ascii")
    (proc / "self" / "cgroup").write_text("0::/\n", "ascii")
    finding = MemoryCheck(rules.Memory(kind="memory", name="m", scope="container"), str(proc)).run()

    assert "unknown" == finding.level.word
    assert "host's memory" in MemoryCheck(rules.Memory(kind="memory", name="m"), str(proc)).run().message


def test_cpu_is_judged_between_two_runs(proc: Path) -> None:
    """The first has the share since boot; no time passed is nothing found out."""
    check = CpuCheck(rules.Cpu(kind="cpu", name="c"), str(proc))
    assert "10.0% busy" == check.run().message
    assert "unknown" == check.run().level.word
    (proc / "stat").write_text("cpu 1100 0 0 950 0 0 0 0\n", "ascii")

    finding = check.run()
    assert ("warning", "95.2% busy") == (finding.level.word, finding.message)


def test_load_is_divided_by_the_cpus(proc: Path) -> None:
    """Five tasks on two CPUs are more than two for each."""
    finding = LoadCheck(rules.Load(kind="load", name="l"), str(proc)).run()

    assert ("warning", 2.5) == (finding.level.word, finding.value)


@pytest.mark.parametrize(
    ("resource", "tasks", "expected"),
    [("memory", "some", "warning"), ("memory", "full", "unhealthy"), ("io", "some", "unknown")],
)
def test_pressure_of_the_last_minute(proc: Path, resource: str, tasks: str, expected: str) -> None:
    """Some tasks or all; a kernel without it tells nothing."""
    rule = rules.Pressure(kind="pressure", name="p", scope="host", resource=resource, tasks=tasks)  # type: ignore[arg-type]

    assert expected == PressureCheck(rule, str(proc)).run().level.word


def test_a_missing_file_of_the_kernel_is_an_error_with_its_path(tmp_path: Path) -> None:
    """The board makes it an unknown."""
    with pytest.raises(ReadingError, match="meminfo"):
        MemoryCheck(rules.Memory(kind="memory", name="m", scope="host", warn=Share("1%")), str(tmp_path)).run()
