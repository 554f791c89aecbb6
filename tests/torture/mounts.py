"""Real file systems for a test: ext4, XFS and btrfs in a loop-mounted image, tmpfs, overlayfs; always unmounted again.

Without root, a loop device or the file system's mkfs the test is skipped, with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

KINDS = ("ext4", "xfs", "btrfs", "tmpfs")
_MKFS = {
    "ext4": ["mkfs.ext4", "-q", "-F"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
}
_LEAST = {"ext4": 8 << 20, "xfs": 320 << 20, "btrfs": 128 << 20, "tmpfs": 1 << 20}
"""Bytes below which mkfs refuses (XFS: 300 MB, btrfs: 109 MiB)."""


def why_not(kind: str) -> str:
    """Why `kind` cannot be mounted here; empty when it can."""
    if os.geteuid() != 0:
        return "mounting needs root"
    if kind == "tmpfs":
        return ""
    if kind not in Path("/proc/filesystems").read_text("ascii").split():
        return f"this kernel has no {kind}"
    if kind == "overlay":
        return ""
    if not Path("/dev/loop-control").exists():
        return "no loop devices"
    if not shutil.which(_MKFS[kind][0]):
        return f"{_MKFS[kind][0]} is not installed"
    return ""


@contextmanager
def mounted(kind: str, place: Path, size: int, *options: str) -> Iterator[Path]:
    """Mount a fresh file system of about `size` bytes below `place`; `options` go to mkfs (tmpfs: to mount -o)."""
    reason = why_not(kind)
    if reason:
        pytest.skip(reason)
    size = max(size, _LEAST[kind])
    point = place / f"{kind}-mount"
    point.mkdir()
    if kind == "tmpfs":
        _run("mount", "-t", "tmpfs", "-o", ",".join([f"size={size}", *options]), "tmpfs", str(point))
        image = None
    else:
        image = place / f"{kind}.img"
        with image.open("wb") as file:
            file.truncate(size)
        _run(*_MKFS[kind], *options, str(image))
        _run("mount", "-o", "loop", str(image), str(point))
    try:
        yield point
    finally:
        _unmount(point)
        if image:
            image.unlink()


@contextmanager
def overlaid(
    place: Path, size: int, image: Callable[[Path], object] = Path.exists, *, apart: bool = False
) -> Iterator[Path]:
    """Mount an overlayfs, as a container has for its disk. `image` fills the layer that is never written to.

    Its layers are on a tmpfs, because an overlayfs, which `place` may be on, cannot be the upper layer of another. With
    `apart` the one that is never written to is on the file system of `place`.
    """
    reason = why_not("overlay")
    if reason:
        pytest.skip(reason)
    with mounted("tmpfs", place, size) as layers:
        lower, upper, work = (layers / name for name in ("lower", "upper", "work"))
        lower = place / "lower" if apart else lower
        point = place / "overlay-mount"
        for one in (lower, upper, work, point):
            one.mkdir()
        image(lower)
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        _run("mount", "-t", "overlay", "-o", options, "overlay", str(point))
        try:
            yield point
        finally:
            _unmount(point)


def _unmount(point: Path) -> None:
    """Unmount; where something still holds it, lazily, and that is an error of the test."""
    for _ in range(50):
        if subprocess.run(["umount", str(point)], check=False, capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    _run("umount", "--lazy", str(point))
    pytest.fail(f"{point} was still in use after the test")


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
