"""The agent dies between any two actions of a delivery, or is told to stop while nobody takes anything."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.kit import steps
from tests.support.hostile import Hostile, Say
from tests.support.program import AGENT, Program
from tests.support.yard import LEAF, Yard, bodies, forward, numbers, settled, small, spans

KILLED = 77
POINTS = (
    "ship.begun",
    "ship.sending",
    "ship.answered",
    "ship.buried",
    "ship.settled",
    "state.written",
    "state.synced",
    "state.renamed",
)
BATCH = 5
IN_FLIGHT = 2
RECORDS = 40


def die_at(point: str, times: int) -> None:
    """End this process without a word when the place is reached for so many times."""
    left = [times]

    def hook(name: str) -> None:
        if name == point:
            left[0] -= 1
            if not left[0]:
                os._exit(KILLED)

    steps.watch(hook)


def killed_at(path: Path, server: Hostile, point: str, times: int) -> int:
    """The exit status of an agent that ships this directory in a process of its own and dies at `point`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the server's thread is not in the child, nor needed there
        pid = os.fork()
    if pid == 0:
        try:
            with Yard(path, forward(server, batch=small(BATCH, in_flight=IN_FLIGHT))) as yard:
                die_at(point, times)
                yard.run(settled(yard, RECORDS))
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("point", POINTS)
def test_case_11_a_kill_anywhere_loses_nothing(tmp_path: Path, server: Hostile, point: str, times: int) -> None:
    """Case 11: around a send and at each step of the cursor's write: only what was under way arrives twice."""
    (tmp_path / LEAF).write_bytes(spans(0, RECORDS))

    assert KILLED == killed_at(tmp_path, server, point, times)
    with Yard(tmp_path, forward(server, batch=small(BATCH, in_flight=IN_FLIGHT))) as yard:
        yard.run(lambda: yard.status().backlog_bytes == 0 and yard.status().unsettled == 0)

    arrived = numbers(bodies(server))
    assert set(range(RECORDS)) == set(arrived)
    twice = sum(count - 1 for count in arrived.values())
    assert twice <= BATCH * IN_FLIGHT
    again = Counter(heard.raw for heard in server.heard)
    assert twice == BATCH * sum(count - 1 for count in again.values())


def test_case_24_sigterm_while_nobody_takes_anything(tmp_path: Path, server: Hostile) -> None:
    """Case 24: it leaves within its time, nothing is deleted, and the next start delivers everything.

    So does the one after that, of what was appended after the last cursor and before a SIGKILL.
    """
    watched = tmp_path / "watched"
    watched.mkdir()
    (watched / LEAF).write_bytes(spans(0, 20))
    server.will(Say(503))
    config = tmp_path / "agent.toml"
    config.write_text(
        f'[agent]\nstop_timeout = "5s"\n[[forward]]\nname = "out"\nendpoints = ["{server.url}"]\n'
        '[forward.batch]\nmax_delay = "0s"\n[forward.retry]\ninitial = "50ms"\n',
        "utf-8",
    )
    first = Program((*AGENT, "--config", str(config)), watched, {})
    _until(lambda: len(server.heard) >= 2)
    ended = first.stop(signal.SIGTERM, limit=8)
    assert 0 == ended.status
    server.will(Say())
    second = Program((*AGENT, "--config", str(config)), watched, {})
    _until(lambda: set(range(20)) <= set(numbers(heard.body for heard in server.heard[-1:])))
    with (watched / LEAF).open("ab") as file:
        file.write(spans(20, 25))
    _until(lambda: 24 in numbers(bodies(server)))
    with (watched / LEAF).open("ab") as file:
        file.write(spans(25, 30))
    second.stop(signal.SIGKILL)
    third = Program((*AGENT, "--config", str(config)), watched, {})
    _until(lambda: 29 in numbers(bodies(server)))
    third.stop(signal.SIGKILL)

    assert set(range(30)) == set(numbers(bodies(server)))
    assert 1 == len({heard.raw for heard in server.heard if b'"n0"' in heard.body})


def _until(done: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for what other processes bring about."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)
