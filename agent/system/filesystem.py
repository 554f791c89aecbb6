"""Space and inodes of mounted file systems.

Each statvfs is a call that may never return (a dead NFS server), so each runs quarantined. Own families show a file
system once, at its best mount point, and at most LIMIT of them: bind mounts, pseudo file systems and the mounts
of other containers make no series. Mount points are labels as the host sees them, without `rootfs`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from agent.kit.errors import printable
from agent.kit.quarantine import Answer, Hung, Quarantine
from agent.system import files, mounts
from agent.system.family import Column, Family, table
from agent.system.mounts import Mount
from agent.system.reading import Reading, Scope

LIMIT = 16
StatVfs = Callable[[str], os.statvfs_result]

_PSEUDO = re.compile(
    "autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay"
    "|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|sysfs|tracefs"
)
"""Kernel interfaces, images that are always full, and what lies on another file system; node_exporter's list."""
_FOREIGN = re.compile(
    r"/(dev|proc|sys|run|var/run|snap"
    r"|var/lib/(docker|containers|containerd|kubelet)/.+"
    r"|etc/(hosts|hostname|resolv\.conf))(/.*)?"
)
"""Kernel interfaces, other containers' mounts, and the files that runtimes mount into every container."""
_NOT_IN_NODE = re.compile(r"/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)")
_NODE_LABELS = ("device", "mountpoint", "fstype")


class Space(NamedTuple):
    """What statvfs says, in bytes and inodes; no inodes where the file system does not count them."""

    size: float
    free: float
    available: float
    inodes: float | None
    inodes_free: float | None
    inodes_available: float | None
    read_only: bool


class FilesystemCollector:
    """Size, use and reachability of each file system."""

    name = "filesystem"
    scope: Scope = "host"

    def __init__(
        self, procfs: str, rootfs: str, quarantine: Quarantine[Space], *, statvfs: StatVfs, node_names: bool = False
    ) -> None:
        self._procfs = procfs
        self._rootfs = rootfs.rstrip("/")
        self._quarantine = quarantine
        self._statvfs = statvfs
        self._node_names = node_names

    def collect(self) -> Reading:
        """Look at every mount that is shown; ReadingError where the mount table cannot be read."""
        path, found = self._mounts()
        candidates = own_mounts(found)
        own = candidates[:LIMIT]
        node = node_mounts(found) if self._node_names else []
        shown = {mount.id: mount for mount in (*own, *node)}
        outcomes = self._quarantine.run({key: partial(self._look, mount.point) for key, mount in shown.items()})
        spaces = {key: outcome.value for key, outcome in outcomes.items() if isinstance(outcome, Answer)}
        problems = [trouble(mount, outcomes[key]) for key, mount in shown.items() if not spaces.get(key)]
        left_out = f", {len(candidates) - LIMIT} more not shown" if len(candidates) > LIMIT else ""
        families = own_families([(mount, spaces.get(mount.id)) for mount in own])
        if self._node_names:
            families += node_families([(mount, spaces.get(mount.id)) for mount in node])
        return Reading(path + left_out, families, "; ".join(problems))

    def _mounts(self) -> tuple[str, list[Mount]]:
        """The table and its path: our own, or below another root that of the host's first process."""
        own, host = f"{self._procfs}/self/mountinfo", f"{self._procfs}/1/mountinfo"
        if self._rootfs:
            table = files.load_optional(host, mounts.parse)
            if table is not None:
                return host, table
            return own, below(files.load(own, mounts.parse), self._rootfs)
        return own, files.load(own, mounts.parse)

    def _look(self, point: str) -> Space:
        return space_of(self._statvfs(self._rootfs + point))


def space_of(found: os.statvfs_result) -> Space:
    """Bytes and inodes out of a statvfs(3) answer."""
    counted = found.f_files > 0
    return Space(
        found.f_blocks * found.f_frsize,
        found.f_bfree * found.f_frsize,
        found.f_bavail * found.f_frsize,
        found.f_files if counted else None,
        found.f_ffree if counted else None,
        found.f_favail if counted else None,
        bool(found.f_flag & os.ST_RDONLY),
    )


def trouble(mount: Mount, outcome: Answer[Space] | Hung) -> str:
    """What is wrong with a file system that gave no numbers."""
    what = "does not answer" if isinstance(outcome, Hung) else str(outcome.error)
    return f"{printable(mount.point)} ({mount.fstype}): {what}"


def below(found: Iterable[Mount], rootfs: str) -> list[Mount]:
    """The mounts below `rootfs`, with their points as seen from there."""
    return [
        mount._replace(point=mount.point[len(rootfs) :] or "/")
        for mount in found
        if mount.point == rootfs or mount.point.startswith(f"{rootfs}/")
    ]


def own_mounts(found: Iterable[Mount]) -> list[Mount]:
    """Each real file system once: where the whole of it is mounted rather than a part, at the shortest point."""
    seen = {mount.point: mount for mount in found}.values()
    real = [mount for mount in seen if _is_real(mount)]
    real.sort(key=lambda one: (one.point != "/", one.root != "/", one.point.count("/"), len(one.point), one.point))
    once: dict[str, Mount] = {}
    for mount in real:
        once.setdefault(mount.device_number, mount)
    return sorted(once.values(), key=lambda mount: (mount.point != "/", mount.point.count("/"), mount.point))


def _is_real(mount: Mount) -> bool:
    if mount.point == "/":  # an overlay or squashfs there is what a container has for a disk
        return True
    return not _PSEUDO.fullmatch(mount.fstype) and not _FOREIGN.fullmatch(mount.point)


def node_mounts(found: Iterable[Mount]) -> list[Mount]:
    """The mounts that node_exporter shows by default, each combination of its labels once."""
    once: dict[tuple[str, str, str], Mount] = {}
    for mount in found:
        if not _PSEUDO.fullmatch(mount.fstype) and not _NOT_IN_NODE.match(mount.point):
            once.setdefault((mount.source, mount.point, mount.fstype), mount)
    return list(once.values())


_OWN: tuple[Column[Space], ...] = (
    Column("system_disk_size_bytes", "Size of the file system.", lambda space: space.size),
    Column("system_disk_usage_bytes", "Space in use, whoever uses it.", lambda space: space.size - space.free),
    Column("system_disk_available_bytes", "Space that a user other than root can still fill.", lambda s: s.available),
    Column("system_disk_inodes", "Inodes of the file system, where it counts them.", lambda space: space.inodes),
    Column("system_disk_inodes_available", "Inodes that can still be used.", lambda space: space.inodes_available),
)
_REACHED: tuple[Column[Space | None], ...] = (
    Column(
        "system_disk_unreachable",
        "1 while the file system does not answer (it is quarantined and asked again later) or answers with an error.",
        lambda space: space is None,
    ),
)
_NODE: tuple[Column[Space], ...] = (
    Column("node_filesystem_size_bytes", "Filesystem size in bytes.", lambda space: space.size),
    Column("node_filesystem_free_bytes", "Filesystem free space in bytes.", lambda space: space.free),
    Column("node_filesystem_avail_bytes", "Space available to non-root users in bytes.", lambda space: space.available),
    Column("node_filesystem_files", "Filesystem total file nodes.", lambda space: space.inodes or 0),
    Column("node_filesystem_files_free", "Filesystem total free file nodes.", lambda space: space.inodes_free or 0),
    Column("node_filesystem_readonly", "Filesystem read-only status.", lambda space: space.read_only),
)
_NODE_REACHED: tuple[Column[Space | None], ...] = (
    Column("node_filesystem_device_error", "Whether statfs failed for the device.", lambda space: space is None),
)


def own_families(rows: Sequence[tuple[Mount, Space | None]]) -> tuple[Family, ...]:
    """The `system_disk_*` families of space."""
    labelled = [((printable(mount.point),), space) for mount, space in rows]
    reached = [(labels, space) for labels, space in labelled if space]
    return table(_OWN, reached, ("mountpoint",)) + table(_REACHED, labelled, ("mountpoint",))


def node_families(rows: Sequence[tuple[Mount, Space | None]]) -> tuple[Family, ...]:
    """What node_exporter calls these numbers."""
    labelled = [((printable(one.source), printable(one.point), one.fstype), space) for one, space in rows]
    reached = [(labels, space) for labels, space in labelled if space]
    return table(_NODE, reached, _NODE_LABELS) + table(_NODE_REACHED, labelled, _NODE_LABELS)
