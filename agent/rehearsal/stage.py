"""Where a rehearsal plays: a directory of its own, an agent and a writer as processes of their own.

Nothing of the user's is touched: the processes get their configuration as a file and a bare environment, so neither
TELEMETRY_AGENT__ variables nor those of OpenTelemetry or of the service manager reach them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import agent as agent_package
from agent.config import STATE_DIRECTORY
from agent.kit.errors import AgentError, printable
from agent.web.remote import RemoteControl

AGENT = ("agent", "run")
"""The agent's module and its arguments before `--config FILE`."""
PATIENCE = 15.0
"""Seconds the agent may take to be ready, and each process to leave."""
_SOURCE = str(Path(agent_package.__file__).parent.parent)
"""Where this package lies: the children are to be of it, whatever directory called `agent` the user stands in."""
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


class Child:
    """A Python module as a process of a session of its own; what it says on standard error goes to a file."""

    def __init__(self, name: str, log: Path, *command: str) -> None:
        self._name = name
        self._log = log
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "agent.rehearsal.leash", *command],
                env={key: os.environ[key] for key in _PASSED_ON if key in os.environ} | {"PYTHONPATH": _SOURCE},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )

    @property
    def code(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.poll()

    def end(self) -> bytes:
        """Ask it to end, kill it if it does not, and return what it said on standard output: little, a pipe's worth."""
        process = self._process
        process.terminate()
        try:
            # Not `communicate`: that would first close its standard input, which is the leash.
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        told = process.stdout.read() if process.stdout and not process.stdout.closed else b""
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()
        return told

    def kill(self) -> None:
        """End it at once. From any thread."""
        self._process.kill()

    def check(self) -> None:
        """Raise AgentError, in its own last words, when it has ended by a failure."""
        if self.code:
            raise self.failure()

    def failure(self) -> AgentError:
        """The error that it ended in."""
        words = self._log.read_text("utf-8", "replace").strip().splitlines()[-5:]
        what = f"{self._name} ended with {self.code}"
        return AgentError(f"{what}: {' / '.join(map(printable, words)) or 'it said nothing'}")


class Stage:
    """The directory and the agent in it, from the moment in which it is ready until it has ended.

    `rules` is the configuration's text but for `files.directory`; `whose` names the rehearsal in errors.
    """

    def __init__(self, root: Path, rules: str, *, whose: str, agent: Sequence[str] = AGENT) -> None:
        self.root = root
        self.live = root / "telemetry" / "traces.json"
        self._whose = whose
        self.live.parent.mkdir()
        directory = json.dumps(str(self.live.parent))
        config = root / "agent.toml"
        config.write_text(rules.format(directory=directory), "utf-8")
        self.control = RemoteControl(str(self.live.parent / STATE_DIRECTORY))
        self.agent = Child(f"{whose} agent", root / "agent.log", *agent, "--config", str(config))

    @property
    def state(self) -> Path:
        """The agent's state directory."""
        return self.live.parent / STATE_DIRECTORY

    def await_ready(self, stop: threading.Event) -> None:
        """Wait until the agent has seen the directory, so that the writer meets it at work. Raises AgentError."""
        deadline = time.monotonic() + PATIENCE
        while not stop.is_set() and not (self.control.listens() and self.control.status().ready):
            if self.agent.code is not None:
                raise self.agent.failure()
            if time.monotonic() > deadline:
                hint = f"it had {PATIENCE:.0f} s; is the disk busy?"
                raise AgentError(f"{self._whose} agent is not ready in time", hint=hint)
            stop.wait(0.05)

    def writer(self, rate: float) -> Child:
        """A process that writes `rate` lines a second to the live file."""
        log = self.root / "writer.log"
        return Child(f"{self._whose} writer", log, "agent.rehearsal.writer", str(self.live), str(rate))


def lines_told(told: bytes) -> int:
    """How many lines the writer wrote, by what it said in the end."""
    return int(json.loads(told)["lines"])


@contextlib.contextmanager
def directory(purpose: str, *, keep: bool = False) -> Iterator[Path]:
    """A temporary directory for one rehearsal. Raises AgentError where there is no room for one."""
    try:
        root = Path(tempfile.mkdtemp(prefix=f"telemetry-agent-{purpose}-"))
    except OSError as error:
        hint = "TMPDIR names a directory that may be written"
        raise AgentError(f"there is no temporary directory: {error.strerror}", hint=hint) from error
    try:
        yield root
    finally:
        if not keep:
            shutil.rmtree(root, ignore_errors=True)
