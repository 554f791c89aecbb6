"""Dead letters sent again."""

from __future__ import annotations

from pathlib import Path

from tests.support.hostile import Hostile, Say
from tests.support.yard import Yard, bodies, forward, letters, numbers, settled, span


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
