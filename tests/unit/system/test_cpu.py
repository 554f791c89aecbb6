"""CPU time and the busy share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.system import procstat
from agent.system.cpu import CpuCollector, busy_percent, forward
from agent.system.files import ReadingError
from agent.system.reading import Reading


def write_stat(procfs: Path, *ticks: int) -> None:
    """A machine with one CPU."""
    line = " ".join(map(str, ticks))
    (procfs / "stat").write_text(f"cpu  {line}\ncpu0 {line}\nbtime 1\n", "ascii")


def percent(reading: Reading) -> float:
    """The busy share in a reading."""
    return next(f.samples[0][1] for f in reading.families if f.name == "system_cpu_usage_percent")


def test_the_first_pass_gives_the_share_since_boot_and_the_next_the_share_since_then(tmp_path: Path) -> None:
    """Of 1000 ticks since boot 250 were busy; of the next 100, 80."""
    collector = CpuCollector(str(tmp_path))

    write_stat(tmp_path, 200, 0, 50, 700, 50, 0, 0, 0, 0, 0)
    first = percent(collector.collect())
    write_stat(tmp_path, 270, 0, 60, 710, 60, 0, 0, 0, 0, 0)
    second = percent(collector.collect())

    assert pytest.approx(25.0) == first
    assert pytest.approx(80.0) == second


def test_a_pass_within_one_tick_repeats_the_last_share(tmp_path: Path) -> None:
    """No time passed, so nothing new is known; it is not 0."""
    collector = CpuCollector(str(tmp_path))
    write_stat(tmp_path, 200, 0, 50, 700, 50, 0, 0, 0, 0, 0)

    collector.collect()
    again = percent(collector.collect())

    assert pytest.approx(25.0) == again


def test_guest_time_is_not_counted_twice() -> None:
    """The kernel puts guest time into user as well (proc(5))."""
    assert pytest.approx(50.0) == busy_percent((), (5.0, 0, 0, 5.0, 0, 0, 0, 0, 5.0, 0))


def test_stolen_time_is_busy_and_waiting_for_a_disk_is_not() -> None:
    """Steal is time that somebody else took from this machine; iowait is idle time."""
    assert pytest.approx(25.0) == busy_percent((), (0, 0, 0, 1.0, 2.0, 0, 0, 1.0))


def test_no_time_at_all_is_no_share() -> None:
    """Dividing by nothing gives no number, not 0."""
    assert busy_percent((1.0,) * 8, (1.0,) * 8) is None


def test_a_counter_that_goes_back_a_little_stands_still() -> None:
    """Kernels let idle and iowait fall by a tick; Prometheus would take that for a reset."""
    assert forward((5.0, 6.5), (4.99, 7.0)) == (5.0, 7.0)


def test_a_counter_that_goes_back_far_starts_again() -> None:
    """A CPU that was taken offline and came back counts from smaller times."""
    assert forward((5.0, 6.5), (1.0, 7.0)) == (1.0, 7.0)


def test_a_kernel_without_newer_columns_is_read() -> None:
    """Guest columns are optional; so are process counters."""
    stat = procstat.parse("cpu  100 0 0 100 0 0 0 0\ncpu0 100 0 0 100 0 0 0 0\n")

    assert stat.total == (1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0)
    assert stat.running is None


@pytest.mark.parametrize("text", ["", "cpu  1 2 3\n", "cpu  a b c d e f g h\n"])
def test_what_is_no_stat_file_is_an_error_that_names_it(text: str, tmp_path: Path) -> None:
    """The operator learns which file is not what proc(5) says."""
    (tmp_path / "stat").write_text(text, "ascii")

    with pytest.raises(ReadingError) as caught:
        CpuCollector(str(tmp_path)).collect()

    assert str(tmp_path / "stat") == caught.value.path
    assert "proc(5)" in caught.value.hint


def test_a_missing_root_is_an_error_with_the_key_to_look_at(tmp_path: Path) -> None:
    """A wrong procfs is the usual reason."""
    with pytest.raises(ReadingError, match=r"No such file.*\[system\] procfs"):
        CpuCollector(str(tmp_path / "nowhere")).collect()


def test_node_names_are_by_cpu_and_mode(tree: Callable[[str], Path]) -> None:
    """As node_exporter has them, guests apart."""
    reading = CpuCollector(f"{tree('v2')}/proc", node_names=True).collect()
    found = {family.name: dict(family.samples) for family in reading.families}

    assert found["node_cpu_seconds_total"][("0", "user")] == 1509.2
    assert found["node_cpu_guest_seconds_total"][("1", "nice")] == 0.2
