"""The agent's own memory: what may be read, and who is told."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from agent.duties.budget import LONGEST, SMALL, SPARE, WEIGHTS, Ask, Budget, decide
from agent.kit import linux
from agent.kit.units import Size
from agent.metrics import MemorySeries
from agent.sinks.base import ErrorClass
from agent.system.memory_limit import Memory, MemoryReader
from tests.support.clock import ManualClock
from tests.support.hostile import Say, serving
from tests.support.yard import Yard, bodies, forward, letters, numbers, once, settled, small, span, spans

MIB = 1 << 20
JSON = WEIGHTS["json"]


class Told(MemoryReader):
    """A reader that says what a test wants."""

    def __init__(self, used: int, limit: int) -> None:
        super().__init__(limit)
        self.used, self.limit = used, limit

    def read(self) -> Memory:
        """What was wanted."""
        return Memory(self.used, self.limit, "a test")


def of_100(used: int) -> Memory:
    """So many MiB of 100 in use."""
    return Memory(used * MIB, 100 * MIB, "a test")


@pytest.mark.parametrize(
    ("used", "reserved", "ask", "granted"),
    [
        (20, 0, Ask(4 * MIB, JSON), 4 * MIB),
        (20, 0, Ask(64 * MIB, JSON), (70 * MIB - SPARE) // JSON.read),
        (20, 60, Ask(4 * MIB, JSON), (10 * MIB - SPARE) // JSON.read),
        (20, 68, Ask(4 * MIB, JSON), 0),
        (20, 67, Ask(4 * MIB, WEIGHTS["processed"]), 0),
        (76, 0, Ask(4 * MIB, JSON), SMALL),
        (76, 0, Ask(4 * MIB, JSON, busy=True), 0),
        (74, 0, Ask(1 * MIB, JSON, busy=True), MIB),
        (91, 0, Ask(4 * MIB, JSON), 0),
        (20, 0, Ask(100, JSON), 100),
        (20, 0, Ask(9 * MIB, JSON, whole=True), 9 * MIB),
        (20, 0, Ask(10 * MIB, JSON, busy=True, whole=True), 0),
        (20, 0, Ask(11 * MIB, JSON, whole=True), 11 * MIB),
        (20, 2, Ask(11 * MIB, JSON, whole=True), 0),
        (92, 0, Ask(MIB, JSON, whole=True), 0),
        (20, 0, Ask(9 * MIB, WEIGHTS["protobuf"]), (70 * MIB - SPARE) // 15),
    ],
    ids=["fits", "less", "beside others", "others first", "not worth a request",
         "small when tight", "one when tight", "two before", "full",
         "tiny", "whole", "whole, own batches first", "whole up to the limit", "whole beside others",
         "whole but too much", "protobuf takes more"],
)  # fmt: skip
def test_what_may_be_read(used: int, reserved: int, ask: Ask, granted: int) -> None:
    """What is in use, what was granted and what is asked for stay below nine tenths of the limit together.

    What cannot be less may reach the limit itself, once its consumer has nothing under way: else it stood for ever.
    """
    assert granted == decide(of_100(used), reserved * MIB, ask)


def test_without_a_limit_everything_is_granted() -> None:
    """However much is in use."""
    assert 1 << 40 == decide(Memory(1 << 40, 0, "none"), 1 << 40, Ask(1 << 40, JSON, busy=True, whole=True))


def test_what_is_granted_stays_reserved_until_it_ends() -> None:
    """Two batches do not get the same memory; what was read counts as used, what sending takes as reserved."""
    budget = Budget(ManualClock(), Told(20 * MIB, 100 * MIB))

    first = budget.ask(Ask(9 * MIB, JSON))
    assert first is not None
    assert budget.ask(Ask(9 * MIB, JSON, whole=True)) is None
    first.read(2 * MIB)
    assert 2 * MIB * JSON.send == budget.own().granted_bytes
    first.end()
    first.end()

    assert 0 == budget.own().granted_bytes
    assert budget.ask(Ask(9 * MIB, JSON)) is not None


def test_people_are_told_of_a_wait_that_lasts_and_of_its_end() -> None:
    """A moment's pause is counted, no more; after ten seconds the part is degraded, with a hint, until it goes on."""
    clock, reader = ManualClock(), Told(95 * MIB, 100 * MIB)
    told: list[tuple[str, str, str]] = []
    budget = Budget(clock, reader, lambda *one: told.append(one))

    assert budget.ask(Ask(MIB, JSON, who="out")) is None
    assert ("paused", 1) == (budget.own().memory_state, budget.own().memory_pauses)
    clock.advance(9)
    assert budget.ask(Ask(MIB, JSON, who="out")) is None
    assert [] == told
    clock.advance(2)
    assert budget.ask(Ask(MIB, JSON, who="out")) is None
    reader.used = 20 * MIB
    clock.advance(1)
    assert budget.ask(Ask(MIB, JSON, who="out")) is not None

    assert ["degraded", "ok"] == [state for state, _, _ in told]
    assert "delivery to out waits for memory: 95 of 100 MiB are in use (a test)" == told[0][1]
    assert "raise the limit" in told[0][2]
    assert ("normal", 1) == (budget.own().memory_state, budget.own().memory_pauses)


def test_people_are_told_of_one_that_waits_while_others_go_on() -> None:
    """A long record waits for memory in which the batches of another forward fit: it is named, with what it needs."""
    clock = ManualClock()
    told: list[tuple[str, str, str]] = []
    budget = Budget(clock, Told(50 * MIB, 100 * MIB), lambda *one: told.append(one))

    for _ in range(12):
        assert budget.ask(Ask(8 * MIB, JSON, whole=True, who="big")) is None
        other = budget.ask(Ask(MIB, JSON, who="small"))
        assert other is not None
        other.end()
        clock.advance(1)

    assert ("paused", 1) == (budget.own().memory_state, budget.own().memory_pauses)
    ((state, message, hint),) = told
    assert "degraded" == state
    assert "delivery to big waits for memory: 50 of 100 MiB are in use" in message
    assert "8,388,608 bytes that cannot be divided may take 56 more" in message
    assert "lower forward.max_record" in hint


def test_one_batch_at_a_time_is_no_pause() -> None:
    """From three quarters on that is the rule, and told as such."""
    budget = Budget(ManualClock(), Told(80 * MIB, 100 * MIB))

    assert budget.ask(Ask(MIB, JSON, busy=True)) is None
    assert ("tight", 0) == (budget.own().memory_state, budget.own().memory_pauses)


def test_who_waits_for_his_own_batches_is_no_trouble() -> None:
    """A destination that takes its time keeps batches in memory: that is not for the operator of memory."""
    clock = ManualClock()
    told: list[tuple[str, str, str]] = []
    budget = Budget(clock, Told(95 * MIB, 100 * MIB), lambda *one: told.append(one))

    for _ in range(5):
        assert budget.ask(Ask(MIB, JSON, busy=True)) is None
        clock.advance(60)

    assert [] == told


@pytest.mark.parametrize(("used", "limit", "longest"), [(40, 110, 6 * MIB), (90, 100, LONGEST), (0, 0, 99 * MIB)])
def test_the_longest_record_is_what_fits_beside_an_idle_agent(used: int, limit: int, longest: int) -> None:
    """A megabyte at least, and without a limit as long as the forward says."""
    found = Budget(ManualClock(), Told(used * MIB, limit * MIB)).longest(JSON, 99 * MIB)

    assert longest == found or (limit == 110 and longest == found // MIB * MIB)


def test_the_numbers_are_exposed() -> None:
    """Use, limit, one state of four, pauses."""
    budget = Budget(ManualClock(), Told(80 * MIB, 100 * MIB))
    found = {
        (sample.name.removeprefix("telemetry_agent_"), *sample.labels.values()): sample.value
        for family in MemorySeries(budget.own).collect()
        for sample in family.samples
    }

    assert {
        ("memory_used_bytes",): 80.0 * MIB, ("memory_limit_bytes",): 100.0 * MIB, ("memory_pauses_total",): 0.0,
        ("memory_state", "unlimited"): 0.0, ("memory_state", "normal"): 0.0, ("memory_state", "tight"): 1.0,
        ("memory_state", "paused"): 0.0,
    } == found  # fmt: skip


def test_a_budget_may_be_asked_from_any_thread() -> None:
    """Nothing is granted twice."""
    budget = Budget(ManualClock(), Told(20 * MIB, 100 * MIB))
    grants = []

    def work() -> None:
        for _ in range(200):
            grant = budget.ask(Ask(MIB, JSON))
            if grant:
                grants.append(grant)
                grant.end()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert grants
    assert 0 == budget.own().granted_bytes


def test_delivery_within_a_small_budget_is_complete(tmp_path: Path) -> None:
    """Records longer than a small batch, and many short ones, all arrive once and in the grants' bounds."""
    budget = Budget(ManualClock(), Told(30 * MIB, 64 * MIB))
    ceiling = budget.longest(JSON, 1 << 40)
    with serving() as server:
        with Yard(tmp_path, forward(server, batch=small(max_bytes=Size("32MiB"))), budget=budget) as yard:
            yard.write(spans(0, 3000, 1000) + span(3000, MIB + MIB // 2) + spans(3001, 3010) + span(3010, MIB))
            yard.look()
            yard.seal()
            yard.write(spans(3011, 4000, 500))
            yard.run(settled(yard, 4000))

        assert once(0, 4000) == numbers(bodies(server))
        assert max(len(body) for body in bodies(server)) <= ceiling
    assert 0 == budget.own().granted_bytes
    assert [] == letters(tmp_path)


@pytest.mark.parametrize(("encoding", "used"), [("json", 52), ("protobuf", 46)])
def test_a_record_that_fits_below_the_limit_alone_is_delivered(tmp_path: Path, encoding: str, used: int) -> None:
    """It does not fit below nine tenths of the limit, where memory stays as it is: it does not wait for ever for that.

    Nor do the records of another stream, which come after it.
    """
    budget = Budget(ManualClock(), Told(used * MIB, 64 * MIB))
    with serving() as server:
        if encoding == "protobuf":
            server.answers = [Say(headers={"Content-Type": "application/x-protobuf"}, body=b"")]
        with Yard(tmp_path, forward(server, encoding=encoding), budget=budget) as yard:
            yard.write(span(0) + span(1, 900_000) + span(2))
            yard.write(spans(3, 12), "other.json")
            yard.run(settled(yard, 12))

            assert 12 == yard.status().delivered
    assert [] == letters(tmp_path)


def test_a_record_that_memory_never_allows_is_a_dead_letter(tmp_path: Path) -> None:
    """It is counted and kept, and what follows it is delivered."""
    budget = Budget(ManualClock(), Told(40 * MIB, 64 * MIB))
    with serving() as server:
        with Yard(tmp_path, forward(server), budget=budget) as yard:
            yard.write(span(0) + span(1, 3 * MIB) + span(2))
            yard.run(settled(yard, 3))

        assert {0: 1, 2: 1} == numbers(bodies(server))
    (letter,) = letters(tmp_path)
    assert ErrorClass.TOO_LARGE == letter["kind"]


def test_a_batch_of_a_larger_life_is_sent_again_in_smaller_ones(tmp_path: Path) -> None:
    """The limit was lowered while a batch was under way: nothing is missing, and nothing larger than fits is read."""
    budget = Budget(ManualClock(), Told(40 * MIB, 64 * MIB))
    ceiling = budget.longest(JSON, 1 << 40)
    with serving() as server:
        server.answers = [Say(503)]
        with Yard(tmp_path, forward(server)) as yard:
            yard.write(spans(0, 3500, 1000))
            yard.run(lambda: any(len(body) > ceiling for body in bodies(server)))
        server.heard.clear()
        server.answers = [Say()]
        with Yard(tmp_path, forward(server), budget=budget) as yard:
            yard.run(settled(yard, 3500))

        assert set(range(3500)) == set(numbers(bodies(server)))
        assert max(len(body) for body in bodies(server)) <= ceiling


def test_free_memory_goes_back_before_anybody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the C library keeps of freed memory is no reason to wait, also well below the limit."""
    told = Told(50 * MIB, 100 * MIB)
    budget = Budget(ManualClock(), told)
    monkeypatch.setattr(linux, "trim_memory", lambda: setattr(told, "used", 20 * MIB))

    assert budget.ask(Ask(8 * MIB, JSON, whole=True)) is not None
