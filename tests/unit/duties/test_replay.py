"""Dead letters sent again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from agent.control import Replayed
from agent.duties import replay
from agent.kit.errors import LockedError
from agent.streams.deadletters import DeadLetters
from tests.support.hostile import Hostile, Say
from tests.support.yard import Yard, bodies, forward, letters, numbers, settled, small, span, spans


def test_letters_are_sent_again_and_go(tmp_path: Path, server: Hostile) -> None:
    """Replay: what is taken now is deleted, what is still refused stays, with the reason."""
    server.will(Say(400), Say())
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(span(1) + b'{"one":"two"}\n')
        yard.run(settled(yard, 2))
    assert 2 == len(letters(tmp_path))
    with Yard(tmp_path, forward(server)) as yard:
        done = yard.forwards.replay_letters("out", [])

    assert (1, 1) == (done.sent, done.kept)
    assert "not_otlp" in done.message
    assert ['{"one":"two"}\n'] == [one["record"] for one in letters(tmp_path)]
    assert {1: 2} == numbers(bodies(server))


def test_a_letter_that_meets_a_defect_holds_up_no_other(
    tmp_path: Path, server: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is still there, with the reason, and those behind it are sent."""
    from agent.sinks.otlp import OtlpSink
    from agent.streams.batch import Batch

    real = OtlpSink.encode

    def broken(sink: OtlpSink, batch: Batch) -> bytes:
        if b'"n0"' in batch.records[0]:
            raise ZeroDivisionError("unforeseen")
        return real(sink, batch)

    server.will(Say(400), Say(400), Say())
    with Yard(tmp_path, forward(server, batch=small(1, in_flight=1))) as yard:
        yard.write(spans(0, 2))
        yard.run(settled(yard, 2))
    monkeypatch.setattr(OtlpSink, "encode", broken)
    with Yard(tmp_path, forward(server)) as yard:
        done = yard.forwards.replay_letters("out", [])

    assert (1, 1) == (done.sent, done.kept)
    assert "unforeseen" in done.message
    assert [span(0).decode()] == [one["record"] for one in letters(tmp_path)]


def refused(path: Path, server: Hostile, lines: bytes, count: int) -> None:
    """Make dead letters of these lines; from then on the server takes everything."""
    server.will(Say(400))
    with Yard(path, forward(server)) as yard:
        yard.write(lines)
        yard.run(settled(yard, count))
    assert count == len(letters(path))
    server.will(Say())
    server.heard.clear()


def partial(items: int) -> Say:
    """An answer that takes all but so many spans."""
    return Say(body=b'{"partialSuccess":{"rejectedSpans":"%d","errorMessage":"no such tenant"}}' % items)


def test_a_letter_of_which_a_partial_success_refuses_everything_stays(tmp_path: Path, server: Hostile) -> None:
    """It was not taken, whatever the status says; the destination's reason is told, and nothing counts as lost."""
    refused(tmp_path, server, span(1), 1)
    server.will(partial(1))
    with Yard(tmp_path, forward(server)) as yard:
        done = yard.forwards.replay_letters("out", [])

        assert (0, 1, 0) == (done.sent, done.kept, done.rejected)
        assert "no such tenant" in done.message
        assert 0 == yard.status().rejected_items
    assert 1 == len(letters(tmp_path))


def test_a_letter_of_which_a_part_is_refused_goes_and_is_counted(tmp_path: Path, server: Hostile) -> None:
    """Nobody can say which of its spans that is: sent again, the others would be there twice."""
    two = span(1).replace(b'{"name":"n1"}', b'{"name":"n1"},{"name":"n2"}')
    refused(tmp_path, server, two, 1)
    server.will(partial(1))
    with Yard(tmp_path, forward(server)) as yard:
        done = yard.forwards.replay_letters("out", [])

        assert (1, 0, 1) == (done.sent, done.kept, done.rejected)
        assert 1 == yard.status().rejected_items
    assert [] == letters(tmp_path)


def test_letters_are_removed_in_groups(tmp_path: Path, server: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each removal writes all that is left again, so one for each letter would take as long as their square."""
    refused(tmp_path, server, spans(0, 23), 23)
    real, removed = DeadLetters.remove, list[int]()

    def remove(here: DeadLetters, ids: Container[str]) -> int:
        removed.append(real(here, ids))
        return removed[-1]

    monkeypatch.setattr(DeadLetters, "remove", remove)
    monkeypatch.setattr(replay, "GROUP", 10)
    with Yard(tmp_path, forward(server)) as yard:
        assert 23 == yard.forwards.replay_letters("out", []).sent

    assert [10, 10, 3] == removed
    assert [] == letters(tmp_path)


def test_what_was_sent_is_gone_when_a_replay_is_broken_off(tmp_path: Path, server: Hostile) -> None:
    """Within a group too: interrupted, it sends nothing twice but what was just under way."""
    refused(tmp_path, server, spans(0, 10), 10)
    server.will(Say(), Say(), Say(), Say(end="stall"))

    async def broken_off(yard: Yard) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(replay.replay, yard.forwards.consumers["out"], [])
            while len(server.heard) < 4:  # noqa: ASYNC110 - a test may poll
                await anyio.sleep(0.005)
            group.cancel_scope.cancel()
        await yard.forwards.consumers["out"].aclose()

    with Yard(tmp_path, forward(server)) as yard:
        anyio.run(broken_off, yard)

    assert [span(number).decode() for number in range(3, 10)] == [one["record"] for one in letters(tmp_path)]


def test_one_replay_at_a_time(tmp_path: Path, server: Hostile) -> None:
    """A second one is refused and told what to do; every letter is sent once. Then the next may."""
    refused(tmp_path, server, spans(0, 5), 5)
    done: list[Replayed] = []

    async def both(yard: Yard) -> None:
        consumer = yard.forwards.consumers["out"]

        async def first() -> None:
            done.append(await replay.replay(consumer, []))

        async with anyio.create_task_group() as group:
            group.start_soon(first)
            await anyio.lowlevel.checkpoint()
            with pytest.raises(LockedError, match="wait until that is done"):
                yard.forwards.drop_letters("out", [])
            with pytest.raises(LockedError, match="wait until that is done"):
                await replay.replay(consumer, [])
        done.append(await replay.alone(consumer, []))

    with Yard(tmp_path, forward(server)) as yard:
        anyio.run(both, yard)

    assert [5, 0] == [one.sent for one in done]
    assert Counter(range(5)) == numbers(bodies(server))
