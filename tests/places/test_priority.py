"""Niceness and scheduling of a running agent's threads, as the kernel has them."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path

from tests.support.program import AGENT, Program


def threads(pid: int) -> dict[int, tuple[int, int]]:
    """Niceness (proc(5), field 19 of stat) and scheduling policy of each thread that lives, by its id.

    One that ends between its listing and its reading is left out: a process with workers always has some.
    """
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            stat = (task / "stat").read_text("utf-8").rsplit(")", 1)[1].split()
            found[int(task.name)] = int(stat[16]), os.sched_getscheduler(int(task.name))
    return found


def test_what_works_is_nicer_than_what_answers(tmp_path: Path) -> None:
    """The thread that seals asks for less of the processor; the main loop and the pages stay as they were started.

    And none of them interrupts who runs when it wakes.
    """
    directory = tmp_path / "live"
    directory.mkdir()
    (directory / "a.json").write_text('{"a":1}\n' * 50_000, "utf-8")
    wanted = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 9)
    settings = {"rotation.max_size": "100kB", "agent.nice": str(wanted), "agent.ionice": "idle"}

    with Program(AGENT, directory, settings) as program:
        program.wait_ready()
        until = time.monotonic() + 30
        while not list(directory.glob("*.gz")):
            assert time.monotonic() < until, program.output()
            time.sleep(0.05)
        found = threads(program.pid)
        own = json.loads(program.get("/health")[1])["own"]

    assert wanted in {nice for nice, _ in found.values()}
    assert found[program.pid][0] < wanted
    assert {policy for _, policy in found.values()} == {os.SCHED_BATCH}
    assert (wanted, "idle", "") == (own["nice"], own["ionice"], own["priority_problem"])
