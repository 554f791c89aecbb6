"""No content of a file, however wild, brings a collector down otherwise than with an error that names the file."""

import contextlib
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.system import cgroup, cpu, disk, files, memory, mounts, network, pressure, processes, procstat
from tests.unit.system.conftest import TREES

PARSERS: dict[Callable[[str], object], str] = {
    procstat.parse: "proc/stat",
    memory.parse: "proc/meminfo",
    processes.parse_load: "proc/loadavg",
    processes.parse_open_files: "proc/sys/fs/file-nr",
    mounts.parse: "proc/1/mountinfo",
    disk.parse: "proc/diskstats",
    network.parse: "proc/1/net/dev",
    pressure.parse: "proc/pressure/memory",
    files.parse_keyed: "sys/fs/cgroup/memory.stat",
    cgroup.parse_membership: "proc/self/cgroup",
    cgroup.parse_io_stat: "sys/fs/cgroup/io.stat",
    cgroup.parse_cpu_max: "sys/fs/cgroup/cpu.max",
    cgroup.parse_limit: "sys/fs/cgroup/memory.max",
    cgroup.parse_blkio: "../v1/sys/fs/cgroup/blkio/blkio.throttle.io_service_bytes_recursive",
}
SAMPLES = [(parse, (TREES / "v2" / path).read_text("utf-8")) for parse, path in PARSERS.items()]


@pytest.mark.parametrize(("parse", "sample"), SAMPLES, ids=PARSERS.values())
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(parse: Callable[[str], object], sample: str, data: st.DataObject) -> None:
    """A piece of a real file replaced by anything parses, or raises what `files.load` turns into its error."""
    start = data.draw(st.integers(0, len(sample)))
    end = data.draw(st.integers(start, len(sample)))
    text = sample[:start] + data.draw(st.text(max_size=30)) + sample[end:]

    with contextlib.suppress(ValueError, LookupError):
        parse(text)


@given(st.lists(st.lists(st.floats(0, 1e9), min_size=10, max_size=10), min_size=2, max_size=5))
def test_the_busy_share_is_a_share(looks: list[list[float]]) -> None:
    """Whatever the counters do between two looks, it lies within 0 and 100."""
    for before, after in itertools.pairwise(looks):
        share = cpu.busy_percent(tuple(before), tuple(after))
        assert share is None or 0.0 <= share <= 100.0


def test_every_parser_reads_its_sample() -> None:
    """The samples of the test above are real ones, so that it damages something."""
    assert [parse(sample) for parse, sample in SAMPLES if not parse(sample)] == []
