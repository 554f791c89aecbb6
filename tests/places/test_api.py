"""The served OpenAPI description, by a program that calls every page as the description says it may be called."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.program import AGENT, Program


@pytest.mark.peer
def test_schemathesis_finds_no_page_that_breaks_its_word(tmp_path: Path) -> None:
    """Each operation, with what is described and with what is not, answers by its schema; the agent stays well."""
    tool = Path(sys.executable).with_name("st")
    if not tool.exists():
        pytest.skip("needs: pip install schemathesis")
    with Program(AGENT, tmp_path / "t", {"health.interval": "500ms"}) as program:
        program.wait_ready()
        (tmp_path / "t/a.json").write_text('{"resourceSpans":[]}\n', "utf-8")
        os.kill(program.pid, signal.SIGUSR1)
        give_up = time.monotonic() + 30
        while not json.loads(program.get("/api/v1/segments")[1])["segments"]:
            assert time.monotonic() < give_up, program.output()
            os.kill(program.pid, signal.SIGUSR1)
            time.sleep(0.1)
        url = f"http://127.0.0.1:{program.port}/openapi.json"
        command = [tool, "run", url, "--max-examples=5", "--seed=1", "--no-color"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100)

        assert done.returncode == 0, done.stdout
        assert "No issues found" in done.stdout
        assert 200 == program.get("/livez")[0]
