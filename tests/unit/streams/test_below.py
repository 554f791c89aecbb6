"""Directories below the watched one: what their names, their archives and their neighbours must not confuse."""

from __future__ import annotations

import pytest

from agent.config import AgentSection, Config, Files, Retention
from agent.kit.errors import LockedError
from agent.metrics import Metrics
from agent.streams.dues import Due
from agent.streams.engine import Engine
from tests.support.bench import LEAF, Bench, lines
from tests.support.clock import ManualClock
from tests.unit.streams.conftest import Make


def big(first: int, last: int) -> bytes:
    """Records of 1,000 bytes."""
    return lines(first, last, 1000)


def add(bench: Bench, name: str, data: bytes) -> None:
    """Append to a file below, whose directory is made where it is missing."""
    path = bench.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(data)


def seal(bench: Bench, *streams: str) -> None:
    """Look everywhere; seal and release these."""
    bench.look()
    bench.engine.lookout.look_everywhere()
    bench.engine.rotator.seal([Due(bench.stream(name), "request") for name in streams])
    bench.release()


@pytest.mark.parametrize("limited", ["a", "b"])
def test_segments_of_one_name_in_two_directories_are_two(make: Make, limited: str) -> None:
    """Files of one name, sealed in one second: what the rules of one stream delete is never the other's."""
    bench = make(files=Files(recursive=True))
    for first in (0, 30):
        for place in ("a", "b"):
            add(bench, f"{place}/{LEAF}", big(first, first + 30))
        seal(bench, f"a/{LEAF}", f"b/{LEAF}")
    bench.stream(f"{limited}/{LEAF}").retention = Retention(keep=1, max_age=None, max_total=None)
    bench.retain()

    kept = {place: len(list((bench.path / place).glob("*.gz"))) for place in ("a", "b")}
    assert {"a": 2, "b": 2, limited: 1} == kept


def test_a_directory_may_be_named_like_a_log(make: Make) -> None:
    """`include` means files: what lies in a directory of such a name is watched all the same."""
    bench = make(files=Files(recursive=True))
    add(bench, "app.log/telemetry.json", big(0, 3))
    bench.look()

    assert ["app.log/telemetry.json"] == list(bench.engine.catalog.streams)


@pytest.mark.parametrize("archive", ["archive", "s/archive", "."])
def test_an_archive_below_is_no_watched_directory(make: Make, archive: str) -> None:
    """Neither is it managed, nor is the operator told that another agent has it; also after a restart."""
    bench = make(files=Files(recursive=True), archive_directory=archive)
    for number in range(3):
        add(bench, f"s/{LEAF}", big(number, number + 1))
        seal(bench, f"s/{LEAF}")
        assert [] == list(bench.engine.grounds.problems())
        assert {"", "s"} == set(bench.engine.catalog.places)
        bench.stop()


def test_two_agents_never_share_a_state_directory(make: Make) -> None:
    """H9: they would overwrite each other's cursors, and take each other's streams for their own."""
    bench = make(path="one")
    state = str(bench.path.parent / "state")

    def agent(name: str) -> Engine:
        (bench.path.parent / name).mkdir(exist_ok=True)
        files, section = Files(directory=str(bench.path.parent / name)), AgentSection(state_directory=state)
        return Engine(Config(files=files, agent=section), ManualClock(), Metrics(), lambda: None)

    first = agent("one")
    first.open()
    try:
        with pytest.raises(LockedError, match=r"another agent.*state"):
            agent("two").open()
    finally:
        first.close()
