"""Case 24: places on which giving space back is not what it is on a plain disk: overlayfs, bigalloc, a quota.

On each of them every record is there once in the end, and what is sealed takes no space a second time.
"""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.streams.follow import records
from agent.streams.release import RESET_BACKOFF
from tests.faults.test_calls import told
from tests.faults.test_filesystems import fill
from tests.model.machine import Machine
from tests.torture import segments
from tests.torture.mounts import mounted, overlaid

CLUSTER = 64 << 10
"""Least space that bigalloc gives a file: sixteen blocks."""
QUOTA = 16 << 20


def lived(mount: Path, slack: int) -> Machine:
    """A life of writer and agent: seals and releases beside a writer that has the file open, which is never set back.

    In the end the file takes no more than `slack`, though it is much longer.
    """
    machine = Machine(mount)
    machine.agent("open", 0)
    for _ in range(40):
        machine.writer.write(400)
        for name in ("look", "seal", "release"):
            machine.agent(name, 0)
    machine.agent("reset", 0)
    assert machine.writer.path.stat().st_size > 8 * slack
    assert machine.writer.path.stat().st_blocks * 512 <= slack
    return machine


def judged(machine: Machine) -> list[str]:
    """What is wrong in the end; the file was set back to nothing once its writer had gone."""
    machine.clock.sleep(RESET_BACKOFF)
    machine.writer.write(1)
    machine.settle()
    assert 0 == machine.writer.path.stat().st_size
    return machine.findings()


@pytest.mark.root
def test_an_overlay_is_a_place_like_others(tmp_path: Path) -> None:
    """Case 24: in a container without a volume: sealed, given back, set back, also after a restart; nothing is lost."""
    with overlaid(tmp_path, 64 << 20) as mount:
        machine = lived(mount, 16 << 10)
        with machine.writer.path.open("rb"):
            machine.settle()
            assert machine.writer.path.stat().st_size
            assert [] == machine.findings()
        assert [] == judged(machine)


@pytest.fixture(params=["one file system", "two"])
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    """A file that was written when an image was made, and has been opened by nobody since."""
    made: list[Machine] = []

    def write(lower: Path) -> None:
        made.append(Machine(lower))
        made[0].writer.write(500)
        made[0].writer.close()

    with overlaid(tmp_path, 64 << 20, write, apart=request.param == "two") as mount:
        machine = made[0]
        machine.directory, machine.album = mount / "watched", mount / "album"
        machine.gate.directory, machine.gate.album = machine.directory, machine.album
        machine.writer.path = machine.directory / machine.writer.path.name
        yield machine


@pytest.mark.root
def test_a_file_of_the_image_below_is_sealed_once(image: Machine) -> None:
    """Case 24: the first that opens it for writing, be it the agent, gets a copy: the same file, not another one."""
    image.rest()

    assert [] == judged(image)


@pytest.mark.root
def test_a_writer_may_be_the_first_to_open_a_file_of_the_image(image: Machine) -> None:
    """Case 24: also between the agent's first look and its first seal; nothing is counted as lost."""
    image.agent("look", 0)
    image.writer.write(5)
    image.rest()

    assert [] == told(image, "loss")
    assert [] == judged(image)


@pytest.mark.root
def test_who_only_reads_makes_no_copy_of_a_file_of_the_image(image: Machine) -> None:
    """Case 24: `cat` changes nothing, on an overlay either; what it gives is all that was written."""
    path = image.writer.path
    before = segments.birth_time(path)
    given = b"".join(records(image._config(), path.name))

    assert path.read_bytes() == given
    assert before == segments.birth_time(path)
    image.settle()
    assert before != segments.birth_time(path)


@pytest.mark.root
def test_clusters_of_blocks_come_free_too(tmp_path: Path) -> None:
    """Case 24: ext4 with bigalloc frees whole clusters alone; a hole in a part of one costs nothing but its space."""
    with mounted("ext4", tmp_path, 64 << 20, "-O", "bigalloc", "-C", str(CLUSTER)) as mount:
        assert [] == judged(lived(mount, 2 * CLUSTER))


@pytest.mark.root
def test_a_quota_that_is_used_up_harms_nothing_and_is_told_once(tmp_path: Path) -> None:
    """Case 24, 10: EDQUOT of a real quota is as a full disk: records stay live, and are sealed when there is room.

    It is one of btrfs, which root is held to as well; many a kernel has none for ext4 (CONFIG_QFMT_V2).
    """
    with mounted("btrfs", tmp_path, 256 << 20) as mount:
        subprocess.run(["btrfs", "quota", "enable", mount], check=True)
        subprocess.run(["btrfs", "qgroup", "limit", str(QUOTA), mount], check=True)
        machine = Machine(mount)
        machine.writer.write(100)
        machine.agent("open", 0)
        fill(mount / "filler")
        with pytest.raises(OSError, match="quota") as caught:
            (mount / "more").write_bytes(bytes(1 << 20))
        assert errno.EDQUOT == caught.value.errno
        for _ in range(4):
            machine.agent("step", 0)
            machine.clock.sleep(31)
        assert 0 == len(list(machine.directory.glob("*.gz")))
        assert 1 == len(told(machine, "error"))
        (mount / "filler").unlink()
        machine.settle()
        assert [] == machine.findings()
