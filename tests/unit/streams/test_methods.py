"""The methods that must be asked for: `rename`, for writers that reopen, and `copytruncate`, which may lose records."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from agent.kit import linux
from agent.kit.disk import Directory
from agent.kit.units import Size
from agent.streams import copying, names
from agent.streams import seal as sealing
from tests.support.bench import LEAF, Bench, at, fail, killed, lines
from tests.unit.streams.conftest import Make, overtake


def big(first: int, last: int) -> bytes:
    """Records of 1,000 bytes."""
    return lines(first, last, 1000)


def refuse(*_: object) -> None:
    """What the kernel answers who may not ask for a lease."""
    raise PermissionError(errno.EACCES, "not the owner")


# -- copytruncate


def test_nothing_is_truncated_that_only_waits_for_the_next_segment(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file larger than several segments is truncated once the last of it is sealed."""
    for module in (copying, sealing):
        monkeypatch.setattr(module, "SEGMENT_LIMIT", 10_000)
    bench = make(method="copytruncate")
    bench.engine.sealer.copier.member_size = 2000
    bench.writer().write(big(0, 100))
    for _ in range(20):
        bench.seal()
        bench.clock.advance(40)

    assert (big(0, 100), {}) == (bench.sealed(), bench.lost())
    assert 0 == (bench.path / LEAF).stat().st_size


def test_nothing_is_truncated_that_could_not_be_sealed(make: Make) -> None:
    """What came while the first segment was made, and fails to be sealed, stays live until that works."""
    bench = make(method="copytruncate")
    writer = bench.writer().write(big(0, 10))

    def more() -> None:
        writer.write(big(10, 20))
        bench.breathe = fail(OSError(errno.EIO, "injected"))

    with at("publish.synced", more):
        bench.seal()
    bench.breathe = lambda: None
    assert big(10, 20) in (bench.path / LEAF).read_bytes()
    bench.clock.advance(40)
    bench.seal()

    assert (big(0, 20), {}) == (bench.sealed(), bench.lost())


def test_a_file_that_may_not_be_truncated_stops_no_other(make: Make) -> None:
    """A second name came up just then: it is told, and the other streams of the batch are released."""
    bench = make(method="copytruncate")
    (bench.path / "a.json").write_bytes(big(0, 10))
    bench.look()
    with at("publish.synced", lambda: os.link(bench.path / "a.json", bench.path / "second")):
        bench.seal("a.json")

    assert "hardlink" in [entry["reason"] for entry in bench.events("refuse")]
    assert big(0, 10) == bench.sealed("a.json") == (bench.path / "a.json").read_bytes()


def test_a_truncation_that_fails_is_told_until_one_works(make: Make) -> None:
    """The seal before it worked, and says nothing of that."""
    bench = make(method="copytruncate")
    writer = bench.writer().write(big(0, 10))
    with at("reset.truncated", fail(OSError(errno.EIO, "injected"))):
        bench.seal()
    assert ("[Errno 5] injected", []) == (bench.stream().failure, bench.events("recovered"))
    bench.clock.advance(40)
    writer.write(big(10, 20))
    bench.seal()

    assert ("", 1) == (bench.stream().failure, len(bench.events("recovered")))


# -- rename


def test_a_renamed_file_stays_while_its_writer_rests(make: Make) -> None:
    """Case 6: it still has the file open, and nobody would read what it adds after a removal; a reader may have it."""
    bench = make(method="rename", max_size=Size("1KB"))
    writer = bench.writer().write(big(0, 10))
    bench.step()
    with (bench.path / ".telemetry.json.rotating").open():
        for first in (10, 20):
            for _ in range(8):
                bench.clock.advance(15)
                bench.step()
            writer.write(big(first, first + 10))
        assert 1 == [entry["reason"] for entry in bench.events("tomb")].count("kept")
        writer.close()
        for _ in range(8):
            bench.clock.advance(15)
            bench.step()

    assert (big(0, 30), {}) == (bench.sealed(), bench.lost())
    assert [] == bench.names(".*.rotating")


def test_where_writers_cannot_be_asked_for_a_renamed_file_stays_longer(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease on somebody else's file needs CAP_LEASE: without it a minute's rest decides, as without leases."""
    bench = make(method="rename", max_size=Size("1KB"))
    writer = bench.writer().write(big(0, 10))
    bench.step()
    monkeypatch.setattr(linux.fcntl, "fcntl", refuse)
    for _ in range(4):
        bench.clock.advance(12)
        bench.step()
    assert [".telemetry.json.rotating"] == bench.names(".*.rotating")
    writer.write(big(10, 20))
    for _ in range(8):
        bench.clock.advance(12)
        bench.step()

    assert (big(0, 20), {}) == (bench.sealed(), bench.lost())
    assert [] == bench.names(".*.rotating")


def test_a_writer_that_rotates_by_itself_just_before_keeps_its_order(make: Make) -> None:
    """H6: a hook makes it rename its file and begin another one: both are sealed, the old one first."""
    bench = make(method="rename", max_size=Size("1KB"))
    live, more = bench.path / LEAF, bench.path / "more"
    live.write_bytes(big(0, 10))
    more.write_bytes(big(10, 20))
    bench.rotation["pre"] = ("/bin/sh", "-c", f"test -e {more} && mv {live} {live}.old && mv {more} {live}; true")
    for _ in range(6):
        bench.step()
        bench.clock.advance(35)

    assert (big(0, 20), {}) == (bench.sealed(), bench.lost())


# -- a writer that is faster than the renaming


def rest(bench: Bench) -> None:
    """A keeper's passes, each some time after the one before."""
    for _ in range(12):
        bench.step()
        bench.clock.advance(35)


@contextmanager
def just_before(patch: pytest.MonkeyPatch, act: Callable[[], None], after: Callable[[], None]) -> Iterator[None]:
    """Do something after the file was looked at and before it is renamed, and something when it was, once each."""
    real = Directory.displace
    acts = {"before": act, "after": after}

    def displace(self: Directory, old: str, new: str) -> None:
        if not names.is_aside(new):
            real(self, old, new)
            return
        acts.pop("before", lambda: None)()
        real(self, old, new)
        acts.pop("after", lambda: None)()

    with patch.context() as inner:
        inner.setattr(Directory, "displace", displace)
        yield


def nothing() -> None:
    """The writer rests."""


@pytest.mark.parametrize("old", ["kept", "deleted"])
@pytest.mark.parametrize("third", [False, True], ids=["path free", "path taken"])
@pytest.mark.parametrize("dies", ["no", "with its hints", "with its state lost"])
def test_a_file_that_was_not_looked_at_is_not_taken_for_the_one_that_was(
    make: Make, monkeypatch: pytest.MonkeyPatch, old: str, dies: str, *, third: bool
) -> None:
    """H6: the writer rotates by itself between look and renaming, and perhaps once more: the old file comes first."""
    bench = make(method="rename", max_size=Size("1KB"))
    live = bench.path / LEAF
    bench.writer().write(big(0, 10)).close()
    rest(bench)
    bench.writer().write(big(10, 20)).close()

    def rotates() -> None:
        if old == "kept":
            live.rename(bench.path / "old")
        else:
            live.unlink()
        live.write_bytes(big(20, 30))

    def again() -> None:
        if third:
            live.write_bytes(big(30, 40))

    if dies == "no":
        with just_before(monkeypatch, rotates, again):
            bench.step()
        rest(bench)
        assert [] == bench.events("error")
    else:
        bench.crash()
        with just_before(monkeypatch, rotates, again):
            assert killed("tomb.renamed", bench.step)
        assert [f".{LEAF}.rotating"] == bench.names(".*.rotating")
        bench.crash()
        if dies == "with its state lost":
            shutil.rmtree(bench.path / ".telemetry-agent")
        rest(bench)

    # Of a file that left before anything of it was sealed only the hints know.
    gone = old == "deleted" or dies == "with its state lost"
    expected = big(0, 10) + (b"" if gone else big(10, 20)) + big(20, 40 if third else 30)
    assert expected == bench.sealed()
    assert (10_000 if old == "deleted" and dies != "with its state lost" else 0) == sum(bench.lost().values())
    assert [] == bench.names(".*.rotating")


def test_what_comes_to_the_path_stays_where_no_file_system_refuses_to_replace(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS and FUSE don't know RENAME_NOREPLACE: what comes while the one before it is renamed is sealed as well."""
    bench = make(method="rename", max_size=Size("1KB"))
    bench.writer().write(big(0, 10)).close()
    came = overtake(monkeypatch, bench.path / LEAF, big(10, 20))
    rest(bench)

    assert [LEAF] == came
    assert (big(0, 20), {}) == (bench.sealed(), bench.lost())


def test_what_is_no_file_is_given_back(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It came to the path and went aside with the renaming: it is back there, and refused."""
    bench = make(method="rename", max_size=Size("1KB"))
    live = bench.path / LEAF
    live.write_bytes(big(0, 10))

    def swaps() -> None:
        live.rename(bench.path / "old")
        live.mkdir()

    with just_before(monkeypatch, swaps, nothing):
        bench.step()
    assert live.is_dir()
    live.rmdir()
    live.write_bytes(big(10, 20))
    rest(bench)

    assert (big(0, 20), {}) == (bench.sealed(), bench.lost())
    assert [] == bench.names(".*.rotating")


def test_what_is_no_file_and_cannot_be_given_back_is_left_alone_and_told(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file came to the path meanwhile: that one, and the old one before it, are sealed once the way is free."""
    bench = make(method="rename", max_size=Size("1KB"))
    live, aside = bench.path / LEAF, bench.path / f".{LEAF}.rotating"
    live.write_bytes(big(0, 10))

    def swaps() -> None:
        live.rename(bench.path / "old")
        live.mkdir()

    with just_before(monkeypatch, swaps, lambda: str(live.write_bytes(big(10, 20))) and None):
        bench.step()
    assert aside.is_dir()
    assert "another one stands there" in bench.stream().failure
    aside.rmdir()
    rest(bench)

    assert (big(0, 20), {}, "") == (bench.sealed(), bench.lost(), bench.stream().failure)
    assert [] == bench.names(".*.rotating")


def test_a_renamed_file_that_is_written_anew_while_its_end_is_sealed_is_kept_for_that(make: Make) -> None:
    """It is just as long as before, so only its new life tells that it is not finished yet."""
    bench = make(method="rename", max_size=Size("1KB"))
    aside = bench.path / f".{LEAF}.rotating"
    bench.writer().write(big(0, 10) + b"no end").close()
    with (bench.path / LEAF).open("rb"):
        bench.step()
        with at("copy.synced", lambda: str(aside.write_bytes(big(20, 30) + b"not it")) and None):
            rest(bench)
    rest(bench)

    assert big(0, 10) + b"no end" + big(20, 30) + b"not it" == bench.sealed()
    assert ({}, []) == (bench.lost(), bench.names(".*.rotating"))


@pytest.mark.parametrize("content", [b'{\n "a": 1\n}\n', b'{"name": "one line without an end"}', bytes(8192)])
def test_what_is_no_log_is_not_moved_aside(make: Make, content: bytes) -> None:
    """Whoever reads a document by its path would miss it: it is refused, or asked again, where it stands."""
    bench = make(method="rename", max_age=60.0)
    (bench.path / "package.json").write_bytes(content)
    bench.step()
    for _ in range(3):
        bench.clock.advance(61)
        bench.step()

    assert content == (bench.path / "package.json").read_bytes()
    assert ["package.json"] == [one.name for one in bench.path.iterdir() if one.is_file()]


def test_a_captured_file_is_moved_aside_although_nothing_is_left_to_seal(make: Make) -> None:
    """What was sealed of it has told already that it is a log."""
    bench = make(method="rename", max_age=60.0, capture=1.0)
    bench.writer().write(lines(0, 10)).close()
    bench.look()
    for _ in range(10):
        bench.clock.advance(20)
        bench.step()

    assert not (bench.path / LEAF).exists()
    assert lines(0, 10) == bench.sealed()


def test_a_file_allocated_ahead_is_finished(make: Make) -> None:
    """The NULs in which it ends were never written: the file goes, nothing is lost, and the next one has its turn."""
    bench = make(method="rename", max_age=60.0)
    writer = bench.writer("hold").write(lines(0, 100))
    os.posix_fallocate(writer.fd, 0, 65_536)
    writer.close()
    bench.look()
    for _ in range(4):
        bench.clock.advance(61)
        bench.step()
    assert [] == [one.name for one in bench.path.iterdir() if names.is_aside(one.name)]
    bench.writer().write(lines(100, 200)).close()
    for _ in range(4):
        bench.clock.advance(61)
        bench.step()

    assert lines(0, 200) == bench.sealed()
    assert {} == bench.lost()


def test_a_writer_that_allocated_ahead_may_still_fill_its_renamed_file(make: Make) -> None:
    """While it has the file open the NULs are its room: they are waited for."""
    bench = make(method="rename", max_age=60.0)
    writer = bench.writer("hold").write(lines(0, 100))
    os.posix_fallocate(writer.fd, 0, 65_536)
    bench.look()
    for _ in range(4):
        bench.clock.advance(61)
        bench.step()
    writer.write(lines(100, 200)).close()
    for _ in range(4):
        bench.clock.advance(61)
        bench.step()

    assert lines(0, 200) == bench.sealed()
    assert {} == bench.lost()
