"""Directories below the watched one: what their names, their archives and their neighbours must not confuse."""

from __future__ import annotations

import errno
import os
import shutil

import pytest

from agent.config import AgentSection, Config, Files, Retention
from agent.kit.errors import LockedError
from agent.kit.units import Duration
from agent.metrics import Metrics
from agent.streams import grounds, segment
from agent.streams.dues import Due
from agent.streams.engine import Engine
from tests.support.bench import LEAF, Bench, at, fail, lines
from tests.support.clock import ManualClock
from tests.torture import segments as format_
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


def content(bench: Bench, place: str) -> bytes:
    """What lies in a directory's segments, by the format alone."""
    found = sorted((format_.load(path) for path in (bench.path / place).glob("*.gz")), key=lambda one: one.start)
    return b"".join(plain for one in found for _, plain in format_.inflate(one.body, one.path.name))


@pytest.mark.parametrize("again", [big(100, 130), big(0, 30)])
def test_a_directory_that_was_removed_is_taken_up_again(make: Make, again: bytes) -> None:
    """Case 27: what was in no segment is counted; the new directory is another one, and positions go on."""
    bench = make(files=Files(recursive=True))
    add(bench, f"s/{LEAF}", big(0, 30))
    seal(bench, f"s/{LEAF}")
    add(bench, f"s/{LEAF}", big(30, 35))
    bench.engine.lookout.look_everywhere()
    shutil.rmtree(bench.path / "s")
    add(bench, f"s/{LEAF}", again)
    seal(bench, f"s/{LEAF}")

    assert (again, {"deleted": 5000}) == (content(bench, "s"), bench.lost())
    (one,) = (format_.load(path) for path in (bench.path / "s").glob("*.gz"))
    assert (35_000, 65_000) == (one.start, one.end)


@pytest.mark.parametrize("running", [True, False])
def test_a_directory_that_was_renamed_keeps_its_streams(make: Make, running: bool) -> None:
    """Under its new name: each record once, one id, positions go on; and the old name may be another directory's."""
    bench = make(files=Files(recursive=True), capture=Duration("1s"))
    add(bench, f"a/{LEAF}", big(0, 30))
    seal(bench, f"a/{LEAF}")
    add(bench, f"a/{LEAF}", big(30, 60))
    bench.engine.lookout.look_everywhere()
    bench.step()
    known = bench.stream(f"a/{LEAF}").id
    if not running:
        bench.stop()
    (bench.path / "a").rename(bench.path / "b")
    add(bench, f"a/{LEAF}", big(500, 510))
    for _ in range(2):
        bench.engine.lookout.look_everywhere()
    add(bench, f"b/{LEAF}", big(60, 70))
    seal(bench, f"a/{LEAF}", f"b/{LEAF}")

    assert (big(0, 70), big(500, 510), {}) == (content(bench, "b"), content(bench, "a"), bench.lost())
    assert known == bench.stream(f"b/{LEAF}").id != bench.stream(f"a/{LEAF}").id
    assert {"", "a", "b"} == set(bench.engine.catalog.places)


def test_a_directory_that_was_copied_is_not_the_directory(make: Make) -> None:
    """Its segments are the operator's own: no stream has them, none is deleted; the stream they tell of goes on."""
    bench = make(files=Files(recursive=True), retention=Retention(keep=1, max_age=None, max_total=None))
    for first in (0, 30):
        add(bench, f"m/{LEAF}", big(first, first + 30))
        seal(bench, f"m/{LEAF}")
    bench.stop()
    for name in ("before", "zebra"):
        (bench.path / name).mkdir()
        for path in (bench.path / "m").glob("*.gz"):
            shutil.copy(path, bench.path / name)
    add(bench, f"m/{LEAF}", big(60, 90))
    seal(bench, f"m/{LEAF}")
    bench.retain()

    assert (big(60, 90), {}) == (content(bench, "m"), bench.lost())
    assert big(0, 60) == content(bench, "before") == content(bench, "zebra")
    assert [f"m/{LEAF}"] == [stream.name for stream in bench.engine.catalog.all()]
    assert 2 == [entry["reason"] for entry in bench.events("error")].count("copied segments")


def test_directories_that_come_and_go_leak_nothing(make: Make) -> None:
    """Case 27: what was open of them is closed a while later; nothing of them stays in the catalogue."""
    bench = make(files=Files(recursive=True))
    bench.look()
    before = len(os.listdir("/proc/self/fd"))
    for number in range(50):
        add(bench, f"{number}/{LEAF}", big(0, 3))
        seal(bench, f"{number}/{LEAF}")
        shutil.rmtree(bench.path / str(number))
        bench.engine.lookout.look_everywhere()
        bench.clock.advance(grounds._LINGER / 2)

    assert len(os.listdir("/proc/self/fd")) <= before + 8
    assert ({}, {""}) == (bench.engine.catalog.streams, set(bench.engine.catalog.places))


def test_a_tree_that_was_renamed_is_left_at_once(make: Make) -> None:
    """Case 27: however deep it goes, one look leaves all of it and takes it up under its new name."""
    bench = make(files=Files(recursive=True))
    add(bench, f"a/{LEAF}", big(0, 30))
    add(bench, f"a/b/c/{LEAF}", big(30, 60))
    seal(bench, f"a/{LEAF}", f"a/b/c/{LEAF}")
    (bench.path / "a").rename(bench.path / "z")
    for _ in range(2):
        bench.engine.lookout.look_everywhere()

    assert {"", "z", "z/b", "z/b/c"} == set(bench.engine.catalog.places)
    assert {f"z/{LEAF}", f"z/b/c/{LEAF}"} == set(bench.engine.catalog.streams)
    assert {} == bench.lost()


def test_a_directory_whose_archive_cannot_be_made_is_taken_up_later(make: Make) -> None:
    """It is told, its neighbours are watched, and no lock of our own is in the way once the cause is gone."""
    bench = make(files=Files(recursive=True), archive_directory="archive")
    bench.look()
    (bench.path / "archive" / "s").write_text("in the way")
    for place in ("s", "t"):
        add(bench, f"{place}/{LEAF}", big(0, 30))
    bench.engine.lookout.look_everywhere()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        bench.engine.lookout.look_everywhere()
    assert {"", "t"} == set(bench.engine.catalog.places)
    assert ["s is left out"] == [text.partition(":")[0] for text in bench.engine.grounds.problems()]
    assert len(os.listdir("/proc/self/fd")) <= before
    (bench.path / "archive" / "s").unlink()
    bench.engine.lookout.look_everywhere()

    assert ({"", "s", "t"}, []) == (set(bench.engine.catalog.places), list(bench.engine.grounds.problems()))


def test_a_directory_that_cannot_be_read_is_read_later(make: Make) -> None:
    """A disk that fails while it is taken up: nothing begins anew there, and its neighbours are taken up."""
    bench = make(files=Files(recursive=True), capture=Duration("1s"))
    for place in ("a", "b"):
        add(bench, f"{place}/{LEAF}", big(0, 30))
        seal(bench, f"{place}/{LEAF}")
        add(bench, f"{place}/{LEAF}", big(30, 60))
    bench.engine.lookout.look_everywhere()
    bench.step()
    for place in ("a", "b"):
        (bench.path / place).rename(bench.path / f"new-{place}")
    with at("recover.adopted", fail(OSError(errno.EIO, "injected"))) as reached:
        for _ in range(2):
            bench.engine.lookout.look_everywhere()
    assert reached["recover.adopted"] == 2
    assert len(bench.engine.catalog.places) == 2
    for _ in range(2):
        bench.engine.lookout.look_everywhere()
    for place in ("new-a", "new-b"):
        add(bench, f"{place}/{LEAF}", big(60, 70))
        seal(bench, f"{place}/{LEAF}")

    assert (big(0, 70), big(0, 70), {}) == (content(bench, "new-a"), content(bench, "new-b"), bench.lost())


def test_a_renamed_directory_costs_one_reading_of_the_one_in_its_place(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one for each of its streams: a start reads each index a few times, however many there are."""
    bench = make(files=Files(recursive=True))
    names = [f"{number}.json" for number in range(20)]
    for _ in range(2):
        for name in names:
            add(bench, f"a/{name}", big(0, 3))
        seal(bench, *(f"a/{name}" for name in names))
        bench.stop()
        if not (bench.path / "b").exists():
            (bench.path / "a").rename(bench.path / "b")
    load, read = segment.load, []
    monkeypatch.setattr(segment, "load", lambda *given: (read.append(given), load(*given))[1])
    bench.engine.lookout.look_everywhere()

    assert 40 == len({stream.id for stream in bench.engine.catalog.all()})
    assert len(read) <= 3 * 40


def test_directories_may_lie_as_deep_as_paths_reach(make: Make) -> None:
    """Hundreds, one in the other: all are taken up by the first look of a start, left together, and sealed once."""
    bench = make(files=Files(recursive=True))
    names, inside = [], ""
    for number in range(600):
        inside += "a/"
        if number % 150 == 149:
            names.append(inside + LEAF)
            add(bench, names[-1], big(number, number + 3))
    seal(bench, *names)
    bench.stop()
    bench.look()

    assert 601 == len(bench.engine.catalog.places)
    assert {False} == {bench.stream(name).live_bytes > 0 for name in names}
    seal(bench, *names)
    assert [1] * 4 == [len(list((bench.path / name).parent.glob("*.gz"))) for name in names]
    shutil.rmtree(bench.path / "a")
    bench.engine.lookout.look("a", None)
    assert [""] == list(bench.engine.catalog.places)
