"""The demo's play: a directory, an agent, a writer, somebody who watches, and the count when both have left.

The agent and the writer are processes of their own sessions, so Ctrl-C reaches only this one, which then ends them
in the right order: first the writer, which tells what it wrote, then the agent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from agent.cli.demo.judge import judge
from agent.cli.demo.view import Picture, look, show_verdict
from agent.cli.interrupts import interrupts
from agent.cli.output import screen
from agent.rehearsal.stage import AGENT, Child, Stage, directory, lines_told

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
_FRAME = 0.25  # seconds between two looks for a picture
_LINE = 1.0  # and between two lines where there is no terminal


def play(seconds: float, rate: float, *, keep: bool, agent: Sequence[str] = AGENT) -> bool:
    """Run the demo; True when every line was found exactly once. Raises AgentError when a process fails.

    `agent` is the module to run and its arguments, before `--config FILE`.
    """
    with directory("demo", keep=keep) as root:
        try:
            return _play(root, seconds, rate, agent)
        finally:
            if keep:
                print(f"The files are kept in {root}; `zcat {root}/telemetry/*.gz` reads them.")


def _play(root: Path, seconds: float, rate: float, command: Sequence[str]) -> bool:
    stage = Stage(root, _CONFIG, whose="the demo's", agent=command)
    with interrupts() as stop:
        try:
            stage.await_ready(stop)
            written = _write(stage, seconds, rate, stop)
        finally:
            stage.agent.end()
        stage.agent.check()
    verdict = judge(stage.live, written)
    show_verdict(verdict, screen())
    return verdict.ok


def _write(stage: Stage, seconds: float, rate: float, stop: threading.Event) -> int:
    """Let the writer write and show what happens; how many lines it wrote, by its own count."""
    writer = stage.writer(rate)
    try:
        _watch(stage.live, seconds, stop, stage.agent, writer)
    finally:
        told = writer.end()
    for child in (writer, stage.agent):
        child.check()
    return lines_told(told)


def _watch(live: Path, seconds: float, stop: threading.Event, *children: Child) -> None:
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
