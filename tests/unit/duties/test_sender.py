"""What becomes of a batch by the answers to it, with a server that does what it is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent.config.forward import Breaking, Retrying, SignalRule
from agent.duties import sender
from agent.sinks.base import ErrorClass, Reject
from agent.streams.batch import Batch
from tests.support.hostile import Hostile, Say, serving
from tests.support.yard import (
    Duration,
    Yard,
    bodies,
    forward,
    letters,
    log,
    numbers,
    once,
    settled,
    ship,
    small,
    span,
    spans,
)


@pytest.mark.parametrize("status", [400, 401, 404, 413, 500, 301])
def test_case_14_a_refusal_is_one_request_and_a_dead_letter(tmp_path: Path, server: Hostile, status: int) -> None:
    """Case 14: it is never tried again, the cursor goes on, and the breaker stays closed."""
    server.will(Say(status), Say())
    with Yard(tmp_path, forward(server, batch=small(1, in_flight=1))) as yard:
        yard.write(spans(0, 2))
        yard.run(settled(yard, 2))
        now = yard.status()

    assert (1, 1, "closed", 0) == (now.delivered, now.dead_lettered, now.breaker, now.retries)
    assert once(0, 2) == numbers(bodies(server))
    assert [ErrorClass.of_status(status)] == [one["kind"] for one in letters(tmp_path)]


@pytest.mark.parametrize(
    "answer", [Say(429), Say(502), Say(503), Say(504), Say(end="reset"), Say(end="close"), Say(end="half")]
)
def test_case_14_and_20_what_may_pass_is_sent_again_as_the_same_bytes(
    tmp_path: Path, server: Hostile, answer: Say
) -> None:
    """Case 14, 20: also when the server stored the batch and then reset the connection."""
    server.will(answer, answer, Say())
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(spans(0, 5))
        yard.run(settled(yard, 5))
        assert (5, 2) == (yard.status().delivered, yard.status().retries)

    assert 3 == len(server.heard)
    assert 1 == len({heard.raw for heard in server.heard})


def test_attempts_may_be_limited(tmp_path: Path, server: Hostile) -> None:
    """After the last try the records are dead letters, class and all."""
    retry = Retrying(initial=Duration(0.01), maximum=Duration(0.01), max_attempts=3)
    server.will(Say(503))
    with Yard(tmp_path, forward(server, retry=retry)) as yard:
        yard.write(span(1))
        yard.run(settled(yard, 1))

    assert 3 == len(server.heard)
    assert [ErrorClass.EXHAUSTED] == [one["kind"] for one in letters(tmp_path)]


def test_case_16_a_partial_success_is_counted(tmp_path: Path, server: Hostile) -> None:
    """Case 16: one request; what was refused is counted, and the cursor goes on."""
    server.will(Say(body=b'{"partialSuccess":{"rejectedSpans":"3","errorMessage":"x"}}'))
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(spans(0, 10))
        yard.run(settled(yard, 10))
        books = yard.forwards.consumers["out"].book.snapshot()

    assert 1 == len(server.heard)
    assert {("traces", ""): 7, ("traces", "rejected"): 3} == books.exported
    assert (3, 10) == (books.rejected, books.delivered)


class _Fussy(Hostile):
    """Finds a batch too large while a certain record is in it."""

    def next(self, heard: object) -> Say:
        """413 for the record number 5."""
        say = super().next(heard)  # type: ignore[arg-type]  # what the server gives
        return Say(413) if b'"n5"' in self.heard[-1].body else say


def test_case_18_a_batch_too_large_is_halved(tmp_path: Path, server: Hostile) -> None:
    """Case 18: 8 records, the 5th alone is too big: 7 are delivered, it is a dead letter, and the requests end."""
    server.__class__ = _Fussy
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(spans(0, 8))
        yard.run(settled(yard, 8))
        assert (7, 1) == (yard.status().delivered, yard.status().dead_lettered)

    assert 7 == len(server.heard)
    assert [span(5).decode()] == [one["record"] for one in letters(tmp_path)]


def test_case_19_a_later_batch_does_not_carry_an_earlier_one(tmp_path: Path, server: Hostile) -> None:
    """Case 19: batch 1 waits, batch 2 is taken: the cursor stays before batch 1, also over a restart."""
    server.will(Say(429, headers={"Retry-After": "60"}, about=b'"n0"'), Say())
    patient = Retrying(initial=Duration(30), maximum=Duration(60))
    with Yard(tmp_path, forward(server, batch=small(5), retry=patient)) as yard:
        yard.write(spans(0, 10))
        yard.run(lambda: yard.status().delivered >= 5 and len(server.heard) >= 2)
        (cursor,) = yard.forwards.cursors()
        assert 0 == cursor.position
    (waiting,) = (body for body in bodies(server) if b'"n0"' in body)
    server.will(Say())
    ship(tmp_path, server, 5)

    assert waiting == bodies(server)[-1]
    assert once(0, 10) == numbers({*bodies(server)})
    assert 3 == len(server.heard)


def test_case_21_failover_goes_there_and_back(tmp_path: Path, server: Hostile) -> None:
    """Case 21: while A fails B takes all; A's probe brings the traffic back."""
    with serving() as other:
        server.will(Say(503))
        keys = {"endpoints": (server.url, other.url), "batch": small(1, in_flight=1)}
        breaker = Breaking(failures=2, recovery=Duration(0.2))
        with Yard(tmp_path, forward(server, breaker=breaker, **keys)) as yard:
            yard.write(spans(0, 10))
            first = settled(yard, 10)
            taken: list[int] = []

            def until() -> bool:
                now = yard.status()
                if first() and not taken:
                    taken.append(len(other.heard))
                    server.will(Say())
                if taken and not now.unsettled and not now.backlog_bytes:
                    yard.write(span(now.read))
                return any(number >= 10 for number in numbers(bodies(server)))

            yard.run(until)
            assert yard.status().trips >= 1

    assert [10] == taken
    assert set(range(10)) <= set(numbers(bodies(other)))


def test_case_21_a_refusal_neither_fails_over_nor_opens_the_breaker(tmp_path: Path, server: Hostile) -> None:
    """Case 21: 400 from A is an answer: B is not asked."""
    server.will(Say(400))
    with serving() as other:
        keys = {"endpoints": (server.url, other.url), "batch": small(1)}
        with Yard(tmp_path, forward(server, breaker=Breaking(failures=1), **keys)) as yard:
            yard.write(spans(0, 10))
            yard.run(settled(yard, 10))
            assert ("closed", 0) == (yard.status().breaker, yard.status().trips)
        assert [] == other.heard


def test_batches_that_wait_for_the_breaker_are_counted(tmp_path: Path, server: Hostile) -> None:
    """With every circuit open nothing is asked but the probe; then everything is delivered."""
    server.will(Say(503), Say(503), Say())
    with Yard(tmp_path, forward(server, breaker=Breaking(failures=2, recovery=Duration(1)))) as yard:
        yard.write(spans(0, 3))
        yard.run(settled(yard, 3))
        assert (1, 1) == (yard.status().waited_batches, yard.status().trips)

    assert 3 == len(server.heard)


def test_what_waits_to_be_tried_again_goes_once_the_circuit_closes(tmp_path: Path, server: Hostile) -> None:
    """The wait that a batch drew during an outage, here an hour, ends with the outage; else it held the cursor back."""
    server.will(Say(503))
    keys = {"retry": Retrying(initial=Duration(3600), maximum=Duration(3600)), "batch": small(1, in_flight=4)}
    with Yard(tmp_path, forward(server, breaker=Breaking(failures=2, recovery=Duration(0.2)), **keys)) as yard:
        yard.write(spans(0, 3))
        probe = [span(3)]

        def until() -> bool:
            if yard.status().trips and probe:
                server.will(Say())
                yard.write(probe.pop())
            return settled(yard, 4)()

        yard.run(until)
        (cursor,) = yard.forwards.cursors()
        assert cursor.end == cursor.position

    assert {0, 1, 2, 3} == set(numbers(bodies(server)))


def test_a_probe_may_take_as_long_as_its_request(tmp_path: Path, server: Hostile) -> None:
    """Also where one signal has a longer timeout than the others: no other probe voids its answer."""
    with Yard(tmp_path, forward(server, traces=SignalRule(timeout=Duration(180)))) as yard:
        (breaker,) = yard.forwards.consumers["out"].sender.failover.breakers

    assert 180 == breaker._patience


def test_a_wait_that_the_server_asked_for_is_kept(tmp_path: Path, server: Hostile) -> None:
    """`Retry-After` outlives the circuit that closes meanwhile: the server said when it wants to be asked again."""
    server.will(Say(503, headers={"Retry-After": "3600"}), Say())
    keys = {"retry": Retrying(initial=Duration(0.1), maximum=Duration(3600)), "batch": small(1, in_flight=2)}
    with Yard(tmp_path, forward(server, breaker=Breaking(failures=1, recovery=Duration(0.2)), **keys)) as yard:
        yard.write(spans(0, 3))
        later = [span(3)]

        def until() -> bool:
            if yard.status().delivered == 2 and later:
                yard.write(later.pop())
            return yard.status().delivered == 3

        yard.run(until)
        assert (1, "closed") == (yard.status().unsettled, yard.status().breaker)


def test_a_defect_of_a_sink_costs_no_record(tmp_path: Path, server: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw ends neither the agent nor the consumer: the batch is a dead letter, the next one goes on."""
    from agent.sinks.otlp import OtlpSink

    real: Callable[..., bytes] = OtlpSink.encode

    def broken(sink: OtlpSink, batch: Batch) -> bytes:
        if b'"n0"' in batch.records[0]:
            raise ZeroDivisionError("unforeseen")
        return real(sink, batch)

    monkeypatch.setattr(OtlpSink, "encode", broken)
    with Yard(tmp_path, forward(server, batch=small(1, in_flight=1))) as yard:
        yard.write(spans(0, 2))
        yard.run(settled(yard, 2))

    assert {1: 1} == numbers(bodies(server))
    assert ["defect"] == [one["kind"] for one in letters(tmp_path)]


def part(yard: Yard) -> tuple[str, str]:
    """What the forward's component says."""
    return next((one.state, one.message) for one in yard.components.all() if one.name == "forward out")


def spoil(monkeypatch: pytest.MonkeyPatch, record: bytes) -> None:
    """Let the sink's encoder refuse every batch that holds this."""
    from agent.sinks.otlp import OtlpSink

    real: Callable[..., bytes] = OtlpSink.encode

    def encode(sink: OtlpSink, batch: Batch) -> bytes:
        if any(record in one for one in batch.records):
            raise Reject("not in this format", ErrorClass.BAD_DATA)
        return real(sink, batch)

    monkeypatch.setattr(OtlpSink, "encode", encode)


def test_what_cannot_be_encoded_goes_alone(tmp_path: Path, server: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    """One record that the sink's format has no place for is a dead letter; its neighbours are delivered."""
    spoil(monkeypatch, b'"n5"')
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(spans(0, 100))
        yard.run(settled(yard, 100))
        assert ("ok", "") == part(yard)

    assert once(0, 100) - once(5, 6) == numbers(bodies(server))
    assert [span(5).decode()] == [one["record"] for one in letters(tmp_path)]


def test_what_cannot_be_encoded_is_no_answer(tmp_path: Path, server: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open circuit stays open: only the destination's own word may close it."""
    spoil(monkeypatch, b'"name"')
    server.will(Say(503))
    breaker = Breaking(failures=1, recovery=Duration(60))
    with Yard(tmp_path, forward(server, batch=small(1, in_flight=2), breaker=breaker)) as yard:
        yard.write(log(0))
        later = [spans(1, 3)]

        def until() -> bool:
            if yard.status().breaker == "open" and later:
                yard.write(later.pop())
            return yard.status().failed_exports == 2

        yard.run(until)
        assert ("open", 1) == (yard.status().breaker, yard.status().trips)

    assert 1 == len(server.heard)


@pytest.mark.parametrize("how", ["reset", "stop"])
def test_a_batch_that_is_divided_can_be_given_up(
    tmp_path: Path, server: Hostile, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """However many halves are still to come: after a reset they are filtered, after a stop they wait on disk."""
    spoil(monkeypatch, b'"name"')
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(spans(0, 5000))
        asked: list[str] = []

        def until() -> bool:
            now = yard.status()
            if now.failed_exports and not asked and how == "reset":
                yard.forwards.reset_cursor("out", [], position=2**62)
                asked.append(how)
            return now.failed_exports > 0 if how == "stop" else not now.unsettled and bool(asked)

        yard.run(until)
        now = yard.status()

    assert now.dead_lettered < 5000
    assert (5000, 0) == ((now.unsettled, now.filtered) if how == "stop" else (now.filtered + now.dead_lettered, 0))


@pytest.mark.parametrize("answers", [[Say(401)], [Say(503), Say(400)]])
def test_a_destination_that_refuses_everything_is_not_well(tmp_path: Path, server: Hostile, answers: list[Say]) -> None:
    """Records become dead letters: the forward is degraded and names the answer, until one is taken again."""
    server.will(*answers)
    with Yard(tmp_path, forward(server, batch=small(1, in_flight=1))) as yard:
        yard.write(spans(0, 5))
        state: list[tuple[str, str]] = []

        def until() -> bool:
            if yard.status().dead_lettered == 5 and not state:
                state.append(part(yard))
                server.will(Say())
                yard.write(span(5))
            return yard.status().delivered == 1

        yard.run(until)
        assert ("ok", "") == part(yard)

    assert [("degraded", f"records are refused: {answers[-1].status}")] == [
        (one, said.partition(" from")[0]) for one, said in state
    ]


def test_partial_successes_are_told_not_repeated(
    tmp_path: Path, server: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A destination that refuses a bit of every batch fills no log; health says so while it does."""
    told: list[str] = []
    monkeypatch.setattr(sender, "_log", SimpleNamespace(warning=lambda event, **_: told.append(event)))
    server.will(Say(body=b'{"partialSuccess":{"rejectedSpans":"1","errorMessage":"no room"}}'))
    with Yard(tmp_path, forward(server, batch=small(1, in_flight=1))) as yard:
        yard.write(spans(0, 5))
        yard.run(settled(yard, 5))
        assert ("degraded", "1 item of a batch refused: no room") == part(yard)

    assert ["partial success"] == told


def test_a_batch_is_encoded_once_however_often_it_is_tried(
    tmp_path: Path, server: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage costs no processor time for each try; only the halves of what is too large are encoded anew."""
    from agent.sinks.otlp import OtlpSink

    real: Callable[..., bytes] = OtlpSink.encode
    encoded: list[int] = []

    def watched(sink: OtlpSink, batch: Batch) -> bytes:
        encoded.append(len(batch.records))
        return real(sink, batch)

    monkeypatch.setattr(OtlpSink, "encode", watched)
    server.will(Say(503), Say(503), Say(413), Say(503), Say())
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(spans(0, 4))
        yard.run(settled(yard, 4))

    assert [4, 2, 2] == encoded
    assert 3 == yard.status().retries


def test_another_endpoint_gets_what_was_encoded_for_it(
    tmp_path: Path, server: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for one endpoint is encoded for that one; whoever takes its place encodes it in its own way."""
    from agent.sinks.otlp import OtlpSink

    def named(sink: OtlpSink, _: Batch) -> bytes:
        return sink.destination.encode()

    monkeypatch.setattr(OtlpSink, "encode", named)
    server.will(Say(503))
    with serving() as other:
        keys = {"endpoints": (server.url, other.url), "breaker": Breaking(failures=1, recovery=Duration(60))}
        with Yard(tmp_path, forward(server, compression="none", **keys)) as yard:
            yard.write(spans(0, 4))
            yard.run(settled(yard, 4))

    assert [server.url.encode()] == [heard.raw for heard in server.heard]
    assert [other.url.encode()] == [heard.raw for heard in other.heard]


@pytest.mark.parametrize("answer", [Say(503), Say(429, headers={"Retry-After": "600"})])
def test_a_reset_gives_up_what_waits(tmp_path: Path, server: Hostile, answer: Say) -> None:
    """A batch that a destination will not take must not stand in the way for ever, whatever it waits for.

    It is no loss but left out by the operator, and the books say so; what comes later is delivered.
    """
    server.will(answer)
    patience = Retrying(initial=Duration(0.01), maximum=Duration(600))
    with Yard(tmp_path, forward(server, batch=small(3, in_flight=1), retry=patience)) as yard:
        yard.write(spans(0, 3))
        done = settled(yard, 5)
        moved: list[int] = []

        def until() -> bool:
            if server.heard and not moved and yard.status().retries:
                moved.append(len(yard.forwards.reset_cursor("out", [], position=2**62)))
                server.will(Say())
                yard.write(spans(3, 5))
            return bool(moved) and done()

        yard.run(until)
        now = yard.status()

    assert (5, 2, 3, 0) == (now.read, now.delivered, now.filtered, now.unsettled)
    assert {0, 1, 2} == set(numbers(bodies(server)[:1]))
    assert once(3, 5) == numbers(body for body in bodies(server) if b'"n0"' not in body)


def test_a_reset_counts_a_record_of_two_signals_once(tmp_path: Path, server: Hostile) -> None:
    """It travels in two requests, and both are given up: the books stay balanced, and nothing is below zero."""
    server.will(Say(503))
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(span(0)[:-2] + b"," + log(0)[1:])
        moved: list[int] = []

        def until() -> bool:
            if not moved and yard.status().retries:
                moved.append(len(yard.forwards.reset_cursor("out", [], position=2**62)))
            return bool(moved) and settled(yard, 1)()

        yard.run(until)
        now = yard.status()

    assert (1, 0, 1) == (now.read, now.delivered, now.filtered)


def test_a_reset_to_the_same_place_sends_again(tmp_path: Path, server: Hostile) -> None:
    """The batch that was given up has the bounds of the one that takes its place, and settles nothing of it."""
    server.will(Say(503))
    with Yard(tmp_path, forward(server, batch=small(3, in_flight=2), start="earliest")) as yard:
        yard.write(spans(0, 3))
        moved: list[int] = []
        seen: list[int] = []

        def until() -> bool:
            if not moved and yard.status().retries:
                moved.append(len(yard.forwards.reset_cursor("out", [], position=0)))
            if not seen and yard.status().filtered and len(server.heard) > 3:
                seen.append(yard.forwards.cursors()[0].position)
                server.will(Say())
            return bool(seen) and settled(yard, 6)()

        yard.run(until)
        (cursor,) = yard.forwards.cursors()

    assert (0, len(spans(0, 3))) == (seen[0], cursor.position)
    assert 3 == yard.status().delivered
