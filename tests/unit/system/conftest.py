"""Fixture trees of procfs and sysfs, a clock with hands, and file systems that answer what a test wants."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.system.registry import Settings
from tests.support.clock import ManualClock

TREES = Path(__file__).parents[2] / "data" / "system"
BLOCK = 4096


@pytest.fixture
def hands() -> ManualClock:
    """A clock that stands still until it is turned."""
    return ManualClock()


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[str], Path]:
    """Copy a fixture tree, so that its mount table can name the place it lies at."""

    def copy(name: str) -> Path:
        there = tmp_path / name
        shutil.copytree(TREES / name, there, symlinks=True)
        table = there / "proc" / "self" / "mountinfo"
        table.write_text(table.read_text("utf-8").replace("@TREE@", str(there)), "utf-8")
        return there

    return copy


def settings_of(tree: Path, *, node_exporter_names: bool = False, timeout: float = 5.0) -> Settings:
    """The settings of an agent in a container that has the host's file systems mounted."""
    return Settings(
        procfs=str(tree / "proc"),
        sysfs=str(tree / "sys"),
        rootfs=str(tree / "root"),
        timeout=timeout,
        node_exporter_names=node_exporter_names,
    )


def statvfs_of(blocks: int = 1000, files: int = 500, flags: int = 0) -> os.statvfs_result:
    """A file system of 4 KiB blocks: 4 of 10 free, 3 of 10 for users; 2 of 10 inodes free."""
    return os.statvfs_result(
        (BLOCK, BLOCK, blocks, blocks * 4 // 10, blocks * 3 // 10, files, files // 5, files // 5, flags, 255)
    )
