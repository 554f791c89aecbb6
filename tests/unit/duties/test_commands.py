"""Commands are carried out where the engine is: in the keeper's step, or by the command itself."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest

from agent.config import Retention, Rotation, StreamRule
from agent.control import Reloaded
from agent.duties.commands import offline
from agent.kit.errors import AgentError, LockedError
from agent.kit.units import Size
from tests.support.bench import LEAF, Writer, at, fail
from tests.unit.duties.conftest import House, big

KEEP_ONE = Retention(keep=1, max_age=None, max_total=None)


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
    answer = asking(house, lambda: house.commands.rotate([]))

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
            house.commands.rotate(["nope"])
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
        house.here.rotate([])
        house.clock.advance(1)
    before = house.segments()
    writer.write(big(15, 40))
    dry = house.here.cleanup(dry_run=True)
    assert before == house.segments()
    wet = house.here.cleanup(dry_run=False)

    assert [("seal", False)] == [(one.action, one.done) for one in dry if one.action == "seal"]
    assert [("seal", True)] == [(one.action, one.done) for one in wet if one.action == "seal"]
    assert all(one.done for one in wet)
    assert 1 == len(house.segments())
    assert 40_000 == house.here.status().streams[0].sealed  # who asks next is told of it
    writer.close()
    house.keeper.close()


def test_cleanup_tells_what_could_not_be_deleted(house: House) -> None:
    """A segment that is still there is not said to be gone, and the answer says why it stayed."""
    writer = Writer(house.path / LEAF)
    for number in range(4):
        writer.write(big(number * 5, number * 5 + 5))
        house.here.rotate([])
    writer.close()
    house.keeper.configure(msgspec.structs.replace(house.config, retention=KEEP_ONE))
    with at("retain.synced", fail(OSError(5, "EIO"))):
        first, second, third = house.here.cleanup(dry_run=False)

    assert (False, True) == (first.done, "EIO" in first.message)
    assert [(True, ""), (True, "")] == [(one.done, one.message) for one in (second, third)]
    assert 2 == len(house.segments())
    assert first.target in house.segments()


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
    items = {one.stream: (one.done, one.target[:1]) for one in house.here.cleanup(dry_run=False)}

    assert {"a.json": (True, "a"), "b.json": (False, "b"), "c.json": (True, "c")} == items
    house.keeper.close()


def test_reload_changes_the_rules(house: House) -> None:
    """Case 30: a good configuration holds from the next step on; it is audited."""
    writer = Writer(house.path / LEAF).write(big(0, 5))
    house.step()
    config = msgspec.structs.replace(house.config, rotation=Rotation(max_size=Size(1000), max_age=None))
    house.answer = (config, Reloaded(ok=True, changed=["rotation.max_size"]))
    asking(house, house.commands.reload)
    house.step()

    assert 1 == len(house.segments())
    assert "reload" in house.events()
    writer.close()


def test_a_bad_reload_changes_nothing(house: House) -> None:
    """Case 30: the old rules stay in force, and the answer says why."""
    config = msgspec.structs.replace(house.config, rotation=Rotation(max_size=Size(1), max_age=None))
    house.answer = (config, Reloaded(ok=False, message="line 3: no such key"))
    Writer(house.path / LEAF).write(big(0, 5)).close()
    answer = asking(house, house.commands.reload)
    house.step()

    assert isinstance(answer, Reloaded)
    assert ("line 3: no such key", []) == (answer.message, house.segments())


# -- offline


def test_a_command_does_the_work_where_no_agent_runs(tmp_path: Path) -> None:
    """`rotate` and `cleanup` in process: sealed, released and, with nobody at it, set back to empty."""
    house = House(tmp_path)
    Writer(tmp_path / LEAF).write(big(0, 5)).close()
    with offline(house.config, house.clock) as control:
        rotated = control.rotate([])
        assert not control.status().running

    assert ["sealed"] == [one.outcome for one in rotated]
    assert 0 == (tmp_path / LEAF).stat().st_size


def test_a_command_does_not_work_beside_an_agent(house: House) -> None:
    """It would have to ask the agent."""
    with pytest.raises(LockedError), offline(house.config, house.clock):
        pass
