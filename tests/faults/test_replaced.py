"""A watched directory that is taken away and made again under a running agent."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.program import AGENT, KEEP_ALL, Program
from tests.torture import segments

LIMIT = 60.0


def sealed(path: Path) -> list[Path]:
    """What was sealed in a directory."""
    return sorted(path.glob("*.json.gz"))


def wait(program: Program, done: Callable[[], object]) -> None:
    """Until `done()`; TimeoutError with the program's output."""
    end = time.monotonic() + LIMIT
    while not done():
        program.check_alive()
        if time.monotonic() > end:
            raise TimeoutError(program.output())
        time.sleep(0.02)


def test_another_directory_at_the_path_is_taken_up_by_itself(tmp_path: Path) -> None:
    """Case 27: the same process watches the new one, with a new socket; what lies in the old one stays as it is."""
    watched = tmp_path / "watched"
    watched.mkdir()
    (watched / "a.json").write_bytes(b'{"n":1}\n' * 1000)
    settings = {**KEEP_ALL, "rotation.max_size": "4KB", "files.scan_interval": "200ms"}
    with Program(AGENT, watched, settings) as program:
        program.wait_ready()
        wait(program, lambda: sealed(watched))
        away = watched.rename(tmp_path / "away")
        held = {one.name: one.read_bytes() for one in sealed(away)}
        watched.mkdir()
        (watched / "b.json").write_bytes(b'{"n":2}\n' * 1000)
        wait(program, lambda: sealed(watched))
        wait(program, (watched / ".telemetry-agent" / "agent.sock").exists)
        program.wait_ready(LIMIT)
        ended = program.stop()

    assert 0 == ended.status
    assert b'{"n":2}\n' * 1000 == b"".join(
        plain for one in sealed(watched) for _, plain in segments.inflate(segments.load(one).body, one.name)
    )
    assert held == {one.name: one.read_bytes() for one in sealed(away)}
    assert "starts anew" in ended.output
    assert os.path.exists(away / ".telemetry-agent")
