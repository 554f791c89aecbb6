"""Memory, swap and paging."""

from pathlib import Path

import pytest

from agent.system import memory
from agent.system.files import ReadingError
from agent.system.memory import MemoryCollector

MEMINFO = "MemTotal: 100 kB\nMemFree: 10 kB\nBuffers: 5 kB\nCached: 20 kB\n"


def values(procfs: Path, *, node_names: bool = False) -> dict[str, float]:
    """Name and value of each family."""
    reading = MemoryCollector(str(procfs), node_names=node_names).collect()
    return {family.name: family.samples[0][1] for family in reading.families}


def test_used_and_available_add_up_to_the_size(tmp_path: Path) -> None:
    """Used is what programs cannot get, so page cache is not in it."""
    (tmp_path / "meminfo").write_text(MEMINFO + "MemAvailable: 40 kB\n", "ascii")

    found = values(tmp_path)

    assert found["system_memory_available_bytes"] == 40 * 1024
    assert found["system_memory_usage_bytes"] == 60 * 1024


def test_an_old_kernel_gets_an_estimate_of_what_is_available(tmp_path: Path) -> None:
    """Before 3.14 there was no MemAvailable: free, buffers and cache stand for it."""
    (tmp_path / "meminfo").write_text(MEMINFO, "ascii")

    assert values(tmp_path)["system_memory_available_bytes"] == 35 * 1024


def test_what_the_kernel_does_not_say_is_absent(tmp_path: Path) -> None:
    """No swap lines and no vmstat give no families, not zeros."""
    (tmp_path / "meminfo").write_text(MEMINFO, "ascii")

    found = values(tmp_path)

    assert [name for name in found if "swap" in name or "oom" in name] == []


def test_pages_are_shown_as_bytes(tmp_path: Path) -> None:
    """Vmstat counts pages."""
    (tmp_path / "meminfo").write_text(MEMINFO, "ascii")
    (tmp_path / "vmstat").write_text("pswpin 2\noom_kill 1\n", "ascii")

    found = values(tmp_path)

    assert found["system_swap_in_bytes_total"] == 2 * memory._PAGE
    assert found["system_oom_kills_total"] == 1


def test_node_names_follow_each_line(tmp_path: Path) -> None:
    """Parentheses become an underscore, kB becomes bytes, huge pages keep their unit."""
    (tmp_path / "meminfo").write_text(MEMINFO + "Active(anon): 3 kB\nHugePages_Total: 4\n", "ascii")

    found = values(tmp_path, node_names=True)

    assert found["node_memory_Active_anon_bytes"] == 3 * 1024
    assert found["node_memory_HugePages_Total"] == 4


def test_a_file_without_a_total_is_an_error(tmp_path: Path) -> None:
    """Then it is not meminfo."""
    (tmp_path / "meminfo").write_text("MemFree: 10 kB\n", "ascii")

    with pytest.raises(ReadingError, match="no MemTotal"):
        values(tmp_path)
