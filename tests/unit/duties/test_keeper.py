"""The keeper: what is due is done in one pass; commands are served between; a stop leaves nothing half-done."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import audit
from agent.components import Components
from agent.config import Config, Files, Retention, Rotation, StreamRule
from agent.control import Reloaded
from agent.duties import keeper as duty
from agent.duties.keeper import Keeper
from agent.kit.disk import Directory
from agent.kit.errors import AgentError, LockedError, StoppingError
from agent.kit.units import Duration, Size
from agent.metrics import Metrics
from tests.support.bench import LEAF, Writer, at, lines
from tests.support.clock import ManualClock


def big(first: int, last: int) -> bytes:
    """Records of 1,000 bytes."""
    return lines(first, last, 1000)


class House:
    """A keeper without a watcher: each step looks at everything."""

    def __init__(self, path: Path, **sections: Any) -> None:
        self.path = path
        self.clock = ManualClock()
        self.components = Components(self.clock)
        self.metrics = Metrics()
        rules: dict[str, Any] = {
            "rotation": Rotation(max_size=Size(10_000), max_age=None),
            "retention": KEEP,
            **sections,
        }
        files = msgspec.structs.replace(rules.pop("files", Files()), directory=str(path))
        self.config = Config(files=files, **rules)
        self.answer: tuple[Config, Reloaded] = (self.config, Reloaded(ok=True))
        self.keeper = Keeper(self.config, self.clock, self.metrics, self.components, reloader=lambda: self.answer)

    def open(self) -> Keeper:
        """Start it."""
        self.keeper.open(watch=False)
        return self.keeper

    def step(self, seconds: float = 0.0) -> float:
        """One pass after so many seconds; in how many seconds the next is wanted."""
        self.clock.advance(seconds)
        after = self.keeper.step(self.clock.monotonic())
        assert after is not None
        return after - self.clock.monotonic()

    def segments(self) -> list[str]:
        """What is in the archive."""
        return sorted(one.name for one in self.path.glob("*.gz"))

    def events(self) -> list[str]:
        """The audit trail's events."""
        with Directory.open(str(self.path / ".telemetry-agent")) as state:
            return [entry["event"] for entry in audit.read(state)]


KEEP = Retention(keep=0, max_age=None, max_total=None)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """An open keeper with a size rule of 10,000 bytes that keeps everything."""
    made = House(tmp_path)
    made.open()
    yield made
    made.keeper.close()


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
    house.step(duty.RETAIN_EVERY)

    assert 2 == len(house.segments())
    assert 4 == house.events().count("retire")
    writer.close()
    house.keeper.close()


def test_retention_waits_for_the_first_sweep(tmp_path: Path) -> None:
    """Before everything was looked at, a stream may seem gone: nothing is deleted, and the agent is not ready."""
    house = House(tmp_path)
    ready = [house.keeper.ready]
    house.open()
    ready.append(house.keeper.ready)
    house.step()
    ready.append(house.keeper.ready)

    assert [False, False, True] == ready
    house.keeper.close()


def test_too_much_is_told_not_deleted(tmp_path: Path) -> None:
    """A directory above its critical size that retention may not empty is a problem in status and components."""
    house = House(tmp_path, files=Files(critical_total=Size(20_000)))
    house.open()
    writer = Writer(house.path / LEAF).write(b'{"x":"' + b"y" * 50_000)
    house.step()
    house.step(duty.RETAIN_EVERY)
    status = house.keeper.status()

    assert status.directory.critical
    assert "critical_total" in status.directory.problems[0]
    assert {"directory": "degraded"} == {one.name: one.state for one in house.components.all()}
    assert b'{"x":"' + b"y" * 50_000 == writer.path.read_bytes()
    writer.close()
    writer.path.unlink()
    house.step(duty.RETAIN_EVERY)
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
    """Case 23: no stale lock: the next one starts at once after the first ended."""
    first = House(tmp_path)
    first.open()
    first.keeper.close()
    second = House(tmp_path)
    second.open()
    second.step()

    second.keeper.close()


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


# -- requests


def asking(house: House, call: object) -> object:
    """Call from another thread while this one steps."""
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(call()))  # type: ignore[operator]  # a call
    thread.start()
    while thread.is_alive():
        house.step()
        thread.join(0.001)
    return answers[0]


def test_rotate_seals_now(house: House) -> None:
    """Also what no rule makes due; the answer names segment, bytes and records."""
    Writer(house.path / LEAF).write(big(0, 5)).close()
    (house.path / "doc.json").write_bytes(b"{\n}\n")
    answer = asking(house, lambda: house.keeper.rotate([]))

    assert isinstance(answer, list)
    by_name = {one.stream: (one.outcome, one.bytes, one.records) for one in answer}
    assert {LEAF: ("sealed", 5000, 5), "doc.json": ("refused", 0, 0)} == by_name


def test_rotate_of_an_unknown_stream_names_what_there_is(house: House) -> None:
    """The error is the asker's; the keeper goes on."""
    Writer(house.path / LEAF).write(big(0, 5)).close()
    house.step()
    errors: list[AgentError] = []

    def call() -> None:
        try:
            house.keeper.rotate(["nope"])
        except AgentError as error:
            errors.append(error)

    asking(house, call)

    assert LEAF in errors[0].hint


def test_a_dry_cleanup_says_what_a_real_one_does(tmp_path: Path) -> None:
    """Plans are data: the same items, done or not."""
    house = House(tmp_path, retention=Retention(keep=1, max_age=None, max_total=None))
    house.open()
    writer = Writer(house.path / LEAF)
    for number in range(3):
        writer.write(big(number * 5, number * 5 + 5))
        house.keeper.rotate_here([])
        house.clock.advance(1)
    before = house.segments()
    writer.write(big(15, 40))
    dry = house.keeper.cleanup_here(dry_run=True)
    assert before == house.segments()
    wet = house.keeper.cleanup_here(dry_run=False)

    assert [("seal", False)] == [(one.action, one.done) for one in dry if one.action == "seal"]
    assert [("seal", True)] == [(one.action, one.done) for one in wet if one.action == "seal"]
    assert all(one.done for one in wet)
    assert 1 == len(house.segments())
    writer.close()
    house.keeper.close()


def test_cleanup_tells_each_streams_own_outcome(tmp_path: Path) -> None:
    """A stream whose `pre` command fails is not reported with another stream's segment."""
    failing = Rotation(max_size=Size(1000), max_age=None, pre=("/bin/false",))
    house = House(
        tmp_path,
        rotation=Rotation(max_size=Size(1000), max_age=None),
        stream=(StreamRule(match="b*.json", rotation=failing),),
    )
    house.open()
    for leaf in ("a.json", "b.json", "c.json"):
        Writer(house.path / leaf).write(big(0, 5)).close()
    items = {one.stream: (one.done, one.target[:1]) for one in house.keeper.cleanup_here(dry_run=False)}

    assert {"a.json": (True, "a"), "b.json": (False, "b"), "c.json": (True, "c")} == items
    house.keeper.close()


def test_reload_changes_the_rules(house: House) -> None:
    """Case 30: a good configuration holds from the next step on; it is audited."""
    writer = Writer(house.path / LEAF).write(big(0, 5))
    house.step()
    config = msgspec.structs.replace(house.config, rotation=Rotation(max_size=Size(1000), max_age=None))
    house.answer = (config, Reloaded(ok=True, changed=["rotation.max_size"]))
    asking(house, house.keeper.reload)
    house.step()

    assert 1 == len(house.segments())
    assert "reload" in house.events()
    writer.close()


def test_a_bad_reload_changes_nothing(house: House) -> None:
    """Case 30: the old rules stay in force, and the answer says why."""
    config = msgspec.structs.replace(house.config, rotation=Rotation(max_size=Size(1), max_age=None))
    house.answer = (config, Reloaded(ok=False, message="line 3: no such key"))
    Writer(house.path / LEAF).write(big(0, 5)).close()
    answer = asking(house, house.keeper.reload)
    house.step()

    assert isinstance(answer, Reloaded)
    assert ("line 3: no such key", []) == (answer.message, house.segments())


def test_a_status_before_the_start_says_so(tmp_path: Path) -> None:
    """Never half an answer."""
    with pytest.raises(AgentError, match="starting"):
        House(tmp_path).keeper.status()


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


# -- offline


def test_a_command_does_the_work_where_no_agent_runs(tmp_path: Path) -> None:
    """`rotate` and `cleanup` in process: sealed, released and, with nobody at it, set back to empty."""
    house = House(tmp_path)
    Writer(tmp_path / LEAF).write(big(0, 5)).close()
    with duty.offline(house.config, house.clock) as control:
        rotated = control.rotate([])
        assert not control.status().running

    assert ["sealed"] == [one.outcome for one in rotated]
    assert 0 == (tmp_path / LEAF).stat().st_size


def test_a_command_does_not_work_beside_an_agent(house: House) -> None:
    """It would have to ask the agent."""
    with pytest.raises(LockedError), duty.offline(house.config, house.clock):
        pass
