"""The own control group, found and read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.system import cgroup
from agent.system.cgroup import Numbers, parse_blkio, parse_io_stat, parse_membership
from agent.system.container import ContainerCollector, working_set


def values(root: Path) -> dict[str, float]:
    """Name and value of each family."""
    return {f.name: f.samples[0][1] for f in ContainerCollector(f"{root}/proc", f"{root}/sys").collect().families}


def group_in(root: Path, membership: str, *lines: str) -> cgroup.Cgroup | None:
    """Where the group is found, given the two tables of proc."""
    procfs = root / "proc" / "self"
    procfs.mkdir(parents=True, exist_ok=True)
    (procfs / "cgroup").write_text(membership, "utf-8")
    (procfs / "mountinfo").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return cgroup.locate(f"{root}/proc")


def make(directory: Path, *names: str) -> Path:
    """A directory with these empty files."""
    directory.mkdir(parents=True)
    for name in names:
        (directory / name).touch()
    return directory


def test_no_limit_is_0_as_in_cadvisor(tree: Callable[[str], Path]) -> None:
    """`max` in version 2, an enormous number in version 1; a CPU quota that is none is absent, as there."""
    root = tree("v2")
    (root / "sys/fs/cgroup/memory.max").write_text("max\n", "ascii")
    (root / "sys/fs/cgroup/cpu.max").write_text("max 100000\n", "ascii")

    found = values(root)

    assert found["container_spec_memory_limit_bytes"] == 0.0
    assert "container_spec_cpu_quota" not in found
    assert found["container_spec_cpu_period"] == 100000.0
    assert values(tree("v1"))["container_spec_memory_limit_bytes"] == 0.0


def test_a_controller_that_is_off_leaves_its_families_out(tree: Callable[[str], Path]) -> None:
    """No file, no number; the rest is read."""
    root = tree("v2")
    for name in ("memory.current", "memory.stat", "memory.max", "memory.events", "pids.current"):
        (root / "sys/fs/cgroup" / name).unlink()

    found = values(root)

    assert [name for name in found if "memory" in name and "pressure" not in name] == []
    assert found["container_cpu_usage_seconds_total"] == 9.0


def test_the_working_set_is_never_below_0() -> None:
    """Two files read one after the other need not agree."""
    assert working_set(Numbers(memory_usage=5.0, memory_inactive_file=7.0)) == 0.0
    assert working_set(Numbers(memory_usage=5.0)) is None


def test_the_root_of_version_2_is_the_machine_and_no_container(tmp_path: Path) -> None:
    """Its cpu.stat has the whole machine's time; shown as the container's it would lie."""
    mount = make(tmp_path / "cg", "cpu.stat")

    assert group_in(tmp_path, "0::/\n", f"1 0 0:1 / {mount} rw - cgroup2 c rw") is None


def test_a_group_below_the_root_of_version_2_is_found(tmp_path: Path) -> None:
    """As a service of systemd without a namespace."""
    mine = make(tmp_path / "cg" / "system.slice" / "agent.service", "cgroup.type")

    found = group_in(tmp_path, "0::/system.slice/agent.service\n", f"1 0 0:1 / {tmp_path / 'cg'} rw - cgroup2 c rw")

    assert cgroup.Cgroup(2, {"": str(mine)}) == found


def test_of_version_1_only_hierarchies_with_a_group_of_ours_count(tmp_path: Path) -> None:
    """We may be in the root of one and in a group of another."""
    cpu = make(tmp_path / "cpu", "release_agent")
    memory = make(tmp_path / "memory" / "box")

    found = group_in(
        tmp_path,
        "2:memory:/box\n1:cpu:/\n0::/\n",
        f"1 0 0:1 / {cpu} rw - cgroup cgroup rw,cpu",
        f"2 0 0:2 / {tmp_path / 'memory'} rw - cgroup cgroup rw,memory",
    )

    assert cgroup.Cgroup(1, {"memory": str(memory)}) == found


def test_a_mount_of_somebody_elses_part_of_the_tree_is_not_ours(tmp_path: Path) -> None:
    """The host's hierarchy mounted into a container has a root above our name space."""
    theirs = make(tmp_path / "host", "cgroup.type")
    ours = make(tmp_path / "own", "cgroup.type")

    found = group_in(
        tmp_path,
        "0::/\n",
        f"1 0 0:1 /../.. {theirs} rw - cgroup2 c rw",
        f"2 0 0:1 / {ours} rw - cgroup2 c rw",
    )

    assert cgroup.Cgroup(2, {"": str(ours)}) == found


def test_a_name_that_begins_alike_is_another_group(tmp_path: Path) -> None:
    """/docker/ab is not below /docker/a, also where a directory of the glued name happens to exist."""
    theirs = make(tmp_path / "cg", "cgroup.type")
    make(tmp_path / "cgb", "cgroup.type")

    assert group_in(tmp_path, "0::/docker/ab\n", f"1 0 0:1 /docker/a {theirs} rw - cgroup2 c rw") is None


def test_a_path_with_a_colon_is_one_path() -> None:
    """Only the first two colons separate (cgroups(7))."""
    assert parse_membership("4:cpu,cpuacct:/a:b\n") == {"cpu": "/a:b", "cpuacct": "/a:b"}


def test_io_is_by_device_in_either_version() -> None:
    """Lines without numbers, and sums over devices, are left out."""
    assert parse_io_stat("8:0 rbytes=1 wbytes=2 rios=3\n253:0\n") == {"8:0": (1.0, 2.0)}
    assert parse_blkio("8:0 Read 1\n8:0 Write 2\n8:0 Total 3\nTotal 3\n") == {"8:0": (1.0, 2.0)}


def test_the_source_names_version_and_place(tree: Callable[[str], Path]) -> None:
    """So that JSON can say which numbers these are."""
    root = tree("v2")

    assert f"cgroup v2 {root}/sys/fs/cgroup" == ContainerCollector(f"{root}/proc", f"{root}/sys").collect().source


@pytest.mark.parametrize("name", ["v1", "v2"])
def test_host_and_container_never_share_a_family(name: str, tree: Callable[[str], Path]) -> None:
    """All of the container's names say so."""
    assert {True} == {found.startswith("container_") for found in values(tree(name))}
