"""Disk I/O."""

from collections.abc import Callable
from pathlib import Path

from agent.system import disk
from agent.system.disk import DiskCollector, parse

LINE = "   8  0 {} 1 2 3 4000 5 6 7 8000 9 10000 11000\n"


def devices(reading_of: DiskCollector, family: str = "system_disk_reads_total") -> list[str]:
    """The devices in a family."""
    return [labels[0] for f in reading_of.collect().families if f.name == family for labels, _ in f.samples]


def test_sectors_are_512_bytes_and_times_are_milliseconds() -> None:
    """Whatever the device's own sector size (iostats.rst)."""
    found = parse(LINE.format("sda"))["sda"]

    assert (
        found.read_bytes,
        found.read_seconds,
        found.written_bytes,
        found.write_seconds,
        found.io_seconds,
    ) == (3 * 512, 4.0, 7 * 512, 8.0, 10.0)
    assert found.discards is None


def test_lines_of_old_partitions_are_left_out() -> None:
    """Kernels before 2.6.25 gave them four numbers of another meaning."""
    assert parse("   8  1 sda1 1 2 3 4\n") == {}


def test_partitions_and_loop_devices_are_no_disks(tree: Callable[[str], Path]) -> None:
    """Sysfs lists whole disks; of those, loop and CD devices make no series."""
    root = tree("v2")

    assert devices(DiskCollector(f"{root}/proc", f"{root}/sys")) == ["dm-0", "sda"]


def test_without_sysfs_names_tell_the_partitions(tree: Callable[[str], Path]) -> None:
    """A restricted container may not see /sys/block."""
    root = tree("v2")

    assert devices(DiskCollector(f"{root}/proc", f"{root}/nowhere")) == ["dm-0", "sda"]


def test_the_number_of_disks_shown_is_bounded_and_the_rest_is_told(tmp_path: Path) -> None:
    """A machine with hundreds of LUNs does not make thousands of series."""
    names = [f"dm-{n}" for n in range(disk.LIMIT + 3)]
    (tmp_path / "diskstats").write_text("".join(map(LINE.format, names)), "ascii")
    collector = DiskCollector(str(tmp_path), str(tmp_path))

    assert len(devices(collector)) == disk.LIMIT
    assert "3 more disks not shown" in collector.collect().source
