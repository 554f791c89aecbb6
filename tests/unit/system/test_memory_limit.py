"""Use and limit of memory, from control groups of either version, or the agent's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agent.kit.units import Size
from agent.system.cgroup import Cgroup
from agent.system.memory_limit import Memory, MemoryReader, levels

V2 = {"cgroup.procs": "", "memory.current": "900", "memory.stat": "anon 400\ninactive_file 300\nactive_file 100\n"}
V1 = {
    "cgroup.procs": "", "memory.usage_in_bytes": "900",
    "memory.stat": "rss 1\ntotal_inactive_file 300\ntotal_active_file 100\n",
}  # fmt: skip


def make(directory: Path, files: Mapping[str, str], **more: str) -> Path:
    """A group's directory."""
    directory.mkdir()
    for name, content in {**files, **{key.replace("_", ".", 1): text for key, text in more.items()}}.items():
        (directory / name).write_text(content, "ascii")
    return directory


def test_page_cache_does_not_count(tmp_path: Path) -> None:
    """What the kernel takes back before it kills is no use of memory, in both versions."""
    two = make(tmp_path / "two", V2, memory_max="1000\n")
    one = make(tmp_path / "one", V1, memory_limit_in_bytes="1000\n")

    assert [Memory(500, 1000, f"cgroup v2 {two}")] == list(levels(Cgroup(2, {"": str(two)})))
    assert [Memory(500, 1000, f"cgroup v1 {one}")] == list(levels(Cgroup(1, {"memory": str(one)})))


def test_the_limits_above_count_too(tmp_path: Path) -> None:
    """A group without a limit, or without the controller, lives below one that has some; the root's is no limit."""
    root = make(tmp_path / "root", V1, release_agent="", memory_limit_in_bytes="7\n")
    (root / "release.agent").rename(root / "release_agent")
    slice_ = make(root / "slice", V1, memory_limit_in_bytes="2000\n")
    unlimited = make(slice_ / "unlimited", V1, memory_limit_in_bytes=f"{2**63 - 4096}\n")
    without = make(unlimited / "without", {"cgroup.procs": ""})

    assert [2000] == [level.limit for level in levels(Cgroup(1, {"memory": str(without)}))]


def test_the_limit_that_is_nearest_counts() -> None:
    """The own limit is held against this process alone, a group's against everybody in it."""
    reader = MemoryReader(1 << 50)
    assert "agent.memory_limit" == reader.read().source or reader.read().share > 0

    tiny = MemoryReader(Size("1MiB")).read()
    assert type(tiny.limit) is int
    assert ("agent.memory_limit", 1 << 20) == (tiny.source, tiny.limit)
    assert tiny.used > 1 << 20


def test_where_nothing_can_be_read_there_is_no_limit(tmp_path: Path) -> None:
    """And nothing raises."""
    reader = MemoryReader(procfs=str(tmp_path))

    assert Memory(0, 0, "none") == reader.read()
    assert reader.cpus() is None
    assert 0.0 == reader.read().share
