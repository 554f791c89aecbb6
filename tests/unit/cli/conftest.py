"""A stand-in for the running agent: the socket's protocol in the standard library's words, over a fake Control."""

from __future__ import annotations

import contextlib
import http.server
import os
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

import agent
from agent.cli import main
from agent.control import PlanItem, Reloaded, Rotated, Status
from agent.kit.errors import AgentError
from tests.unit.cli.samples import STATUS


@dataclass
class FakeControl:
    """Answers what it was told to, and remembers what it was asked."""

    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    def status(self) -> Status:
        """The sample, unless told otherwise."""
        answer: Status = self._answer("status", STATUS)
        return answer

    def rotate(self, streams: list[str], *, timeout: float = 60.0) -> list[Rotated]:
        """Nothing, unless told otherwise."""
        self.asked.append(("rotate", streams, timeout))
        answer: list[Rotated] = self._answer("rotate", [])
        return answer

    def cleanup(self, *, dry_run: bool = False, timeout: float = 300.0) -> list[PlanItem]:
        """Nothing, unless told otherwise."""
        self.asked.append(("cleanup", dry_run, timeout))
        answer: list[PlanItem] = self._answer("cleanup", [])
        return answer

    def reload(self, *, timeout: float = 30.0) -> Reloaded:
        """A success, unless told otherwise."""
        self.asked.append(("reload", timeout))
        answer: Reloaded = self._answer("reload", Reloaded(ok=True))
        return answer

    def _answer(self, name: str, default: Any) -> Any:
        answer = self.answers.get(name, default)
        if isinstance(answer, Exception):
            raise answer
        return answer


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        control: Any = self.server.control
        calls = {"/api/v1/status": control.status, "/health?verbose": getattr(control, "health", None)}
        self._reply(lambda _: calls[self.path](), self.path)

    def do_POST(self) -> None:
        control = self.server.control
        calls: dict[str, Callable[[dict[str, Any]], Any]] = {
            "/rotate": lambda body: control.rotate(body.pop("streams"), **body),
            "/cleanup": lambda body: control.cleanup(**body),
            "/reload": lambda body: control.reload(**body),
        }
        self._reply(calls[self.path], self.path)

    def _reply(self, call: Callable[[dict[str, Any]], Any], path: str) -> None:
        assert path == self.path
        body = msgspec.json.decode(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        code = 200
        try:
            content = msgspec.json.encode(call(body))
        except AgentError as error:
            code = getattr(error, "code", 500)
            content = msgspec.json.encode(
                {"what": error.what, "path": error.path, "position": error.position, "hint": error.hint}
            )
        self.server.raw = content if self.server.raw is None else self.server.raw
        self.send_response(code)
        self.send_header("Content-Length", str(len(self.server.raw)))
        self.end_headers()
        self.wfile.write(self.server.raw)
        self.server.raw = None

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(socketserver.UnixStreamServer):
    control: FakeControl
    raw: bytes | None = None

    def get_request(self) -> tuple[socket.socket, Any]:
        """A client address that the handler can take apart."""
        connection, _ = super().get_request()
        return connection, ("local", 0)

    def handle_error(self, *_: object) -> None:
        """A client that only tried the socket is no error."""


@contextlib.contextmanager
def serve(state: Path, control: FakeControl, raw: bytes | None = None) -> Iterator[FakeControl]:
    """Serve `control` on the socket in the directory `state`; `raw` replaces the first answer."""
    state.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
    with _Server(f"/proc/self/fd/{fd}/agent.sock", _Handler) as server:
        server.control, server.raw = control, raw
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield control
        finally:
            server.shutdown()
            thread.join()
            os.close(fd)
            (state / "agent.sock").unlink()


@dataclass
class Stage:
    """A watched directory, and what a command line printed there."""

    directory: Path
    capture: pytest.CaptureFixture[str]

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.directory / ".telemetry-agent"

    def run(self, *arguments: str, at: bool = True) -> tuple[int, str, str]:
        """Exit code, standard output and error of a command, `at` this directory."""
        where = ["--directory", str(self.directory)] if at else []
        try:
            code: Any = main([*where, *arguments])
        except SystemExit as leaving:
            code = leaving.code
        told = self.capture.readouterr()
        return int(code or 0), told.out, told.err

    def agent(
        self, control: FakeControl, *, raw: bytes | None = None
    ) -> contextlib.AbstractContextManager[FakeControl]:
        """Serve `control` on the socket; `raw` replaces the first answer."""
        return serve(self.state, control, raw)


@pytest.fixture
def stage(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Stage:
    """An empty watched directory, a fixed width, no colours, and no configuration but what a test gives."""
    for name in [name for name in os.environ if name.startswith("TELEMETRY_AGENT")]:
        monkeypatch.delenv(name)
    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(agent.__file__).parent.parent))
    directory = tmp_path / "telemetry"
    directory.mkdir()
    monkeypatch.chdir(tmp_path)
    return Stage(directory, capsys)
