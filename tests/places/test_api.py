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
@pytest.mark.parametrize("admin", [False, True], ids=["anybody", "admin"])
def test_schemathesis_finds_no_page_that_breaks_its_word(tmp_path: Path, admin: bool) -> None:
    """Each operation, with what is described and with what is not, answers by its schema; the agent stays well.

    The bearer of the token may also rotate, clean up and reload.
    """
    tool = Path(sys.executable).with_name("st")
    if not tool.exists():
        pytest.skip("needs: pip install schemathesis")
    settings = {"health.interval": "500ms"}
    if admin:
        settings["web.admin_token_file"] = str(tmp_path / "token")
        (tmp_path / "token").write_text("0123456789abcdef0123456789abcdef\n", "ascii")
        (tmp_path / "token").chmod(0o600)
    with Program(AGENT, tmp_path / "t", settings) as program:
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
        if admin:  # who gives it no time gets 504, as described; 500 is not
            bearer = "--header=Authorization: Bearer 0123456789abcdef0123456789abcdef"
            command += [bearer, "--exclude-checks=not_a_server_error"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100)

        assert done.returncode == 0, done.stdout
        assert "No issues found" in done.stdout
        assert 200 == program.get("/livez")[0]
