"""Cursors: forward only over settled batches, durable before the first try, older after damage."""

import json
import re
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.kit import disk, steps
from agent.kit.disk import Directory
from agent.kit.errors import ConfigError
from agent.streams.cursors import Bounds, Cursor, Cursors, consumers


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    """A state directory."""
    with Directory.open(str(tmp_path)) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _no_hook() -> Iterator[None]:
    yield
    steps.watch(None)


def files(directory: Directory) -> list[str]:
    """What lies in the directory."""
    return sorted(directory.names())


def saved(directory: Directory, *positions: int) -> Cursors:
    """Cursors of one stream that were saved at each of these positions."""
    cursors = Cursors(directory, "out")
    for position in positions:
        cursors.reset("a.json", "id", position)
        assert cursors.save()
    return cursors


def newest(directory: Directory) -> Path:
    """The cursor file with the highest generation."""
    paths = [Path(directory.path, name) for name in files(directory) if name.endswith(".json")]
    return max(paths, key=lambda path: json.loads(path.read_bytes())["body"]["generation"])


# -- positions


def test_a_begun_batch_moves_nothing(directory: Directory) -> None:
    """Between begin and settle the position stays and the bounds are kept."""
    cursors = Cursors(directory, "out")

    cursors.begin("a.json", "id", 0, 10)

    assert Cursor("a.json", 0, (Bounds(0, 10),)) == cursors.get("id")
    assert cursors.settle("id", 0, 10) == 10
    assert Cursor("a.json", 10) == cursors.get("id")


def test_a_later_batch_waits_for_an_earlier_one(directory: Directory) -> None:
    """[19] Batch 1 is throttled, batch 2 is taken: the position stays before batch 1 until that is taken too."""
    cursors = Cursors(directory, "out")
    for start in (0, 10, 20):
        cursors.begin("a.json", "id", start, start + 10)

    positions = [cursors.settle("id", start, start + 10) for start in (10, 20, 0)]

    assert positions == [0, 0, 30]


def test_what_was_settled_out_of_order_is_not_sent_again_after_a_restart(directory: Directory) -> None:
    """The bounds of all batches under way are durable, and which of them are done with."""
    cursors = Cursors(directory, "out")
    for start in (0, 10):
        cursors.begin("a.json", "id", start, start + 10)
    cursors.settle("id", 10, 20)
    cursors.save()

    again = Cursors(directory, "out")

    assert Cursor("a.json", 0, (Bounds(0, 10), Bounds(10, 20, True))) == again.get("id")
    assert again.settle("id", 0, 10) == 20


def test_what_is_settled_behind_a_batch_that_waits_is_one_range(directory: Directory) -> None:
    """However many follow it: the cursor file does not grow, over a restart it says the same, and then all is passed.

    Unreadable bytes between two of them are passed with them.
    """
    cursors = Cursors(directory, "out")
    cursors.begin("a.json", "id", 0, 10)
    for start in range(15, 5_015, 10):
        cursors.begin("a.json", "id", start, start + 8)
        cursors.settle("id", start, start + 8)
    cursors.begin("a.json", "id", 6_000, 6_010)
    cursors.save()

    again = Cursors(directory, "out")

    bounds = (Bounds(0, 10), Bounds(15, 5_013, True), Bounds(6_000, 6_010))
    assert Cursor("a.json", 0, bounds) == cursors.get("id") == again.get("id")
    assert again.settle("id", 0, 10) == 5_013
    assert again.settle("id", 6_000, 6_010) == 6_010


def test_settled_bounds_of_an_older_agent_are_joined(directory: Directory) -> None:
    """It kept each of them; the file is read as it is, and the next batch that is done with makes one of them."""
    saved(directory, 0)
    path = newest(directory)
    body = {"generation": 2, "streams": {"id": {"name": "a.json", "position": 0, "inflight": [
        [0, 10], [10, 20, True], [20, 30, True], [30, 40]]}}}  # fmt: skip
    raw = json.dumps(body, separators=(",", ":"))
    path.write_text(f'{{"version":1,"checksum":{zlib.crc32(raw.encode())},"body":{raw}}}\n')
    cursors = Cursors(directory, "out")

    assert cursors.settle("id", 30, 40) == 0
    assert Cursor("a.json", 0, (Bounds(0, 10), Bounds(10, 40, True))) == cursors.get("id")


def test_beginning_the_same_batch_again_changes_nothing(directory: Directory) -> None:
    """After a restart the loop begins the batch that was under way with the same bounds."""
    cursors = Cursors(directory, "out")
    cursors.begin("a.json", "id", 0, 10)
    cursors.save()
    again = Cursors(directory, "out")

    again.begin("a.json", "id", 0, 10)

    assert not again.unsaved


def test_skipped_bytes_are_passed_with_the_next_batch(directory: Directory) -> None:
    """Unreadable bytes before a batch do not stop the position for ever, and are not passed early."""
    cursors = Cursors(directory, "out")
    cursors.reset("a.json", "id", 10)

    cursors.begin("a.json", "id", 15, 20)

    assert (cursors.get("id") or Cursor("", 0)).position == 10
    assert cursors.settle("id", 15, 20) == 20


@pytest.mark.parametrize(("start", "end"), [(5, 15), (9, 20), (0, 5), (10, 10), (12, 11)])
def test_overlapping_batches_are_an_error(directory: Directory, start: int, end: int) -> None:
    """A batch that begins before the last one ended would be delivered twice, or passed undelivered."""
    cursors = Cursors(directory, "out")
    cursors.begin("a.json", "id", 0, 10)

    with pytest.raises(ValueError, match="begins before 10"):
        cursors.begin("a.json", "id", start, end)


def test_a_verdict_on_a_forgotten_batch_changes_nothing(directory: Directory) -> None:
    """A reset while a batch was under way wins over the batch's verdict."""
    cursors = Cursors(directory, "out")
    cursors.begin("a.json", "id", 0, 10)
    cursors.reset("a.json", "id", 3)

    assert cursors.settle("id", 0, 10) == 3
    assert cursors.settle("nobody", 0, 10) == 0
    assert cursors.get("nobody") is None


def test_a_renamed_stream_keeps_its_cursor(directory: Directory) -> None:
    """The id counts; the name follows, made printable whatever bytes it has."""
    cursors = Cursors(directory, "out")
    cursors.reset("a.json", "id", 10)
    cursors.begin("b\udcff\n.json", "id", 10, 20)
    cursors.save()

    assert Cursor("b\\udcff\\n.json", 10, (Bounds(10, 20),)) == Cursors(directory, "out").get("id")


def test_forgotten_streams_are_gone(directory: Directory) -> None:
    """Entries of vanished streams leave the file, unknown ones are no error, and the others stay."""
    cursors = Cursors(directory, "out")
    cursors.reset("a.json", "a", 1)
    cursors.reset("b.json", "b", 2)

    cursors.forget(["a", "c"])
    cursors.save()

    assert {"b": Cursor("b.json", 2)} == Cursors(directory, "out").snapshot()


def test_state_and_position_are_saved_together(directory: Directory) -> None:
    """[27] The sink's state after a batch is in the same write as the batch; a later None does not erase it."""
    cursors = Cursors(directory, "out")
    for start in (0, 10):
        cursors.begin("a.json", "id", start, start + 10)
    cursors.settle("id", 0, 10, b"\x00\xffstate")
    cursors.settle("id", 10, 20)
    cursors.save()

    again = Cursors(directory, "out")

    assert (b"\x00\xffstate", Cursor("a.json", 20)) == (again.state, again.get("id"))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=30), st.lists(st.integers(0, 3), max_size=30))
def test_the_position_is_the_settled_prefix(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], cuts: list[int]
) -> None:
    """Model: in whatever order ten batches are settled, with restarts between, the position ends their whole prefix."""
    with Directory.open(str(tmp_path_factory.mktemp("state"))) as directory:
        cursors = Cursors(directory, "out")
        for number in range(10):
            cursors.begin("a.json", "id", number * 10, number * 10 + 10)
        done: set[int] = set()
        for index, number in enumerate(order):
            cursors.settle("id", number * 10, number * 10 + 10)
            done.add(number)
            if index in cuts:
                cursors.save()
                cursors = Cursors(directory, "out")

        prefix = next(number for number in range(11) if number not in done)
        found = cursors.get("id")
        assert found is not None
        assert prefix * 10 == found.position
        kept = [number for one in found.inflight if one.settled for number in range(one.start // 10, one.end // 10)]
        assert sorted(n for n in done if n > prefix) == kept
        assert all(not (one.settled and then.settled) for one, then in pairwise(found.inflight))


# -- files


def test_a_new_consumer_has_nothing(directory: Directory) -> None:
    """No file is no problem, and looking writes nothing."""
    cursors = Cursors(directory, "out")

    assert (cursors.get("id"), cursors.problems, cursors.forgotten, cursors.save()) == (None, [], False, False)
    assert files(directory) == []


def test_an_unchanged_cursor_is_not_written(directory: Directory) -> None:
    """The second save does nothing; so does one after a change to what was there already."""
    cursors = saved(directory, 5)
    before = [Path(directory.path, name).stat().st_mtime_ns for name in files(directory)]

    cursors.reset("a.json", "id", 5)

    assert not cursors.save()
    assert before == [Path(directory.path, name).stat().st_mtime_ns for name in files(directory)]


def test_consumers_do_not_see_each_other(directory: Directory) -> None:
    """Each consumer has files of its own, and all of them can be listed, also those nobody configures any more."""
    for name in ("out", "out-2", "OLD_one"):
        cursors = Cursors(directory, name)
        cursors.reset("a.json", "id", len(name))
        cursors.save()
    Path(directory.path, "cursor-x.0.json.damaged").write_text("{}")

    assert consumers(directory) == ["OLD_one", "out", "out-2"]
    assert Cursor("a.json", 5) == Cursors(directory, "out-2").get("id")


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", "é", "x" * 65, "a\n"])
def test_a_name_that_is_no_file_name_is_refused(directory: Directory, name: str) -> None:
    """The consumer's name becomes part of a file name."""
    with pytest.raises(ConfigError, match="cannot name its cursor file"):
        Cursors(directory, name)


def empty(path: Path) -> None:
    """What a power cut may leave."""
    path.write_bytes(b"")


def cut(path: Path) -> None:
    """Half of the file."""
    path.write_bytes(path.read_bytes()[:40])


def flip(path: Path) -> None:
    """Another position, the old checksum."""
    path.write_bytes(re.sub(rb'"position":[0-9]+', b'"position":90', path.read_bytes()))


def garble(path: Path) -> None:
    """No text at all."""
    path.write_bytes(bytes(range(256)))


def advance(path: Path) -> None:
    """Written by an agent of the future."""
    path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":2'))


def replace_by_link(path: Path) -> None:
    """A symlink to somewhere else."""
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


def nest(path: Path) -> None:
    """Brackets that would exhaust a recursive reader."""
    path.write_bytes(b'{"version":1,"checksum":0,"body":' + b"[" * 200_000)


DAMAGES = [empty, cut, flip, garble, advance, replace_by_link, nest]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_falls_back_to_the_older_cursor(directory: Directory, damage: Callable[[Path], None]) -> None:
    """[12] The generation before counts, the problem is told with path and hint, and the file is kept aside."""
    saved(directory, 10, 20)
    path = newest(directory)
    damage(path)

    cursors = Cursors(directory, "out")

    assert Cursor("a.json", 10) == cursors.get("id")
    assert ([str(path)], False) == ([problem.path for problem in cursors.problems], cursors.forgotten)
    assert "older cursor" in str(cursors.problems[0])
    cursors.reset("a.json", "id", 11)
    cursors.save()
    assert Path(f"{path}.damaged").is_symlink() or Path(f"{path}.damaged").exists()
    again = Cursors(directory, "out")
    assert (Cursor("a.json", 11), []) == (again.get("id"), again.problems)


@pytest.mark.parametrize("damage", DAMAGES)
def test_with_both_files_damaged_everything_starts_at_the_earliest(
    directory: Directory, damage: Callable[[Path], None]
) -> None:
    """[12] Nothing is known, and that is said: a start at the latest position would go forward."""
    saved(directory, 19, 20)
    for name in files(directory):
        damage(Path(directory.path, name))

    cursors = Cursors(directory, "out")

    assert (cursors.get("id"), cursors.forgotten, len(cursors.problems)) == (None, True, 2)


def test_a_crash_after_setting_damaged_files_aside_still_starts_at_the_earliest(directory: Directory) -> None:
    """[12] The memory of the damage outlives a process that ended between moving and writing."""
    saved(directory, 10, 20)
    for name in files(directory):
        empty(Path(directory.path, name))
    cursors = Cursors(directory, "out")
    cursors.reset("a.json", "id", 0)
    kill_at("state.written")
    with pytest.raises(Killed):
        cursors.save()
    steps.watch(None)

    assert Cursors(directory, "out").forgotten


def test_one_file_alone_is_no_problem(directory: Directory) -> None:
    """The first save writes one file; it is read back without a complaint."""
    saved(directory, 10)

    cursors = Cursors(directory, "out")

    assert (Cursor("a.json", 10), []) == (cursors.get("id"), cursors.problems)


def test_a_position_beyond_the_stream_goes_back(directory: Directory) -> None:
    """[12] Offset > size: the older generation's position counts if it fits, else the earliest."""
    saved(directory, 10, 20)
    cursors = Cursors(directory, "out")

    assert cursors.confine("id", 20) is None
    problem = cursors.confine("id", 15)
    assert problem is not None
    assert (20, Cursor("a.json", 10)) == (problem.position, cursors.get("id"))
    assert cursors.confine("id", 5) is not None
    assert Cursor("a.json", 0) == cursors.get("id")
    assert cursors.confine("nobody", 5) is None


def test_bounds_beyond_the_stream_are_dropped(directory: Directory) -> None:
    """A live file that a power cut made shorter cannot be read in the same bounds; the position still holds."""
    cursors = Cursors(directory, "out")
    for start in (0, 10):
        cursors.begin("a.json", "id", start, start + 10)

    assert cursors.confine("id", 12) is None
    assert Cursor("a.json", 0, (Bounds(0, 10),)) == cursors.get("id")


# -- crashes and full disks


def kill_at(place: str) -> None:
    """End the process when it reaches this place."""

    def hook(name: str) -> None:
        if name == place:
            raise Killed

    steps.watch(hook)


@pytest.mark.parametrize(
    ("place", "survives"), [("state.written", False), ("state.synced", False), ("state.renamed", True)]
)
@pytest.mark.parametrize("saves", [0, 1, 2, 3])
def test_a_kill_while_saving_leaves_the_old_or_the_new(
    directory: Directory, place: str, survives: bool, saves: int
) -> None:
    """[11] After the write, after its fsync, after the rename: whole either way, and the next save works."""
    cursors = saved(directory, *range(10, 10 + saves))
    cursors.reset("a.json", "id", 50)
    kill_at(place)
    with pytest.raises(Killed):
        cursors.save()
    steps.watch(None)

    again = Cursors(directory, "out")

    before = Cursor("a.json", 9 + saves) if saves else None
    assert (Cursor("a.json", 50) if survives else before) == again.get("id")
    assert again.problems == []
    again.reset("a.json", "id", 60)
    assert again.save()
    assert Cursor("a.json", 60) == Cursors(directory, "out").get("id")


@pytest.mark.parametrize("number", [28, 5, 30])
def test_a_save_that_fails_loses_nothing(directory: Directory, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """[13] ENOSPC, EIO, EROFS: the last save stands, the change waits in memory, the next save writes it."""
    cursors = saved(directory, 10, 20)
    before = {name: Path(directory.path, name).read_bytes() for name in files(directory)}
    cursors.begin("a.json", "id", 20, 30)

    def fail(*_: object) -> None:
        raise OSError(number, "no")

    with monkeypatch.context() as broken:
        broken.setattr(disk, "sync_file", fail)
        for _ in range(5):
            with pytest.raises(OSError, match="no"):
                cursors.save()

    assert before == {name: Path(directory.path, name).read_bytes() for name in files(directory)}
    assert cursors.unsaved
    assert cursors.save()
    assert Cursor("a.json", 20, (Bounds(20, 30),)) == Cursors(directory, "out").get("id")


def test_changes_during_a_save_are_saved_by_the_next(directory: Directory) -> None:
    """A save writes what was there when it began; what came meanwhile is not taken for saved."""
    cursors = Cursors(directory, "out")
    cursors.reset("a.json", "id", 10)

    def meanwhile(name: str) -> None:
        if name == "state.written":
            steps.watch(None)
            cursors.reset("a.json", "id", 20)

    steps.watch(meanwhile)
    cursors.save()

    assert cursors.unsaved
    assert Cursor("a.json", 10) == Cursors(directory, "out").get("id")
    cursors.save()
    assert Cursor("a.json", 20) == Cursors(directory, "out").get("id")


def test_generations_alternate_between_two_files(directory: Directory) -> None:
    """However many saves: two files, mode 0600, the newest and the one before it."""
    saved(directory, *range(7))

    assert files(directory) == ["cursor-out.0.json", "cursor-out.1.json"]
    found = [json.loads(Path(directory.path, name).read_bytes())["body"] for name in files(directory)]
    assert [(body["generation"], body["streams"]["id"]["position"]) for body in found] == [(6, 5), (7, 6)]
    assert {0o600} == {Path(directory.path, name).stat().st_mode & 0o777 for name in files(directory)}
