"""The demo's play: a directory, an agent, a writer, somebody who watches, and the count when both have left.

The agent and the writer are processes of their own sessions, so Ctrl-C reaches only this one, which then ends them
in the right order: first the writer, which tells what it wrote, then the agent.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import agent as agent_package
from agent.cli.demo.judge import judge
from agent.cli.demo.view import Picture, look, show_verdict
from agent.cli.output import screen
from agent.config import STATE_DIRECTORY
from agent.kit.errors import AgentError, printable
from agent.web.remote import RemoteControl

_CONFIG = """\
# The demo's limits: small, so that a lot happens; retention keeps everything, so that everything can be counted.
[files]
directory = {directory}
critical_total = "off"

[rotation]
max_size = "1MB"

[retention]
keep = 0
max_age = "off"
max_total = "off"

[web]
listen = ""
"""
_PATIENCE = 15.0  # seconds the agent may take to be ready, and each process to leave
_SOURCE = str(Path(agent_package.__file__).parent.parent)
"""Where this package lies: the children are to be of it, whatever directory called `agent` the user stands in."""
_FRAME = 0.25  # seconds between two looks for a picture
_LINE = 1.0  # and between two lines where there is no terminal


def play(seconds: float, rate: float, *, keep: bool, agent: Sequence[str] = ("agent", "run")) -> bool:
    """Run the demo; True when every line was found exactly once. Raises AgentError when a process fails.

    `agent` is the module to run and its arguments, before `--config FILE`.
    """
    root = Path(tempfile.mkdtemp(prefix="telemetry-agent-demo-"))
    try:
        return _play(root, seconds, rate, agent)
    finally:
        if keep:
            print(f"The files are kept in {root}; `zcat {root}/telemetry/*.gz` reads them.")
        else:
            shutil.rmtree(root, ignore_errors=True)


def _play(root: Path, seconds: float, rate: float, command: Sequence[str]) -> bool:
    live = root / "telemetry" / "traces.json"
    live.parent.mkdir()
    (root / "agent.toml").write_text(_CONFIG.format(directory=json.dumps(str(live.parent))), "utf-8")
    with _interrupts() as stop:
        agent = _Child("agent", root / "agent.log", *command, "--config", str(root / "agent.toml"))
        try:
            _await_ready(agent, RemoteControl(str(live.parent / STATE_DIRECTORY)), stop)
            written = _write(agent, live, seconds, rate, stop)
        finally:
            agent.end()
        if agent.code:
            raise agent.failure()
    verdict = judge(live, written)
    show_verdict(verdict, screen())
    return verdict.ok


class _Child:
    """A Python module as a process of a session of its own; what it says on standard error goes to a file."""

    def __init__(self, name: str, log: Path, *command: str) -> None:
        self._name = name
        self._log = log
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", *command],
                env=os.environ | {"PYTHONPATH": _SOURCE},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )

    @property
    def code(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.poll()

    def end(self) -> bytes:
        """Ask it to end, kill it if it does not, and return what it said on standard output."""
        self._process.terminate()
        try:
            return self._process.communicate(timeout=_PATIENCE)[0]
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.communicate()[0]

    def failure(self) -> AgentError:
        """The error that it ended in, in its own last words."""
        words = self._log.read_text("utf-8", "replace").strip().splitlines()[-5:]
        what = f"the demo's {self._name} ended with {self.code}"
        return AgentError(f"{what}: {' / '.join(map(printable, words)) or 'it said nothing'}")


@contextlib.contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """An event that SIGINT, SIGTERM and SIGHUP set; a second SIGINT interrupts the counting, too."""
    stop = threading.Event()

    def note(number: int, _: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _await_ready(agent: _Child, control: RemoteControl, stop: threading.Event) -> None:
    """Wait until the agent has seen the directory, so that the writer meets it at work."""
    deadline = time.monotonic() + _PATIENCE
    while not stop.is_set() and not (control.listens() and control.status().ready):
        if agent.code is not None:
            raise agent.failure()
        if time.monotonic() > deadline:
            raise AgentError(
                "the demo's agent is not ready in time", hint=f"it had {_PATIENCE:.0f} s; is the disk busy?"
            )
        stop.wait(0.05)


def _write(agent: _Child, live: Path, seconds: float, rate: float, stop: threading.Event) -> int:
    """Let the writer write and show what happens; how many lines it wrote, by its own count."""
    writer = _Child("writer", live.parent.parent / "writer.log", "agent.cli.demo.writer", str(live), str(rate))
    try:
        _watch(live, seconds, stop, agent, writer)
    finally:
        told = writer.end()
    for child in (writer, agent):
        if child.code:
            raise child.failure()
    return int(json.loads(told)["lines"])


def _watch(live: Path, seconds: float, stop: threading.Event, *children: _Child) -> None:
    """Show the directory until the time is over, somebody interrupts, or a child has left."""
    console = screen()
    picture = Picture(live, seconds, ascii_only=console.options.ascii_only)
    began = time.monotonic()

    def go_on() -> bool:
        at = time.monotonic() - began
        picture.add(look(live, at))
        return at < seconds and not stop.is_set() and all(child.code is None for child in children)

    if not console.is_terminal:
        while go_on():
            print(picture.line(), flush=True)
            stop.wait(_LINE)
        return
    from rich.live import Live

    with Live(console=console, auto_refresh=False) as live_display:
        while go_on():
            live_display.update(picture.frame(), refresh=True)
            stop.wait(_FRAME)
