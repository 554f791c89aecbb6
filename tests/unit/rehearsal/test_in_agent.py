"""Tests begun over HTTP in a real agent."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import AGENT, Program
from tests.unit.rehearsal.test_outage import processes


def ask(agent: Program, path: str, body: dict[str, Any] | None = None) -> Any:
    """The answer in JSON."""
    url = f"http://127.0.0.1:{agent.port}/telemetry-test/{path}"
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - as above
        return json.load(answer)


def until(done: Callable[[], Any]) -> None:
    """Wait for a condition."""
    give_up = time.monotonic() + 60
    while not done():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def test_a_load_is_watched_and_nothing_of_a_rehearsal_outlives_its_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spans that were asked for are a stream; an agent that is killed takes agent and writer of its rehearsal along."""
    stages = tmp_path / "stages"
    stages.mkdir()
    monkeypatch.setenv("TMPDIR", str(stages))
    settings = {"web.test_endpoints": "true", "files.scan_interval": "100ms"}
    with Program(AGENT, tmp_path / "t", settings) as agent:
        agent.wait_ready()
        load = ask(agent, "generate-loads", {"span_count": 50})
        until(lambda: ask(agent, f"test/{load['test_id']}")["status"] == "completed")
        until(lambda: "telemetry-agent-test.json" in agent.get("/api/v1/streams")[1])
        drill = ask(agent, "simulate/collector-failure", {"duration_seconds": 300})
        until(lambda: (ask(agent, f"test/{drill['test_id']}")["progress"] or {}).get("received"))
        assert 2 == len(processes(str(stages)))
        os.kill(agent.pid, signal.SIGKILL)
        until(lambda: not processes(str(stages)))
