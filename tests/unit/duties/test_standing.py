"""Where consumers stand: what is told of batches under way."""

from __future__ import annotations

from pathlib import Path

from agent.config.forward import Retrying
from tests.support.hostile import Say, serving
from tests.support.yard import LEAF, Duration, Yard, bodies, forward, numbers, once, settled, small, spans

PATIENT = Retrying(initial=Duration(30), maximum=Duration(60))


def test_only_what_is_under_way_counts_as_in_flight(tmp_path: Path) -> None:
    """One batch is put off for long, many behind it are taken: one is under way, and a restart sends just that one."""
    with serving() as server:
        server.will(Say(429, headers={"Retry-After": "60"}, about=b'"n0"'), *[Say()] * 50)
        with Yard(tmp_path, forward(server, batch=small(1, in_flight=2), retry=PATIENT)) as yard:
            yard.write(spans(0, 50))
            yard.run(lambda: yard.status().delivered == 49 and yard.status().in_flight == 1)
            (cursor,) = yard.forwards.cursors()
            assert (0, 1) == (cursor.position, cursor.in_flight)
        server.heard.clear()
        server.will(Say())
        with Yard(tmp_path, forward(server, batch=small(1, in_flight=2))) as yard:
            yard.run(settled(yard, 1))
            (cursor,) = yard.forwards.cursors()
            assert ((tmp_path / LEAF).stat().st_size, 0) == (cursor.position, cursor.in_flight)

        assert once(0, 1) == numbers(bodies(server))
