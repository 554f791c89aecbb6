"""The keeper: what is due is done in one pass; a stop leaves nothing half-done."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from agent.config import Files, Retention, Rotation, StreamRule
from agent.control import WatcherStatus
from agent.duties import keeper as duty
from agent.duties import retainer
from agent.duties.retainer import RETAIN_EVERY, RETAIN_SOON
from agent.duties.snapshot import Gauges
from agent.kit.errors import AgentError, LockedError, StoppingError
from agent.kit.units import Duration, Size
from agent.streams import dues, shelves
from agent.streams.dues import Due
from agent.streams.lookout import Lookout
from agent.streams.outcome import Sealed
from agent.streams.retire import Retirer
from agent.streams.rotate import Rotator
from tests.support.bench import LEAF, Writer, at, fail
from tests.support.program import AGENT, Program
from tests.unit.duties.conftest import House, big


def test_a_stream_over_its_size_is_sealed_and_released_in_one_step(house: House) -> None:
    """The bytes go into a segment and the space comes back, while the writer has the file open."""
    writer = Writer(house.path / LEAF).write(big(0, 50))
    house.step()

    assert 1 == len(house.segments())
    assert writer.path.stat().st_blocks * 512 <= 8192
    writer.close()


def test_a_stream_below_its_size_waits(house: House) -> None:
    """Nothing is due, and the next step is asked for when it may be."""
    writer = Writer(house.path / LEAF).write(big(0, 5))
    house.step()
    writer.write(big(5, 7))
    after = house.step(1)

    assert [] == house.segments()
    assert 0 < after <= 3
    writer.close()


def test_what_a_step_finds_is_shown_within_a_second(house: House) -> None:
    """Also what comes right after a snapshot: the next step is due with the next one, and nothing else wakes it."""
    house.step()
    Writer(house.path / LEAF).write(big(0, 5)).close()
    after = house.step(0.3)
    assert 0 < after < 0.75
    house.step(after)

    assert [LEAF] == [stream.name for stream in house.keeper.status().streams]
    assert house.step(after) > 1


def test_age_is_counted_from_the_first_unsealed_byte(tmp_path: Path) -> None:
    """The step asks to be called when the age is reached, and seals then."""
    house = House(tmp_path, rotation=Rotation(max_size=None, max_age=Duration(60)))
    house.open()
    Writer(house.path / LEAF).write(big(0, 5)).close()
    os.utime(house.path / LEAF, (house.clock.now(), house.clock.now()))
    house.step()
    house.step(59)
    assert [] == house.segments()
    house.step(1.001)

    assert 1 == len(house.segments())
    house.keeper.close()


def test_a_schedule_seals_at_its_time(tmp_path: Path) -> None:
    """At the next full hour, local time."""
    house = House(tmp_path, rotation=Rotation(max_size=None, max_age=None, schedule="@hourly"))
    house.open()
    Writer(house.path / LEAF).write(big(0, 5)).close()
    house.step()
    assert [] == house.segments()
    house.step(3600)

    assert 1 == len(house.segments())
    house.keeper.close()


def test_a_schedule_that_a_reload_brings_is_in_force_at_once(tmp_path: Path) -> None:
    """Also for bytes that waited before, and a reload that leaves the schedule as it was does not end it."""
    house = House(tmp_path, rotation=Rotation(max_size=None, max_age=None))
    house.open()
    Writer(house.path / LEAF).write(big(0, 5)).close()
    house.step()
    for _ in range(2):
        rotation = Rotation(max_size=None, max_age=None, schedule="@hourly")
        house.keeper.configure(msgspec.structs.replace(house.config, rotation=rotation))
        house.step()
    house.step(3600)

    assert 1 == len(house.segments())
    house.keeper.close()


@pytest.mark.parametrize("capture", [None, Duration(1)])
def test_a_time_of_the_schedule_without_an_agent_is_made_up_for(tmp_path: Path, capture: Duration | None) -> None:
    """Bytes from before it are sealed at the next start, live or captured ones."""
    rules = Rotation(max_size=None, max_age=None, schedule="@hourly", capture=capture)
    house = House(tmp_path, rotation=rules)
    house.open()
    Writer(house.path / LEAF).write(big(0, 5)).close()
    house.step()
    house.step(1)
    house.keeper.close()
    later = House(tmp_path, rotation=rules)
    later.clock.advance(3601)
    later.open()
    later.step()

    assert 1 == len(later.segments())
    later.keeper.close()


@pytest.mark.parametrize("jump", [-86_400 * 300, 86_400 * 300])
def test_a_schedule_follows_a_clock_that_is_set(tmp_path: Path, jump: float) -> None:
    """Back or ahead by months: the next rotation comes within its hour, though nothing else wakes the stream."""
    house = House(tmp_path, rotation=Rotation(max_size=None, max_age=None, schedule="@hourly"))
    house.open()
    Writer(house.path / LEAF).write(big(0, 5)).close()
    wait, passed = house.step(), 0.0
    house.clock.jump(jump)
    while passed <= 3700 and not house.segments():
        passed += wait
        wait = max(0.01, house.step(wait))

    assert 1 == len(house.segments())
    house.keeper.close()


def test_what_lies_in_a_new_directory_below_comes_due(tmp_path: Path) -> None:
    """Also when nobody writes there any more: it is found with its directory, however deep, and no look is owed."""
    house = House(tmp_path, files=Files(recursive=True))
    (tmp_path / "deep/er").mkdir(parents=True)
    Writer(tmp_path / "deep/er" / LEAF).write(big(0, 50)).close()
    house.open()
    house.step()

    assert 1 == len(list((tmp_path / "deep/er").glob("*.gz")))
    house.keeper.close()


def test_nothing_whole_is_tried_ever_later(house: House) -> None:
    """A due stream without a line end is not copied at every step."""
    writer = Writer(house.path / LEAF).write(b'{"x":"' + b"y" * 20_000)
    tries = []
    with at("seal.opened", lambda: None) as reached:
        for _ in range(200):
            house.step(0.1)
            tries.append(reached["seal.opened"])

    assert [] == house.segments()
    assert tries[-1] <= 10
    writer.write(b'"}\n')
    house.step(30)
    assert 1 == len(house.segments())
    writer.close()


def test_retention_follows_a_seal(tmp_path: Path) -> None:
    """Surplus segments go soon after the new one is there, and each is told."""
    house = House(tmp_path, retention=Retention(keep=2, max_age=None, max_total=None))
    house.open()
    writer = Writer(house.path / LEAF)
    for number in range(6):
        writer.write(big(number * 20, number * 20 + 20))
        house.step(5)
    house.step(RETAIN_SOON)  # far less than what passes between two looks at ages

    assert 2 == len(house.segments())
    assert 4 == house.events().count("retire")
    writer.close()
    house.keeper.close()


def test_retention_waits_for_the_first_sweep(tmp_path: Path) -> None:
    """Before everything was looked at, a stream may seem gone: nothing is deleted, and the agent is not ready."""
    before = House(tmp_path)
    before.open()
    writer = Writer(before.path / LEAF)
    for number in range(3):
        writer.write(big(number * 20, number * 20 + 20))
        before.step(5)
    writer.close()
    before.keeper.close()
    house = House(tmp_path, retention=Retention(keep=1, max_age=None, max_total=None))
    seen = [(house.keeper.ready, len(house.segments()))]
    house.open()
    house.keeper.retain()
    seen.append((house.keeper.ready, len(house.segments())))
    house.step(RETAIN_EVERY)
    seen.append((house.keeper.ready, len(house.segments())))

    assert [(False, 3), (False, 3), (True, 1)] == seen
    house.keeper.close()


def test_a_file_that_came_and_went_is_shown_no_longer(house: House) -> None:
    """Retention has nothing to delete, and drops what left nothing behind all the same."""
    Writer(house.path / LEAF).write(big(0, 5)).close()
    house.step()
    (house.path / LEAF).unlink()
    house.step()
    house.step(shelves.GONE)
    house.step(1)

    assert [] == house.keeper.status().streams


def test_what_cannot_be_deleted_is_told_now_and_then(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pass of retention tries again; nothing says of what is still there that it went."""
    writer = Writer(house.path / LEAF)
    for number in range(4):
        writer.write(big(number * 20, number * 20 + 20))
        house.step(5)
    writer.close()
    rules = Retention(keep=1, max_age=None, max_total=None)
    house.keeper.configure(msgspec.structs.replace(house.config, retention=rules))
    told: list[tuple[str, object]] = []

    def note(event: str, **details: object) -> None:
        told.append((event, details.get("count")))

    monkeypatch.setattr(retainer, "_log", SimpleNamespace(info=note, error=note))
    with monkeypatch.context() as broken:
        broken.setattr(Retirer, "retire", lambda *_: fail(OSError(5, "EIO"))())
        for _ in range(5):
            house.step(RETAIN_EVERY)
        assert [("segments cannot be deleted", 3)] == told
        house.step(retainer.TELL_AGAIN)
        assert [("segments cannot be deleted", 3)] * 2 == told
    house.step(RETAIN_EVERY)

    assert [("retired", None)] * 3 == told[2:]
    assert 1 == len(house.segments())


def test_a_part_that_fails_shows_in_the_status_at_once(tmp_path: Path) -> None:
    """Also where nothing happens in the directory and no new snapshot is wanted."""
    house = House(tmp_path)
    keeper = house.open()
    house.step()
    before = keeper.status()
    house.components.report("forward out", "failed", "connection refused")
    after = keeper.status()

    assert "forward out" not in [one.name for one in before.components]
    assert ("forward out", "failed") in [(one.name, one.state) for one in after.components]
    assert before.now == after.now
    keeper.close()


def test_too_much_is_told_not_deleted(tmp_path: Path) -> None:
    """A directory above its critical size that retention may not empty is a problem in status and components."""
    house = House(tmp_path, files=Files(critical_total=Size(20_000)))
    house.open()
    writer = Writer(house.path / LEAF).write(b'{"x":"' + b"y" * 50_000)
    house.step()
    house.step(RETAIN_EVERY)
    status = house.keeper.status()

    assert status.directory.critical
    assert "critical_total" in status.directory.problems[0]
    house.step(RETAIN_EVERY)
    assert {"directory": "degraded"} == {one.name: one.state for one in house.components.all()}
    assert 1 == house.events().count("error")  # told once, however long it lasts
    assert b'{"x":"' + b"y" * 50_000 == writer.path.read_bytes()
    writer.close()
    writer.path.unlink()
    house.step(RETAIN_EVERY)
    assert not house.keeper.status().directory.critical
    assert {"recovered"} < {*house.events()}
    house.keeper.close()


def test_a_second_keeper_is_refused_with_the_pid_of_the_first(house: House) -> None:
    """H9, case 23: also with another state directory; the lock is on the watched directory itself."""
    from agent.config import AgentSection

    other = House(house.path, agent=AgentSection(state_directory=str(house.path.parent / "elsewhere")))
    with pytest.raises(LockedError) as caught:
        other.open()

    assert os.getpid() == caught.value.pid


def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    """Case 23: an agent that holds it is killed -9: no stale lock, the next one starts at once and works."""
    other = House(tmp_path)
    with Program(AGENT, tmp_path, {}) as program:
        program.wait_ready()
        with pytest.raises(LockedError) as caught:
            other.open()
        assert program.pid == caught.value.pid
        assert -signal.SIGKILL == program.stop(signal.SIGKILL).status
    writer = Writer(tmp_path / LEAF).write(big(0, 50))
    other.open()
    other.step()

    assert 1 == len(other.segments())
    writer.close()
    other.keeper.close()


def test_a_stop_ends_a_step_at_its_next_breath(house: House) -> None:
    """Case 30: SIGTERM in the middle of a copy: what is half-done is found again, nothing is lost or twice."""
    Writer(house.path / LEAF).write(big(0, 3000)).close()
    with at("copy.member", house.keeper.stop), pytest.raises(StoppingError):
        house.step()
    house.keeper.close()
    again = House(house.path)
    again.open()
    again.step()
    again.step(60)
    report = again.keeper.status().streams[0]
    again.keeper.close()
    house.keeper = again.keeper

    assert (3_000_000, 1) == (report.sealed, report.segments)
    assert [".telemetry-agent", LEAF, *again.segments()] == sorted(os.listdir(again.path))


def test_a_status_before_the_start_says_so(tmp_path: Path) -> None:
    """Never half an answer."""
    with pytest.raises(AgentError, match="starting"):
        House(tmp_path).keeper.status()


def test_gauges_say_what_the_snapshot_says(house: House) -> None:
    """How growth is found, and how often everything was looked at: counted up, however often it is shown."""
    gauges = Gauges(house.keeper.engine, house.metrics)
    snapshot = house.keeper.status()
    for rescans in (2, 2, 5):
        watcher = WatcherStatus(mode="timer", directories=3, rescans=rescans)
        gauges.show(msgspec.structs.replace(snapshot, watcher=watcher))

    value = house.metrics.registry.get_sample_value
    assert 5 == value("telemetry_agent_watcher_rescans_total")
    assert 3 == value("telemetry_agent_watched_directories")
    assert {"events": 0, "timer": 1, "polling": 0} == {
        mode: value("telemetry_agent_watcher_mode", {"mode": mode}) for mode in ("events", "timer", "polling")
    }


def test_a_snapshot_is_a_value(house: House) -> None:
    """A later step changes no answer that was given."""
    writer = Writer(house.path / LEAF).write(big(0, 5))
    house.step(1)
    first = house.keeper.status()
    writer.write(big(5, 50))
    house.step(1)
    house.step(1)
    second = house.keeper.status()

    assert (5000, 0) == (first.streams[0].live_bytes, first.streams[0].sealed)
    assert 50_000 == second.streams[0].sealed
    writer.close()


def test_a_line_tells_of_the_space_that_came_back(house: House) -> None:
    """Also where nothing but the agent itself touches the file any more: after a release, and after a reset."""
    writer = Writer(house.path / "held.log").write(big(0, 50))
    Writer(house.path / "left.log").write(big(0, 50)).close()
    house.step()
    house.keeper.publish()
    held, left = house.keeper.status().streams

    assert writer.path.stat().st_blocks * 512 == held.allocated_bytes < held.apparent_size
    assert (0, 0, 0) == (left.allocated_bytes, left.apparent_size, (house.path / "left.log").stat().st_size)
    writer.close()


def test_what_stopped_growing_comes_due_by_its_size_at_no_time(house: House) -> None:
    """A minute after the last growth no time is told from its pace any more."""
    writer = Writer(house.path / LEAF).write(big(0, 1))
    house.step(1)
    writer.write(big(1, 2))
    house.step(1)
    house.keeper.publish()
    before = house.keeper.status().streams[0].next_rotation.reason
    house.step(61)
    house.keeper.publish()

    assert ("size", "") == (before, house.keeper.status().streams[0].next_rotation.reason)
    writer.close()


def test_a_file_is_gone_only_once_it_was_looked_for(tmp_path: Path) -> None:
    """After a start the segments are known before the live files: those that nobody looked at are not told as gone."""
    before = House(tmp_path)
    before.open()
    Writer(before.path / LEAF).write(big(0, 50)).close()
    before.step()
    before.keeper.close()
    (before.path / LEAF).unlink()
    house = House(tmp_path)
    house.open()
    house.keeper.publish()
    early = house.keeper.status().streams[0].state
    house.step()
    house.keeper.publish()

    assert ("ok", "gone") == (early, house.keeper.status().streams[0].state)
    house.keeper.close()


def test_what_is_refused_has_no_next_rotation(house: House) -> None:
    """A document is looked at and left alone; no time is told at which it would be sealed."""
    (house.path / "package.json").write_text('{\n  "name": "x"\n}\n' * 9000, "utf-8")
    house.step(1)
    house.keeper.publish()
    (line,) = house.keeper.status().streams

    assert ("refused", "", None) == (line.state, line.next_rotation.reason, line.next_rotation.at)


def test_a_large_backlog_is_sealed_by_steps_the_least_first(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step seals about so many bytes, and at least one stream; the next one follows at once."""
    monkeypatch.setattr(duty, "SEALED_A_STEP", 60_000)
    for name, records in (("a.log", 90), ("b.log", 50), ("c.log", 20)):
        Writer(house.path / name).write(big(0, records)).close()
    sealed = []
    for _ in range(3):
        before = set(house.segments())
        house.step(1)
        sealed.append(sorted(name.partition("_")[0] for name in set(house.segments()) - before))

    assert [["b", "c"], ["a"], []] == sealed


def test_a_long_step_is_seen_at_work(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks once the agent is ready finds every file, also while the first step still seals them."""
    Writer(house.path / LEAF).write(big(0, 500)).close()
    seen: list[tuple[bool, int, float]] = []
    real, began = Rotator.seal, house.clock.now()

    def slow(rotator: Rotator, ready: list[Due]) -> list[Sealed]:
        for _ in range(2):
            answer = house.keeper.status()
            seen.append((answer.ready, answer.streams[0].live_bytes, answer.now - began))
            house.clock.advance(5)
            rotator.tools.breathe()
        return real(rotator, ready)

    monkeypatch.setattr(Rotator, "seal", slow)
    house.step()

    assert [(True, 500_000, 0.0), (True, 500_000, 5.0)] == seen


def test_no_segment_goes_for_the_sake_of_what_is_given_back_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backlog above `max_total` that is just being sealed and released costs no archive."""
    monkeypatch.setattr(duty, "SEALED_A_STEP", 1)
    monkeypatch.setattr(duty, "RELEASE_RATE", 1)
    house = House(tmp_path, retention=Retention(keep=0, max_age=None, max_total=Size(8_000_000)))
    house.open()
    writers = [Writer(house.path / name).write(big(0, 12_000)) for name in ("a.log", "b.log", "c.log")]
    counts = []
    for _ in range(12):
        house.step(RETAIN_EVERY)
        counts.append(len(house.segments()))

    assert counts == sorted(counts)
    assert {"seal"} < {*house.events()}
    assert "retire" not in house.events()
    assert 3 == counts[-1]
    for writer in writers:
        writer.close()


def test_a_stream_that_cannot_be_compressed_stops_no_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its package is gone: captured or sealed, the other stream goes on, and retention, and the status names it."""
    monkeypatch.setitem(sys.modules, "deflate", None)
    rules: dict[str, Any] = {"max_size": Size(10_000), "max_age": None, "capture": Duration("1s")}
    small = StreamRule(match=LEAF, rotation=Rotation(level="small", **rules))
    house = House(tmp_path, stream=(small,), rotation=Rotation(**rules))
    house.open()
    for leaf in (LEAF, "other.json"):
        Writer(house.path / leaf).write(big(0, 50)).close()
    for _ in range(3):
        house.step(2)

    assert ["other"] == [name.partition("_")[0] for name in house.segments()]
    assert 50_000 == (tmp_path / LEAF).stat().st_size
    found = {stream.name: stream.state for stream in house.keeper.status().streams}
    assert {LEAF: "failing", "other.json": "ok"} == found
    assert 1 == house.events().count("error")
    house.keeper.close()


@pytest.mark.parametrize(("place", "name"), [(Lookout, "look"), (Rotator, "seal"), (dues, "find")])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "for once"), StoppingError("for once")])
def test_a_step_that_fails_forgets_no_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, error: Exception
) -> None:
    """What a look saw before is due all the same, by its size and by its age, though nobody writes any more."""
    house = House(tmp_path, rotation=Rotation(max_size=Size(10_000), max_age=Duration(5)))
    keeper = house.open()
    house.step()
    Writer(house.path / LEAF).write(big(0, 5)).close()
    Writer(house.path / "large.json").write(big(0, 50)).close()
    real = getattr(place, name)

    def once(*arguments: Any) -> Any:
        done = real(*arguments) if place is Lookout else None
        monkeypatch.setattr(place, name, real)
        if place is Lookout:
            assert done.touched
        raise error

    monkeypatch.setattr(place, name, once)
    with pytest.raises(type(error)):
        house.step()
    for _ in range(3):
        house.step(6)

    assert {LEAF, "large.json"} == {one.name for one in keeper.engine.catalog.all() if one.end}
    assert 2 == len(house.segments())
    keeper.close()
