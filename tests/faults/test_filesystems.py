"""Real file systems that are full, or whose files may not be touched, and directories that go away."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from agent.kit.errors import AgentError
from tests.faults.test_calls import told
from tests.model.machine import Machine
from tests.torture.mounts import mounted

SIZES = {"tmpfs": 2 << 20, "ext4": 8 << 20}


def fill(path: Path) -> None:
    """Take every byte that is left."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 9, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue


def unfill(path: Path) -> None:
    """Remove what `fill` wrote, and wait until its blocks are free: XFS gives them back in the background."""
    taken = path.stat().st_blocks * 512
    least = os.statvfs(path.parent).f_bfree
    path.unlink()
    for _ in range(500):
        info = os.statvfs(path.parent)
        if (info.f_bfree - least) * info.f_frsize >= taken * 0.9:
            return
        time.sleep(0.02)
    pytest.fail(f"{path}: its {taken} bytes did not come free")


@pytest.mark.root
@pytest.mark.parametrize("kind", sorted(SIZES))
def test_a_full_disk_harms_nothing_and_is_told_once(kind: str, tmp_path: Path) -> None:
    """With no byte free the records stay live; when there is room again they are sealed without being asked."""
    with mounted(kind, tmp_path, SIZES[kind]) as mount:
        machine = Machine(mount)
        machine.writer.write(100)
        machine.agent("open", 0)
        fill(mount / "filler")
        for _ in range(4):
            machine.agent("step", 0)
            machine.clock.sleep(31)
        assert 0 == len(list(machine.directory.glob("*.gz")))
        assert 1 == len(told(machine, "error"))
        unfill(mount / "filler")
        machine.settle()
        assert [] == machine.findings()


@pytest.mark.root
@pytest.mark.parametrize("flag", ["i", "a"])
def test_an_immutable_file_is_refused_until_it_is_not(flag: str, tmp_path: Path) -> None:
    """Case 24: `chattr +i` or `+a` forbids to give space back: refused with a remedy until the flag is gone."""
    with mounted("ext4", tmp_path, SIZES["ext4"]) as mount:
        machine = Machine(mount)
        machine.writer.write(100)
        machine.writer.close()
        subprocess.run(["chattr", f"+{flag}", machine.writer.path], check=True)
        for _ in range(4):
            machine.agent("step", 0)
            machine.clock.sleep(31)
        assert ["permission"] == told(machine, "refuse")
        subprocess.run(["chattr", f"-{flag}", machine.writer.path], check=True)
        machine.settle()
        assert [] == machine.findings()
        assert 0 == machine.writer.path.stat().st_size


@pytest.mark.root
def test_a_file_system_that_turns_read_only_stops_nothing_for_good(tmp_path: Path) -> None:
    """Case 24: ext4 finds an error and refuses every change; the agent lives, says so once, and goes on once repaired.

    The writer cannot write meanwhile, either. What it wrote before is there once.
    """
    with mounted("ext4", tmp_path, SIZES["ext4"], "-e", "remount-ro") as mount:
        machine = Machine(mount)
        machine.writer.write(60)
        machine.agent("step", 0)
        machine.writer.write(60)
        machine.writer.close()
        os.sync()
        device = _device(mount)
        Path(f"/sys/fs/ext4/{device.name}/trigger_fs_error").write_text("on purpose")
        with pytest.raises(OSError, match="Read-only file system"):
            (mount / "anything").touch()
        for _ in range(4):
            machine.clock.sleep(31)
            with suppress(OSError):  # what the loop would log
                machine.agent("step", 0)
        assert 1 == len(told(machine, "error"))
        machine._bury()
        subprocess.run(["umount", mount], check=True)
        assert (
            subprocess.run(["fsck.ext4", "-y", tmp_path / "ext4.img"], capture_output=True, check=False).returncode < 4
        )
        subprocess.run(["mount", "-o", "loop", tmp_path / "ext4.img", mount], check=True)
        machine.settle()
        assert [] == machine.findings()


def _device(mount: Path) -> Path:
    """What is mounted there."""
    line = next(line for line in Path("/proc/mounts").read_text().splitlines() if line.split()[1] == str(mount))
    return Path(line.split()[0])


def test_a_directory_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    """While it is gone nothing counts as deleted; when it is back, work goes on."""
    machine = Machine(tmp_path)
    machine.writer.write(60)
    machine.agent("look", 0)
    away = machine.directory.rename(tmp_path / "away")
    with pytest.raises(AgentError, match="is gone"):
        machine.agent("step", 0)
    machine.directory.mkdir()
    with pytest.raises(AgentError, match="another directory stands"):
        machine.agent("step", 0)
    machine.directory.rmdir()
    away.rename(machine.directory)
    machine.settle()
    assert [] == machine.findings()
