"""Space of file systems, and those that do not answer."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

from agent.kit.quarantine import Quarantine
from agent.system import filesystem
from agent.system.filesystem import FilesystemCollector, own_mounts
from agent.system.mounts import Mount
from agent.system.reading import Reading
from tests.support.clock import ManualClock
from tests.unit.system.conftest import BLOCK, statvfs_of

Family = dict[tuple[str, ...], float]


def samples(reading: Reading, name: str) -> Family:
    """The samples of one family."""
    return next((dict(family.samples) for family in reading.families if family.name == name), {})


def mount(point: str, fstype: str = "ext4", device: str = "8:1", root: str = "/") -> Mount:
    """A mount."""
    return Mount(point, device, root, point, fstype, "/dev/x", frozenset())


def shown(*found: Mount) -> list[str]:
    """The mount points that own families show."""
    return [one.point for one in own_mounts(found)]


def test_used_free_and_available_are_told_apart(tree: Callable[[str], Path], hands: ManualClock) -> None:
    """Used is what is not free; available leaves root's reserve out."""
    root = tree("v2")
    collector = FilesystemCollector(
        f"{root}/proc", f"{root}/root", Quarantine(hands, 5), statvfs=lambda _: statvfs_of()
    )

    reading = collector.collect()

    assert samples(reading, "system_disk_usage_bytes")[("/",)] == 600 * BLOCK
    assert samples(reading, "system_disk_available_bytes")[("/",)] == 300 * BLOCK
    assert samples(reading, "system_disk_inodes_available")[("/",)] == 100


def test_points_are_asked_below_rootfs_and_named_without_it(tree: Callable[[str], Path], hands: ManualClock) -> None:
    """A container that has the host's root mounted shows the host's names."""
    root = tree("v2")
    asked: list[str] = []

    def statvfs(path: str) -> os.statvfs_result:
        asked.append(path)
        return statvfs_of()

    reading = FilesystemCollector(f"{root}/proc", f"{root}/root/", Quarantine(hands, 5), statvfs=statvfs).collect()

    assert f"{root}/root/var/lib/data set" in asked
    assert {("/",), ("/tmp",), ("/mnt/nfs",), ("/var/lib/data set",)} == set(samples(reading, "system_disk_size_bytes"))  # noqa: S108 - a label, not a place


def test_without_the_hosts_table_our_own_tells_what_lies_below_rootfs(
    tree: Callable[[str], Path], hands: ManualClock
) -> None:
    """An unprivileged process may not read /proc/1/mountinfo."""
    root = tree("v2")
    (root / "proc" / "1" / "mountinfo").unlink()
    table = "1 0 8:1 / /host rw - ext4 a rw\n2 1 8:2 / /host/data rw - xfs b rw\n3 1 8:3 / /else rw - xfs c rw\n"
    (root / "proc" / "self" / "mountinfo").write_text(table, "ascii")

    reading = FilesystemCollector(
        f"{root}/proc", "/host", Quarantine(hands, 5), statvfs=lambda _: statvfs_of()
    ).collect()

    assert {("/",), ("/data",)} == set(samples(reading, "system_disk_size_bytes"))


def test_a_file_system_is_shown_once_at_its_shortest_point() -> None:
    """Bind mounts and subvolumes are the same space again."""
    volumes = [mount("/home", device="0:3", root="/@home"), mount("/", device="0:3", root="/@")]
    again = [mount("/srv/again", device="8:2"), mount("/data", device="8:2")]

    assert shown(*volumes, *again) == ["/", "/data"]


def test_the_mount_of_the_whole_is_preferred_to_one_of_a_part() -> None:
    """A short bind mount of a subdirectory does not name the disk, and a pool's top never replaces the root."""
    disk = [mount("/b", device="8:2", root="/sub"), mount("/var/lib/data", device="8:2")]
    pool = [mount("/", device="0:3", root="/@"), mount("/mnt/pool", device="0:3")]

    assert shown(*disk, *pool) == ["/", "/var/lib/data"]


def test_what_a_container_runtime_mounts_is_not_shown() -> None:
    """The files that lie on the volume's device do not hide the volume."""
    found = [mount("/", "overlay", "0:9")]
    found += [mount(f"/etc/{name}") for name in ("hosts", "hostname", "resolv.conf")]
    found += [mount("/dev/termination-log"), mount("/telemetry"), mount("/run/secrets", "tmpfs", "0:7")]

    assert shown(*found) == ["/", "/telemetry"]


def test_of_two_mounts_on_one_point_the_later_counts() -> None:
    """Statvfs cannot see the one below."""
    assert shown(mount("/data", "proc"), mount("/data", "xfs")) == ["/data"]
    assert shown(mount("/data", "xfs"), mount("/data", "proc")) == []


def test_the_number_shown_is_bounded_and_the_rest_is_told(tmp_path: Path, hands: ManualClock) -> None:
    """Thousands of mounts do not make thousands of series."""
    lines = [f"{n} 0 8:{n} / /data{n} rw - ext4 d{n} rw" for n in range(filesystem.LIMIT + 4)]
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mountinfo").write_text("\n".join(lines), "ascii")

    reading = FilesystemCollector(str(tmp_path), "/", Quarantine(hands, 5), statvfs=lambda _: statvfs_of()).collect()

    assert len(samples(reading, "system_disk_size_bytes")) == filesystem.LIMIT
    assert "4 more not shown" in reading.source


def test_uncounted_inodes_are_absent(tmp_path: Path, hands: ManualClock) -> None:
    """Btrfs and vfat say 0, which is no number of inodes."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mountinfo").write_text("1 0 0:9 / / rw - btrfs a rw\n", "ascii")

    reading = FilesystemCollector(
        str(tmp_path), "/", Quarantine(hands, 5), statvfs=lambda _: statvfs_of(files=0)
    ).collect()

    assert samples(reading, "system_disk_inodes") == {}
    assert {("/",)} == set(samples(reading, "system_disk_size_bytes"))


def test_a_hung_mount_is_told_while_the_others_keep_their_numbers(
    tree: Callable[[str], Path], hands: ManualClock
) -> None:
    """A dead NFS server costs its own numbers only, and one thread however often it is looked at."""
    root = tree("v2")
    release = threading.Event()

    def statvfs(path: str) -> os.statvfs_result:
        if path.endswith("/mnt/nfs"):
            release.wait()
        return statvfs_of()

    collector = FilesystemCollector(f"{root}/proc", f"{root}/root", Quarantine(hands, 0.1), statvfs=statvfs)
    before = threading.active_count()
    try:
        readings = [collector.collect() for _ in range(20)]

        assert {1} == {threading.active_count() - before}
        for reading in readings:
            assert reading.problem == "/mnt/nfs (nfs4): does not answer"
            assert samples(reading, "system_disk_unreachable")[("/mnt/nfs",)] == 1.0
            assert samples(reading, "system_disk_unreachable")[("/",)] == 0.0
            assert ("/mnt/nfs",) not in samples(reading, "system_disk_size_bytes")
            assert ("/",) in samples(reading, "system_disk_size_bytes")
    finally:
        release.set()


def test_a_mount_that_answers_with_an_error_is_unreachable_and_says_why(
    tree: Callable[[str], Path], hands: ManualClock
) -> None:
    """As a stale NFS handle does."""
    root = tree("v2")

    def statvfs(path: str) -> os.statvfs_result:
        if path.endswith("/mnt/nfs"):
            raise OSError(116, "Stale file handle", path)
        return statvfs_of()

    reading = FilesystemCollector(f"{root}/proc", f"{root}/root", Quarantine(hands, 5), statvfs=statvfs).collect()

    assert "Stale file handle" in reading.problem
    assert samples(reading, "system_disk_unreachable")[("/mnt/nfs",)] == 1.0


def test_a_name_of_wild_bytes_makes_a_printable_label(tmp_path: Path, hands: ManualClock) -> None:
    """A mount point is bytes; a label is text."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mountinfo").write_bytes(b"1 0 8:9 / /caf\xe9\\012x rw - ext4 a rw\n")

    reading = FilesystemCollector(str(tmp_path), "/", Quarantine(hands, 5), statvfs=lambda _: statvfs_of()).collect()

    assert {("/caf\\udce9\\nx",)} == set(samples(reading, "system_disk_size_bytes"))
