"""A disk without one free byte: the agent seals and gives space back all the same, in the room it kept back (H1)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Self

import pytest

from agent.components import Components
from agent.config import AgentSection, Config, Files, Retention, Rotation
from agent.duties.keeper import Keeper
from agent.kit.disk import Directory
from agent.kit.units import Duration, Size
from agent.metrics import Metrics
from agent.streams import ballast
from tests.faults.test_filesystems import fill, unfill
from tests.support.bench import Bench, killed, lines
from tests.support.clock import ManualClock
from tests.torture import segments
from tests.torture.mounts import mounted

SIZES = {"tmpfs": 48 << 20, "ext4": 64 << 20, "xfs": 400 << 20}
LIVE = 12 << 20
LEAF = "telemetry.json"


class Yard:
    """An agent on a small file system."""

    def __init__(self, mount: Path, **rotation: object) -> None:
        self.directory = mount / "watched"
        self.directory.mkdir()
        self.clock = ManualClock()
        rules = Rotation(**{"max_size": Size("1MB"), "max_age": Duration("5s"), **rotation})  # type: ignore[arg-type]
        self.keeper = Keeper(
            Config(
                files=Files(directory=str(self.directory)), rotation=rules,
                retention=Retention(keep=0, max_age=None, max_total=None), agent=AgentSection(state_directory=".state"),
            ),
            self.clock, Metrics(), Components(self.clock),
        )  # fmt: skip
        self.keeper.open(watch=False)
        self.live = self.directory / LEAF

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.keeper.close()

    def step(self, count: int = 1) -> None:
        """Passes of the keeper, far enough apart for every back-off."""
        for _ in range(count):
            self.clock.advance(31)
            self.keeper.step(self.clock.monotonic())

    def sealed(self) -> bytes:
        """What lies in segments, by the format alone."""
        found = [segments.load(path) for path in self.directory.glob("*.gz")]
        found.sort(key=lambda one: one.start)
        return b"".join(plain for one in found for _, plain in segments.inflate(one.body, one.path.name))


@pytest.fixture(params=sorted(SIZES))
def mount(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A real file system that is easily filled."""
    with mounted(request.param, tmp_path, SIZES[request.param]) as found:
        yield found


def free(mount: Path) -> int:
    """Bytes that may be written."""
    info = os.statvfs(mount)
    return info.f_bfree * info.f_frsize


@pytest.mark.root
@pytest.mark.parametrize("capture", [None, Duration("1s")])
def test_with_no_byte_free_everything_is_sealed_and_space_comes_free(mount: Path, capture: Duration | None) -> None:
    """H1: the ballast goes, small pieces are sealed and released one by one; it is made again when there is room."""
    with Yard(mount, capture=capture) as yard:
        yard.step()
        kept = yard.directory / ".state" / "ballast"
        assert kept.stat().st_blocks * 512 >= ballast.SIZE
        written = lines(0, LIVE // 1000, 1000)
        yard.live.write_bytes(written)
        fill(mount / "filler")
        before = free(mount)

        yard.step(3)

        assert written == yard.sealed()
        assert free(mount) > before + LIVE // 2
        assert yard.live.stat().st_blocks * 512 < 1 << 20
        assert ["the disk is full"] == [
            one["reason"] for one in yard.keeper.engine.audit.recent if one["event"] == "ballast"
        ]
        unfill(mount / "filler")
        yard.step()
        assert kept.stat().st_blocks * 512 >= ballast.SIZE


@pytest.mark.root
def test_without_ballast_a_full_disk_is_told_and_waited_out(mount: Path) -> None:
    """Where limits leave no room for one: nothing is lost, and work goes on when there is room."""
    with Yard(mount) as yard:
        written = lines(0, 2000, 1000)
        yard.live.write_bytes(written)
        fill(mount / "filler")
        yard.step(2)
        unfill(mount / "filler")
        yard.step(2)

        assert written == yard.sealed()


def test_a_small_limit_leaves_no_room_for_ballast(tmp_path: Path) -> None:
    """A directory that may take 10 MB is not given 4 MB less."""
    with Directory.open(str(tmp_path)) as home:
        ballast.Ballast(home, home).renew(10_000_000)
        assert [] == list(tmp_path.iterdir())
        ballast.Ballast(home, home).renew(50_000_000)
        assert ["ballast"] == [one.name for one in tmp_path.iterdir()]


@pytest.mark.parametrize("step", ["ballast.made", "ballast.dropped"])
def test_a_kill_around_the_ballast_leaves_no_other_state(step: str, tmp_path: Path) -> None:
    """It is there or it is not; the next pass makes it again."""
    bench = Bench(tmp_path)
    try:
        kept = bench.engine.squeeze.ballast
        assert kept
        if step == "ballast.dropped":
            kept.renew(None)
        change = kept.drop if step == "ballast.dropped" else partial(kept.renew, None)
        assert killed(step, lambda: change() and None)
        bench.crash()
        again = bench.engine.squeeze.ballast
        assert again
        again.renew(None)

        (file,) = tmp_path.rglob("*ballast*")
        assert file.stat().st_blocks * 512 >= ballast.SIZE
    finally:
        bench.close()
