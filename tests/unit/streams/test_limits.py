"""Attack H5: a file whose writer never lets go grows towards its file system's limit, and that is told in time."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from agent.control import NEARLY, StreamStatus, length_limit
from agent.kit.disk import Directory, largest_file
from agent.streams import names, report
from tests.support.bench import LEAF, Bench, lines
from tests.torture.mounts import mounted

DAY = 86_400.0


def line(bench: Bench) -> StreamStatus:
    """The stream's line of the status."""
    return report.stream(bench.engine, bench.stream(), bench.clock.monotonic(), bench.clock.now())


@pytest.mark.root
@pytest.mark.parametrize(("kind", "options", "limit"), [("ext4", ("-b", "1024"), 1 << 42), ("xfs", (), 1 << 63)])
def test_a_file_systems_limit_is_what_it_says_itself(
    kind: str, options: tuple[str, ...], limit: int, tmp_path: Path
) -> None:
    """H5: a byte before the limit can be written, the one behind it not; asking leaves nothing behind."""
    with mounted(kind, tmp_path, 8 << 20, *options) as place, Directory.open(str(place)) as directory:
        found = largest_file(directory)
        assert found is not None
        assert limit - (1 << 20) < found <= limit
        assert not list(place.glob("*.json"))
        file = os.open(place / "a.json", os.O_RDWR | os.O_CREAT)
        try:
            os.ftruncate(file, found)
            if found < (1 << 63) - 1:
                with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
                    os.ftruncate(file, found + 1)
        finally:
            os.close(file)


def test_where_nothing_can_be_made_it_is_not_known() -> None:
    """A directory that takes no file tells nothing, and that is no error."""
    with Directory.open("/proc") as directory:
        assert largest_file(directory) is None


def test_days_left_follow_the_growth_since_the_first_look(bench: Bench) -> None:
    """Not the growth of the moment; a file that was set back to nothing begins anew."""
    writer = bench.writer().write(lines(0, 100))
    bench.look()
    bench.stream().place.largest = 1_000_000
    assert line(bench).days_left is None
    size = (bench.path / LEAF).stat().st_size
    for number in range(1, 11):
        bench.clock.advance(DAY)
        writer.write(lines(number * 100, number * 100 + 100))
        bench.look()

    now = size * 11
    assert pytest.approx((1_000_000 - now) / size, rel=0.01) == line(bench).days_left
    writer.cut()
    bench.look()
    bench.clock.advance(DAY)
    bench.look()
    assert line(bench).days_left is None


def test_each_threshold_is_told_once(bench: Bench) -> None:
    """H5: at a quarter, a half and three quarters; in between the words stay, so that no alarm repeats itself."""
    writer = bench.writer()
    told = []
    for number in range(100):
        writer.write(lines(number * 10, number * 10 + 10))
        bench.look()
        bench.stream().place.largest = 1000 * 64
        bench.clock.advance(60)
        now = line(bench)
        if "size_limit" in now.flags:
            words = length_limit(now).partition(",")[0]
            told += [words] if words not in told else []

    assert [f"longer than {one:.0%} of the longest file possible here" for one in NEARLY] == told


def test_the_real_limit_is_in_the_status(bench: Bench) -> None:
    """Asked of the file system at the start."""
    bench.writer().write(lines(0, 1))
    bench.look()

    limit = line(bench).size_limit
    assert limit is not None
    assert limit > 1 << 40


def test_a_part_that_goes_while_space_is_counted_takes_none(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's temporary file with the name of a part: renamed or removed between the listing and the look at it."""
    bench.look()
    path = bench.path / ".x.part"
    path.write_bytes(b"a" * 5000)
    before = report.directory(bench.engine).part_bytes
    real = names.is_part

    def go(name: str) -> bool:
        if name == path.name:
            path.unlink()
        return real(name)

    monkeypatch.setattr(names, "is_part", go)

    assert before > 0
    assert 0 == report.directory(bench.engine).part_bytes
