"""Disk I/O of the whole machine, from /proc/diskstats (Documentation/admin-guide/iostats.rst of the kernel).

A sector is 512 bytes there whatever the device's own is, and times are milliseconds. Own families show whole
disks only, at most LIMIT of them, so that neither partitions nor loop devices make series.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from agent.system import files
from agent.system.family import Column, Family, table
from agent.system.reading import Reading, Scope

LIMIT = 16
_SECTOR = 512
_MILLISECOND = 0.001
_NOT_IN_NODE = re.compile(r"(ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+")
"""What node_exporter leaves out by default: partitions, loop, floppy and RAM disks."""
_NO_DISK = re.compile(r"(z?ram|loop|fd|sr|nbd)\d+")


class Disk(NamedTuple):
    """One line of diskstats, in bytes and seconds; None where the kernel is too old to give it."""

    reads: float
    reads_merged: float
    read_bytes: float
    read_seconds: float
    writes: float
    writes_merged: float
    written_bytes: float
    write_seconds: float
    io_now: float
    io_seconds: float
    weighted_seconds: float
    discards: float | None = None
    discards_merged: float | None = None
    discarded_sectors: float | None = None
    discard_seconds: float | None = None
    flushes: float | None = None
    flush_seconds: float | None = None


_UNITS = (1, 1, _SECTOR, _MILLISECOND) * 2 + (1, _MILLISECOND, _MILLISECOND) + (1, 1, 1, _MILLISECOND, 1, _MILLISECOND)


class DiskCollector:
    """Bytes, operations and busy time a disk."""

    name = "disk"
    scope: Scope = "host"

    def __init__(self, procfs: str, sysfs: str, *, node_names: bool = False) -> None:
        self._path = f"{procfs}/diskstats"
        self._blocks = f"{sysfs}/block"
        self._node_names = node_names

    def collect(self) -> Reading:
        """Read diskstats; ReadingError where that fails."""
        disks = files.load(self._path, parse)
        own = sorted(name for name in self._whole(disks) if not _NO_DISK.fullmatch(name))
        families = table(_OWN, [((name,), disks[name]) for name in own[:LIMIT]], ("device",))
        left_out = f", {len(own) - LIMIT} more disks not shown" if len(own) > LIMIT else ""
        return Reading(self._path + left_out, families + (node_families(disks) if self._node_names else ()))

    def _whole(self, disks: dict[str, Disk]) -> list[str]:
        """The devices that are no partitions: sysfs lists them, and without it their names tell."""
        try:
            blocks = frozenset(os.listdir(self._blocks))
        except OSError:
            return [name for name in disks if not _NOT_IN_NODE.fullmatch(name)]
        return [name for name in disks if name.replace("/", "!") in blocks]


def parse(text: str) -> dict[str, Disk]:
    """Parse /proc/diskstats: major, minor, name, then 11, 15 or 17 numbers; lines of old partitions are shorter."""
    disks = {}
    for line in text.splitlines():
        _, _, name, *numbers = line.split()
        if len(numbers) >= 11:
            disks[name] = Disk(*(int(number) * unit for number, unit in zip(numbers, _UNITS, strict=False)))
    return disks


_OWN: tuple[Column[Disk], ...] = (
    Column("system_disk_read_bytes_total", "Read from the disk since boot.", lambda disk: disk.read_bytes),
    Column("system_disk_written_bytes_total", "Written to the disk since boot.", lambda disk: disk.written_bytes),
    Column("system_disk_reads_total", "Reads that the disk completed since boot.", lambda disk: disk.reads),
    Column("system_disk_writes_total", "Writes that the disk completed since boot.", lambda disk: disk.writes),
    Column("system_disk_io_seconds_total", "Time the disk was busy since boot.", lambda disk: disk.io_seconds),
)
_NODE: tuple[Column[Disk], ...] = (
    Column("node_disk_reads_completed_total", "Reads completed.", lambda disk: disk.reads),
    Column("node_disk_reads_merged_total", "Reads merged.", lambda disk: disk.reads_merged),
    Column("node_disk_read_bytes_total", "Bytes read.", lambda disk: disk.read_bytes),
    Column("node_disk_read_time_seconds_total", "Seconds spent by all reads.", lambda disk: disk.read_seconds),
    Column("node_disk_writes_completed_total", "Writes completed.", lambda disk: disk.writes),
    Column("node_disk_writes_merged_total", "Writes merged.", lambda disk: disk.writes_merged),
    Column("node_disk_written_bytes_total", "Bytes written.", lambda disk: disk.written_bytes),
    Column("node_disk_write_time_seconds_total", "Seconds spent by all writes.", lambda disk: disk.write_seconds),
    Column("node_disk_io_now", "I/Os in progress.", lambda disk: disk.io_now),
    Column("node_disk_io_time_seconds_total", "Seconds spent doing I/Os.", lambda disk: disk.io_seconds),
    Column("node_disk_io_time_weighted_seconds_total", "Seconds of I/O, weighted.", lambda disk: disk.weighted_seconds),
    Column("node_disk_discards_completed_total", "Discards completed.", lambda disk: disk.discards),
    Column("node_disk_discards_merged_total", "Discards merged.", lambda disk: disk.discards_merged),
    Column("node_disk_discarded_sectors_total", "Sectors discarded.", lambda disk: disk.discarded_sectors),
    Column("node_disk_discard_time_seconds_total", "Seconds spent by discards.", lambda disk: disk.discard_seconds),
    Column("node_disk_flush_requests_total", "Flush requests completed.", lambda disk: disk.flushes),
    Column("node_disk_flush_requests_time_seconds_total", "Seconds spent by flushes.", lambda disk: disk.flush_seconds),
)


def node_families(disks: dict[str, Disk]) -> tuple[Family, ...]:
    """What node_exporter calls these numbers, for the devices it shows by default."""
    rows = [((name,), disk) for name, disk in disks.items() if not _NOT_IN_NODE.fullmatch(name)]
    return table(_NODE, rows, ("device",))
