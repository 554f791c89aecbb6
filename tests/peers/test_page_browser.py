"""The status page in a real browser: read by axe-core, photographed, brought up to date by its script."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import AGENT, Program

pytestmark = [pytest.mark.peer, pytest.mark.long, pytest.mark.timeout(600)]

CHROMIUM = shutil.which("chromium")
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
SCRIPT = Path(__file__).with_name("browser.mjs")


@pytest.fixture(scope="module")
def modules(request: pytest.FixtureRequest) -> Path:
    """A directory in which node finds axe-core and a driver of browsers; installed once."""
    if CHROMIUM is None or shutil.which("npm") is None:
        pytest.skip("needs: apt-get install chromium npm")
    assert request.config.cache is not None
    home = Path(request.config.cache.mkdir("peers")) / "browser"
    if not (home / "ready").exists():
        home.mkdir(exist_ok=True)
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(home), "axe-core", "playwright-core"]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=200)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"needs: npm install axe-core playwright-core ({type(error).__name__})")
        (home / "ready").touch()
    return home


def browse(modules: Path, url: str, pictures: Path, **options: Any) -> dict[str, Any]:
    """Open the page as `options` say; what the browser found."""
    given = {"url": url, "browser": CHROMIUM, "pictures": str(pictures), **options}
    script = modules / "browser.mjs"
    shutil.copy(SCRIPT, script)
    command = ["node", str(script), json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def program(tmp_path: Path) -> Any:
    """An agent with something to show, and something to complain about."""
    directory = tmp_path / "live"
    directory.mkdir()
    (directory / "package.json").write_text("{\n}\n", "utf-8")
    for name in ("traces.json", "<img src=x onerror=alert(1)>.json"):
        (directory / name).write_text('{"resourceSpans":[]}\n' * 5000, "utf-8")
    config = tmp_path / "agent.toml"
    config.write_text('[[forward]]\nname = "nobody"\nendpoints = ["http://127.0.0.1:9"]\n', "utf-8")
    settings = {"rotation.max_size": "50kB", "system.interval": "1s"}
    with Program((*AGENT, "--config", str(config)), directory, settings) as program:
        program.wait_ready()
        yield program


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_axe_finds_nothing_and_the_policy_stops_nothing(
    modules: Path, program: Program, tmp_path: Path, size: str, scheme: str
) -> None:
    """No violation, no message in the console, one address asked, nothing wider than the screen."""
    width, height = SIZES[size]
    found = browse(
        modules, f"http://127.0.0.1:{program.port}/", tmp_path, width=width, height=height, scheme=scheme, script=True
    )

    assert [] == found["violations"]
    assert [] == found["console"]
    assert [f"http://127.0.0.1:{program.port}/"] == found["asked"]
    assert width >= found["width"]
    assert found["passes"] > 30
    assert "traces.json" in found["text"]


def test_without_javascript_everything_is_there(modules: Path, program: Program, tmp_path: Path) -> None:
    """Verdict, streams, destinations, checks, the audit trail."""
    found = browse(
        modules, f"http://127.0.0.1:{program.port}/", tmp_path, width=1280, height=900, scheme="light", script=False
    )

    for wanted in ("package.json", "traces.json", "nobody", "disk_space", "Audit trail", "onerror=alert"):
        assert wanted in found["text"]
    assert "Pause updates" not in found["text"]


def test_the_script_follows_the_agent_and_says_when_it_is_gone(modules: Path, program: Program, tmp_path: Path) -> None:
    """The focus stays on what was focused, and what is old is called old."""
    found = browse(
        modules, f"http://127.0.0.1:{program.port}/", tmp_path, width=1280, height=900, scheme="dark", script=True,
        kill=program.pid,
    )  # fmt: skip

    assert found["moved"]
    assert "Pause updates" == found["focused"]
    assert "The agent does not answer" in found["gone"]
    os.kill(program.pid, signal.SIGCONT)
