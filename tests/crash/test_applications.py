"""Applications that export into the watched directory and are killed, beside a running agent that rotates the file."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.program import AGENT, KEEP_ALL, ROOT, Program
from tests.torture.segments import all_lines


def names(content: Iterable[bytes]) -> tuple[Counter[str], int]:
    """How often each span was found by its name, and how many lines are no JSON."""
    found: Counter[str] = Counter()
    torn = 0
    for line in content:
        try:
            document = json.loads(line)
        except ValueError:
            torn += 1
            continue
        for resource in document["resourceSpans"]:
            found.update(span["name"] for scope in resource["scopeSpans"] for span in scope["spans"])
    return found, torn


def killed(directory: Path, first: int, batches: int) -> set[str]:
    """Run an application, kill it and its fork after so many exports; the spans whose export had returned."""
    command = [sys.executable, "-m", "tests.support.traced", str(directory), str(first)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        told = b"".join(process.stdout.readline() for _ in range(batches))
        os.killpg(process.pid, signal.SIGKILL)
        # The last line may be cut: its export had returned, but what was not told cannot be asked for.
        *whole, _ = (told + process.stdout.read()).split(b"\n")
    return {name.decode() for line in whole for name in line.split()}


@pytest.mark.parametrize("kills", [2, pytest.param(40, marks=pytest.mark.long)])
def test_every_span_whose_export_returned_is_found_once(kills: int, tmp_path: Path) -> None:
    """Two processes at a time, both killed in the middle; the agent seals and releases the file meanwhile."""
    rng = random.Random(kills)
    settings = {**KEEP_ALL, "rotation.max_size": "300kB", "files.scan_interval": "100ms"}
    with Program(AGENT, tmp_path, settings) as agent:
        agent.wait_ready()
        told: set[str] = set()
        for number in range(kills):
            told |= killed(tmp_path, number * 2_000_000, rng.randrange(20, 60))
        give_up = time.monotonic() + 60
        while not list(tmp_path.glob("traces_*.json.gz")):
            agent.check_alive()
            assert time.monotonic() < give_up, agent.output()
            time.sleep(0.05)
    found, torn = names(all_lines(tmp_path / "traces.json"))

    assert len(told) > 20 * kills
    assert set() == told - set(found)
    assert [] == [name for name, times in found.items() if times != 1]
    assert torn <= kills  # at most one line a kill was being written
