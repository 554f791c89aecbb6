"""Dead letters sent again."""

from __future__ import annotations

from pathlib import Path

import pytest

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
