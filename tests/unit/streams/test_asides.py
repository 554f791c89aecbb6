"""Files that method `rename` moved aside, found by an agent that lost its state; and what was never ours."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.config import Files, Retention
from agent.kit import linux, steps
from agent.kit.disk import Directory
from agent.kit.units import Duration, Size
from agent.streams import asides, copying, names
from agent.streams import engine as engines
from agent.streams import seal as sealing
from agent.streams.engine import peek
from agent.streams.live import Live
from agent.streams.report import directory
from tests.support.bench import LEAF, Bench, Writer, killed, lines
from tests.unit.streams.conftest import Make

ASIDE = f".{LEAF}.rotating"
LONG = "l" * 240 + ".json"


def big(first: int, last: int) -> bytes:
    """Records of 1,000 bytes."""
    return lines(first, last, 1000)


def renaming(make: Make, **settings: object) -> Bench:
    """A bench that renames what holds a thousand bytes."""
    return make(**{"method": "rename", "max_size": Size("1KB"), **settings})


def rest(bench: Bench, passes: int = 8) -> None:
    """A keeper's passes, each some time after the one before."""
    for _ in range(passes):
        bench.step()
        bench.clock.advance(35)


def lose_state(bench: Bench) -> None:
    """The agent is gone, and its state directory as well."""
    bench.crash()
    shutil.rmtree(bench.path / ".telemetry-agent", ignore_errors=True)


def cut_short(bench: Bench, at: str = "tomb.renamed", leaf: str = LEAF) -> None:
    """An agent renames the file aside, is killed at `at`, and loses its state."""
    bench.crash()
    assert killed(at, bench.step)
    lose_state(bench)
    assert (bench.path / names.aside_name(leaf)).exists()
    assert not (bench.path / leaf).exists()


def check(bench: Bench, records: int, leaf: str = LEAF) -> None:
    """Everything is sealed once, in order; nothing was lost, set aside or left."""
    assert (big(0, records), {}) == (bench.sealed(leaf), bench.lost())
    assert [] == bench.names(".*.rotating")
    assert [] == bench.events("quarantine")
    assert "" == bench.stream(leaf).failure


# -- nobody knows it any more


@pytest.mark.parametrize("earlier", [False, True], ids=["first life", "later life"])
@pytest.mark.parametrize("comes", ["at once", "later", "never"])
def test_a_renamed_file_is_finished_though_the_state_was_lost(make: Make, comes: str, *, earlier: bool) -> None:
    """It comes behind what is sealed, and before what is written to its path: at once, later, or never again."""
    bench = renaming(make)
    if earlier:
        bench.writer().write(big(0, 10)).close()
        rest(bench)
    bench.writer().write(big(10 if earlier else 0, 20)).close()
    cut_short(bench)
    if comes == "at once":
        bench.writer().write(big(20, 30)).close()
    rest(bench)
    if comes == "later":
        bench.writer().write(big(20, 30)).close()
        rest(bench)

    check(bench, 20 if comes == "never" else 30)
    assert ["taken up"] == [one["reason"] for one in bench.events("tomb")][:1]


def test_it_stays_while_its_writer_has_it_open(make: Make) -> None:
    """What the writer adds meanwhile is sealed too, before what comes to the path; removed is it when it lets go."""
    bench = renaming(make)
    writer = bench.writer().write(big(0, 10))
    cut_short(bench)
    other = bench.writer().write(big(20, 30))
    rest(bench)
    writer.write(big(10, 20))
    rest(bench)
    assert [ASIDE] == bench.names(".*.rotating")
    writer.close()
    rest(bench)
    other.close()
    rest(bench)

    check(bench, 30)


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("step", ["copy.written", "publish.renamed", "publish.synced"])
def test_what_was_sealed_of_it_is_not_sealed_again(
    make: Make, monkeypatch: pytest.MonkeyPatch, step: str, nth: int
) -> None:
    """Killed in its first or second segment, the state lost: the newest segment, or a part, belongs to its life."""
    for module in (copying, sealing):
        monkeypatch.setattr(module, "SEGMENT_LIMIT", 5_000)
    bench = renaming(make)
    bench.writer().write(big(0, 20)).close()
    assert killed(step, lambda: rest(bench, 3), nth=nth)
    lose_state(bench)
    bench.writer().write(big(20, 30)).close()
    rest(bench, 20)

    check(bench, 30)


@pytest.mark.parametrize("step", ["copy.written", "verify.done"])
def test_a_part_of_it_is_not_set_aside(make: Make, step: str) -> None:
    """Nothing was sealed yet, and nothing stands at the path: the name aside tells whose the part is."""
    bench = renaming(make)
    bench.writer().write(big(0, 10)).close()
    cut_short(bench, step)
    rest(bench)

    check(bench, 10)


def test_a_file_that_got_the_inode_of_a_sealed_one_is_not_taken_for_it(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C5: where no birth is known the guard tells that the file at the path is a new one, which ours comes before."""
    monkeypatch.setattr(linux, "birth_time", lambda _: None)
    bench = renaming(make)
    bench.writer().write(big(0, 10)).close()
    assert killed("publish.synced", bench.step)
    (bench.path / ASIDE).rename(tmp_path / "kept")
    rest(bench, 2)
    bench.writer().write(big(10, 20)).close()
    cut_short(bench)
    (tmp_path / "kept").write_bytes(big(20, 30))
    (tmp_path / "kept").rename(bench.path / LEAF)
    rest(bench)

    check(bench, 30)


def test_one_that_was_only_not_removed_is_removed(make: Make) -> None:
    """All of it is sealed, and retention leaves that to be compared: it goes when its writer lets go."""
    bench = renaming(make)
    writer = bench.writer().write(big(0, 10))
    rest(bench, 3)
    bench.stream().retention = Retention(keep=0, max_age=Duration("1s"), max_total=None)
    assert [] == bench.retain()
    lose_state(bench)
    bench.writer().write(big(10, 20)).close()
    rest(bench)
    assert [ASIDE] == bench.names(".*.rotating")
    writer.close()
    rest(bench)

    check(bench, 20)


def seal_and_lose(bench: Bench, tmp_path: Path) -> None:
    """The agent seals a file, and it is gone. Another link keeps the inode, as the medium does."""
    bench.writer().write(big(0, 10))
    bench.step()
    bench.crash()
    (bench.path / ASIDE).rename(tmp_path / "kept")
    os.link(tmp_path / "kept", tmp_path / "again")


def bring_back(bench: Bench, tmp_path: Path) -> None:
    """The power fails before the removal is durable, and takes the agent and its state along."""
    lose_state(bench)
    os.replace(tmp_path / "again", bench.path / ASIDE)
    (tmp_path / "kept").unlink()
    bench.close()


def fail_to_open(patch: pytest.MonkeyPatch, error: OSError) -> None:
    """Opening the file aside fails, once."""
    real: Callable[..., Live] = Live.open
    errors = [error]

    def opened(directory: Directory, name: str, *, update: bool = False) -> Live:
        if name == ASIDE and errors:
            raise errors.pop()
        return real(directory, name, update=update)

    patch.setattr(Live, "open", opened)


@pytest.mark.parametrize("busy", [False, True])
def test_one_whose_removal_did_not_outlast_a_loss_of_power_is_not_sealed_again(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, busy: bool
) -> None:
    """The newest segment is another file's by then: an older one has its bytes, and what was added is all that is new.

    When it cannot be opened nobody knows that, and it waits.
    """
    bench = renaming(make)
    seal_and_lose(bench, tmp_path)
    bench.writer().write(big(10, 20)).close()
    rest(bench)
    bring_back(bench, tmp_path)
    with (bench.path / ASIDE).open("ab") as file:
        file.write(big(20, 30))
    bench.writer().write(big(30, 40)).close()
    if busy:
        fail_to_open(monkeypatch, OSError(errno.EMFILE, "injected"))
    assert busy == ("cannot be read now" in str(directory(bench.engine).problems))
    rest(bench)

    check(bench, 40)


@pytest.mark.parametrize("left", [big(0, 4), big(0, 7) + bytes(3000)], ids=["shorter", "its end unwritten"])
def test_one_that_is_back_without_its_end_is_not_sealed_again(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: bytes
) -> None:
    """H12: what is left of it, byte for byte or NUL, is what lies in segments."""
    bench = renaming(make)
    seal_and_lose(bench, tmp_path)
    bench.writer().write(big(10, 20)).close()
    rest(bench)
    bring_back(bench, tmp_path)
    (bench.path / ASIDE).write_bytes(left)
    os.utime(bench.path / ASIDE, (1, 1))
    monkeypatch.setattr(engines, "boot_id", lambda: "the next boot")
    bench.writer().write(big(20, 30)).close()
    rest(bench)

    check(bench, 30)


@pytest.mark.parametrize("more", [b"", big(50, 60)], ids=["whole", "longer"])
def test_one_that_is_back_beside_what_came_next_is_told(make: Make, tmp_path: Path, more: bytes) -> None:
    """What lies in segments may be removed. Nobody is told to give it another name, under which it is sealed twice."""
    bench = renaming(make)
    seal_and_lose(bench, tmp_path)
    bench.rotation["method"] = "auto"
    bench.writer().write(big(10, 20))
    bench.seal()
    bring_back(bench, tmp_path)
    with (bench.path / ASIDE).open("ab") as file:
        file.write(more)
    bench.rotation["method"] = "rename"
    bench.writer().write(big(20, 30)).close()
    rest(bench)
    told = [*directory(bench.engine).problems, bench.stream().failure]
    assert [True, True] == ["sealed twice" in one for one in told]
    assert [not more] * 2 == ["remove it" in one for one in told]
    assert [False, False] == ["files.include" in one for one in told]
    (bench.path / ASIDE).unlink()
    bench.writer().write(big(30, 40)).close()
    rest(bench)

    check(bench, 40)


def watch_home(bench: Bench, patch: pytest.MonkeyPatch) -> list[str]:
    """The steps from now on, and when the watched directory itself became durable."""
    done: list[str] = []
    sync = Directory.sync

    def synced(self: Directory) -> None:
        if self.path == str(bench.path):
            done.append("home synced")
        sync(self)

    patch.setattr(Directory, "sync", synced)
    steps.watch(done.append)
    return done


@pytest.mark.parametrize("dies", [False, True])
def test_a_removal_is_durable_before_what_follows_is(
    make: Make, monkeypatch: pytest.MonkeyPatch, *, dies: bool
) -> None:
    """Else a loss of power brings a file back behind what came after it; one sync serves all files of a directory."""
    bench = renaming(make, archive_directory="archive")
    for first in (0, 10):
        for leaf in ("a.json", "b.json"):
            bench.writer(leaf=leaf).write(big(first, first + 10)).close()
        if first and dies:
            bench.crash()
        done = watch_home(bench, monkeypatch)
        rest(bench)
        assert "copy.synced" in done

    assert 1 == done[: done.index("copy.synced")].count("home synced")
    assert big(0, 20) == bench.sealed("a.json") == bench.sealed("b.json")


def test_a_removal_is_durable_before_a_part_that_is_found_is(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that was killed had written what follows, and nothing of both was durable yet."""
    bench = renaming(make, archive_directory="archive", capture=Duration("1s"), max_size=Size("15KB"))
    bench.writer().write(big(0, 20)).close()
    rest(bench)
    assert [] == sorted(bench.path.glob(".*.rotating"))
    bench.writer().write(big(20, 25))
    bench.look()
    bench.clock.advance(2)
    bench.crash()
    assert killed("capture.written", bench.step)
    done = watch_home(bench, monkeypatch)
    bench.look()

    assert ["home synced", "recover.adopted"] == [one for one in done if one in ("home synced", "recover.adopted")]


def test_a_removal_is_durable_before_the_segments_go(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is back when they are gone would be sealed once more."""
    bench = renaming(make, archive_directory="archive")
    bench.writer().write(big(0, 10)).close()
    rest(bench)
    bench.stream().retention = Retention(keep=0, max_age=Duration("1s"), max_total=None)
    done = watch_home(bench, monkeypatch)
    assert ["max_age"] == bench.retain()

    assert ["home synced", "retain.removed"] == [one for one in done if one in ("home synced", "retain.removed")]


@pytest.mark.parametrize("nth", [1, 2])
def test_one_that_cannot_be_read_keeps_nothing_from_starting(
    make: Make, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    """It is told beside the others that are left alone, its stream stays as it is, and it is asked again."""
    bench = renaming(make)
    bench.writer().write(big(0, 10)).close()
    rest(bench)
    bench.writer().write(big(10, 20)).close()
    cut_short(bench)
    others = [bench.path / f".{name}.json.rotating" for name in ("a", "z")]
    for path in others:
        path.mkdir()
    real, asked = Live.first_byte, []

    def first_byte(self: Live, start: int, *breathe: Callable[[], None]) -> int | None:
        if self.name == ASIDE:
            asked.append(start)
            if len(asked) == nth:
                raise OSError(errno.EIO, "injected")
        return real(self, start, *breathe)

    monkeypatch.setattr(Live, "first_byte", first_byte)
    told = directory(bench.engine).problems
    assert ["no regular file", "cannot be read now", "no regular file"] == [
        next(why for why in ("no regular file", "cannot be read now") if why in one) for one in told
    ]
    for path in others:
        path.rmdir()
    rest(bench)

    check(bench, 20)


def test_one_that_cannot_be_opened_is_taken_up_where_nothing_was_sealed(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody holds a lease: none of it can be in segments, and what comes to the path meanwhile is the second."""
    bench = renaming(make)
    bench.writer().write(big(0, 10)).close()
    cut_short(bench)
    bench.writer().write(big(10, 20)).close()
    fail_to_open(monkeypatch, BlockingIOError(errno.EAGAIN, "injected"))
    assert (ASIDE, {}) == (bench.engine.catalog.streams[LEAF].departed, bench.engine.catalog.places[""].strays)
    rest(bench)

    check(bench, 20)


def test_one_that_goes_while_it_is_looked_at_is_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """No stream begins with it."""
    bench = renaming(make)
    (bench.path / ASIDE).write_bytes(big(0, 10))
    fail_to_open(monkeypatch, FileNotFoundError(errno.ENOENT, "injected"))

    assert ({}, []) == (bench.engine.catalog.streams, directory(bench.engine).problems)


def test_many_cost_a_few_listings(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each asks where its stream's file before it lies: all are answered by one, and the agent may leave in between."""
    bench = renaming(make)
    leaves = [f"{number}.json" for number in range(20)]
    for leaf in leaves:
        bench.writer(leaf=leaf).write(big(0, 5)).close()
    rest(bench)
    lose_state(bench)
    for leaf in leaves:
        (bench.path / names.aside_name(leaf)).write_bytes(big(5, 10))
    entries, listed, breaths = Directory.entries, [], []

    def counted(self: Directory) -> object:
        listed.append(self.path)
        return entries(self)

    monkeypatch.setattr(Directory, "entries", counted)
    bench.breathe = lambda: breaths.append(1)
    found = bench.engine.catalog.streams

    assert listed.count(str(bench.path)) < 10
    assert len(breaths) >= len(leaves)
    assert {leaf: names.aside_name(leaf) for leaf in leaves} == {leaf: one.departed for leaf, one in found.items()}


def test_one_behind_a_file_that_its_writer_renamed_is_the_second(make: Make) -> None:
    """The newest segment's file lies under another name, unfinished: that one first, then ours, then the path's."""
    bench = renaming(make, method="auto")
    writer = bench.writer().write(big(0, 10))
    bench.seal()
    writer.write(big(10, 20)).close()
    lose_state(bench)
    (bench.path / LEAF).rename(bench.path / "old")
    (bench.path / ASIDE).write_bytes(big(20, 30))
    (bench.path / LEAF).write_bytes(big(30, 40))
    bench.rotation["method"] = "rename"
    (bench.path / ".other.json.rotating").mkdir()  # so that each look asks again what stands there
    for _ in range(3):
        bench.look()
    assert 1 == [one["reason"] for one in bench.events("tomb")].count("taken up")
    rest(bench, 1)
    bench.crash()  # in between: it is not forgotten that ours comes next
    rest(bench, 12)

    assert [".other.json.rotating"] == bench.names(".*.rotating")
    assert (big(0, 40), {}) == (bench.sealed(), bench.lost())
    assert 2 == [one["reason"] for one in bench.events("tomb")].count("left alone")  # once a start


def test_a_file_before_it_that_is_deleted_meanwhile_does_not_take_it_along(make: Make) -> None:
    """The one that is finished first vanishes: what it still had is counted, and ours is next."""
    bench = renaming(make, method="auto", max_size=None, max_age=None)
    bench.writer().write(big(0, 10))
    bench.seal()
    lose_state(bench)
    bench.rotation["method"] = "rename"
    (bench.path / LEAF).rename(bench.path / "old")
    (bench.path / ASIDE).write_bytes(big(10, 20))
    assert "old" == bench.stream().departed
    (bench.path / "old").unlink()
    rest(bench)

    check(bench, 20)


def captured(make: Make) -> tuple[Bench, Writer]:
    """A bench whose first ten records lie in an open part, and their writer."""
    bench = renaming(make, capture=Duration("1s"), max_size=Size("15KB"))
    writer = bench.writer().write(big(0, 10))
    bench.step()
    bench.clock.advance(2)
    bench.step()
    return bench, writer


def test_what_was_captured_of_it_is_not_sealed_again(make: Make) -> None:
    """Its open part goes on with it."""
    bench, writer = captured(make)
    assert [f".{LEAF}.open"] == bench.names(".*.open")
    writer.write(big(10, 20)).close()
    bench.crash()
    assert killed("tomb.renamed", bench.step)
    lose_state(bench)
    bench.writer().write(big(20, 40)).close()
    del bench.rotation["capture"]
    rest(bench)

    check(bench, 40)


@pytest.mark.parametrize("known", ["a hint", "a part", "a segment", "nothing"])
def test_under_another_method_it_is_taken_up_where_something_tells_that_it_was_ours(make: Make, known: str) -> None:
    """The method was changed while no agent ran. The name alone could be anybody's: that one is told."""
    bench = renaming(make)
    bench.writer().write(big(0, 10)).close()
    steps_ = {"a part": "copy.written", "a segment": "publish.synced"}
    bench.crash()
    assert killed(steps_.get(known, "tomb.renamed"), bench.step)
    if known != "a hint":
        lose_state(bench)
    bench.writer().write(big(10, 20)).close()
    bench.rotation["method"] = "auto"
    rest(bench)

    if known != "nothing":
        check(bench, 20)
        return
    assert big(10, 20) == bench.sealed()
    assert big(0, 10) == (bench.path / ASIDE).read_bytes()
    assert ["rotation.method" in one for one in directory(bench.engine).problems] == [True]


def test_it_is_taken_up_with_the_directory_in_which_it_lies(make: Make) -> None:
    """A directory below that comes while the agent runs."""
    bench = renaming(make, files=Files(recursive=True))
    bench.step()
    made = bench.path.parent / "below"
    made.mkdir()
    (made / ASIDE).write_bytes(big(0, 10))
    (made / LEAF).write_bytes(big(10, 20))
    made.rename(bench.path / "below")
    for _ in range(8):
        bench.step()
        bench.engine.lookout.look("below", None)
        bench.clock.advance(35)
    assert [] == bench.events("error")
    assert 2 == len(os.listdir(bench.path / "below"))
    for path in (bench.path / "below").iterdir():
        path.rename(bench.path / path.name)

    assert big(0, 20) == bench.sealed(f"below/{LEAF}")


def test_a_look_without_an_agent_shows_it_and_changes_nothing(make: Make) -> None:
    """`status` tells what will be sealed."""
    bench = renaming(make)
    bench.writer().write(big(0, 10)).close()
    cut_short(bench)
    before = sorted(path.name for path in bench.path.iterdir())
    with peek(bench.config, bench.clock) as engine:
        assert ASIDE == engine.catalog.streams[LEAF].departed

    assert before == sorted(path.name for path in bench.path.iterdir())


def test_a_look_without_an_agent_says_nothing_of_what_is_left_alone(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cat` would say it each time; whoever seals says it, and `status` shows it."""
    bench = renaming(make)
    (bench.path / ASIDE).mkdir()
    said: list[str] = []
    monkeypatch.setattr(asides._log, "warning", lambda event, **_: said.append(event))
    with peek(bench.config, bench.clock) as engine:
        assert 1 == len(directory(engine).problems)

    assert [] == said


# -- names that were cut


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("comes", ["at once", "later"])
def test_a_cut_name_is_known_by_the_files_and_segments_that_are_there(make: Make, comes: str, *, sealed: bool) -> None:
    """It does not tell the whole name: that of a segment, or of the file at the path, gives the same; else it waits."""
    bench = renaming(make)
    if sealed:
        bench.writer(leaf=LONG).write(big(0, 10)).close()
        rest(bench)
    bench.writer(leaf=LONG).write(big(10 if sealed else 0, 20)).close()
    cut_short(bench, leaf=LONG)
    if comes == "later":
        rest(bench, 2)
        assert [not sealed] == [one == names.aside_name(LONG) for one in bench.names(".*.rotating")] or sealed
        assert sealed != any("no file of that name" in one for one in directory(bench.engine).problems)
    bench.writer(leaf=LONG).write(big(20, 30)).close()
    bench.engine.lookout.look("", [LONG])
    rest(bench)

    check(bench, 30, LONG)
    assert [] == directory(bench.engine).problems


def test_a_cut_name_is_not_taken_for_a_whole_one() -> None:
    """What is read from a name gives that name again, or nothing is read."""
    for leaf in (LEAF, "a b\n.json", ".rotating", "x", "y" * 223, "ü" * 111):
        assert leaf == names.leaf_of_aside(names.aside_name(leaf))
    for name in (names.aside_name(LONG), names.aside_name("ü" * 127), ".rotating", "x.rotating", ".x.tomb", ".", ""):
        assert names.leaf_of_aside(name) is None
    assert names.leaf_of_aside("no name of a file: \ud800") is None
    assert [True, False, False] == [names.is_aside(name) for name in ("..json.rotating", "..rotating", ".rotating")]


# -- what was never ours


def _directory(path: Path) -> None:
    path.mkdir()


def _symlink(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def _hardlink(path: Path) -> None:
    path.write_bytes(big(90, 99))
    os.link(path, path.with_name("second"))


def _document(path: Path) -> None:
    path.write_text('{\n  "name": "package"\n}\n')


@pytest.mark.parametrize("put", [_directory, _symlink, os.mkfifo, _hardlink, _document])
def test_what_was_never_ours_is_left_alone_and_told(make: Make, put: Callable[[Path], None]) -> None:
    """Nothing of it is touched, nothing is lost, and both `status` and the stream say what to do, until it is done."""
    bench = renaming(make)
    bench.path.mkdir(exist_ok=True)
    put(bench.path / ASIDE)
    before = os.lstat(bench.path / ASIDE)
    bench.writer().write(big(0, 10)).close()
    rest(bench)

    assert before == os.lstat(bench.path / ASIDE) or os.lstat(bench.path / ASIDE).st_mtime == before.st_mtime
    assert big(0, 10) == (bench.path / LEAF).read_bytes()
    assert "another one stands there" in bench.stream().failure
    assert bench.engine.catalog.places[""].strays[ASIDE] in bench.stream().failure
    assert 1 == len([one for one in directory(bench.engine).problems if one.startswith(f"{ASIDE} is left alone")])
    assert 1 == [one["reason"] for one in bench.events("tomb")].count("left alone")
    assert 1 == len(bench.events("error"))

    shutil.move(bench.path / ASIDE, bench.path.parent / "away")
    rest(bench)
    check(bench, 10)
    assert [] == directory(bench.engine).problems
    assert 1 == len(bench.events("recovered"))


@pytest.mark.parametrize("name", [".notes.txt.rotating", ".rotating"])
def test_a_hidden_file_of_no_stream_is_nobodys(make: Make, name: str) -> None:
    """`files.include` does not select the name in it, or there is none."""
    bench = renaming(make)
    (bench.path / name).write_bytes(big(0, 10))
    bench.writer().write(big(0, 10)).close()
    rest(bench)

    assert big(0, 10) == (bench.path / name).read_bytes()
    assert [] == directory(bench.engine).problems


def test_twenty_are_shown_at_most(make: Make) -> None:
    """In all directories together; what was not asked for yet has nothing to show."""
    bench = renaming(make, files=Files(recursive=True))
    for below in ("a", "b"):
        for number in range(15):
            (bench.path / below / f".{number}.json.rotating").mkdir(parents=True)
    bench.look()
    strays = bench.engine.catalog.places["a"].strays
    strays.update(dict.fromkeys(list(strays)[:3], ""))

    assert 20 == len([one for one in directory(bench.engine).problems if "left alone" in one])


def test_one_is_not_taken_up_while_the_writer_of_its_name_begins_anew(make: Make) -> None:
    """The file at the path is still the one of the stream's life, whatever its size: nothing comes before it."""
    bench, writer = captured(make)
    assert 10_000 == bench.life().sealed
    (bench.path / ASIDE).write_bytes(big(50, 60))
    (bench.path / ".other.json.rotating").mkdir()  # so that each look asks again what stands there
    bench.crash()
    bench.look()
    writer.cut().write(big(10, 12))
    bench.look()
    bench.crash()
    bench.rotation = {}
    bench.rotate()

    assert (big(0, 12), {}) == (bench.whole(), bench.lost())
    assert ["shrunk"] == [one["reason"] for one in bench.events("incarnation")]
    assert big(50, 60) == (bench.path / ASIDE).read_bytes()


def test_a_file_that_somebody_put_there_meanwhile_stands_in_the_way_and_that_is_told(make: Make) -> None:
    """Its stream went on without it, so it has no place there; under a name of its own it is sealed."""
    bench = renaming(make)
    bench.writer().write(big(0, 10)).close()
    rest(bench)
    writer = bench.writer().write(big(10, 11))
    bench.look()
    (bench.path / ASIDE).write_bytes(big(50, 60))
    writer.write(big(11, 20)).close()
    rest(bench)
    bench.crash()
    rest(bench)

    assert "another one stands there" in bench.stream().failure
    assert [True] == ["its stream went on without it" in one for one in directory(bench.engine).problems]
    (bench.path / ASIDE).rename(bench.path / "mine.json")
    rest(bench)
    check(bench, 20)
    assert big(50, 60) == bench.sealed("mine.json")
    assert [] == directory(bench.engine).problems
