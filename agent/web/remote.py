"""The running agent as its socket offers it: one request, one connection. For commands, and for whoever starts agents.

Invariants: no web framework is imported; the socket is reached through the state directory's descriptor, because an
AF_UNIX path has 107 bytes (unix(7)).
"""

from __future__ import annotations

import http.client
import os
import socket
from typing import Any, TypeVar

import msgspec

from agent.control import AlertsStatus, CursorStatus, PlanItem, Reloaded, Replayed, Rotated, Status, Trial
from agent.kit.disk import Directory
from agent.kit.errors import AgentError, ConfigError
from agent.web.messages import (
    SOCKET,
    Cleanup,
    ConfigKey,
    DropLetters,
    Failure,
    Health,
    Inside,
    Reload,
    ReplayLetters,
    ResetCursor,
    Rotate,
    Silence,
    TryAlert,
)

Answer = TypeVar("Answer")

_CONNECT = 5.0
_GRACE = 5.0
"""Seconds more than a request's own limit, so that the agent's answer about the limit arrives."""


class UnreachableError(AgentError):
    """There should be an agent to ask, but it does not answer; the process exits with 75 (EX_TEMPFAIL)."""


_KINDS = {
    http.client.UNPROCESSABLE_ENTITY: ConfigError,
    http.client.SERVICE_UNAVAILABLE: UnreachableError,  # it is stopping, or just starting: try again
}


class RemoteControl:
    """The agent behind the socket in `state`, its state directory: one request, one connection."""

    def __init__(self, state: str) -> None:
        self._state = state

    def listens(self) -> bool:
        """True when a process accepts on the socket; False when there is no socket or it is a dead one's."""
        try:
            _connect(self._state, _CONNECT).close()
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return False
        except OSError as error:
            raise self._unreachable(error) from error
        return True

    def status(self) -> Status:
        """The newest snapshot."""
        return self._ask("GET", "/api/v1/status", None, Status, 10.0)

    def health(self) -> Health:
        """The verdict over everything, with the checks."""
        codes = (http.client.OK, http.client.SERVICE_UNAVAILABLE)
        return self._ask("GET", "/health?verbose", None, Health, 10.0, codes)

    def inside(self) -> Inside:
        """Log lines and stacks."""
        return self._ask("GET", "/inside", None, Inside, 10.0)

    def configuration(self) -> list[ConfigKey]:
        """The configuration in force, secrets hidden."""
        return self._ask("GET", "/api/v1/config", None, list[ConfigKey], 10.0)

    def metrics(self) -> str:
        """One scrape."""
        return self._fetch("GET", "/metrics", None, 10.0, (http.client.OK,)).decode("utf-8")

    def rotate(self, streams: list[str], *, timeout: float = 60.0) -> list[Rotated]:
        """Seal these streams now, or all where the list is empty."""
        return self._ask("POST", "/rotate", Rotate(streams=streams, timeout=timeout), list[Rotated], timeout)

    def cleanup(self, *, dry_run: bool = False, timeout: float = 300.0) -> list[PlanItem]:
        """One pass of everything that is due."""
        return self._ask("POST", "/cleanup", Cleanup(dry_run=dry_run, timeout=timeout), list[PlanItem], timeout)

    def reload(self, *, timeout: float = 30.0) -> Reloaded:
        """Read the configuration again."""
        return self._ask("POST", "/reload", Reload(timeout=timeout), Reloaded, timeout)

    def alerts(self) -> AlertsStatus:
        """Every rule and notifier."""
        return self._ask("GET", "/api/v1/alerts", None, AlertsStatus, 10.0)

    def test_alert(self, name: str, *, timeout: float = 60.0) -> list[Trial]:
        """Send a message that says it is a test."""
        return self._ask("POST", "/alerts/test", TryAlert(name=name, timeout=timeout), list[Trial], timeout)

    def silence(self, name: str, seconds: float, comment: str, *, timeout: float = 10.0) -> AlertsStatus:
        """Begin or end a silence."""
        body = Silence(name=name, seconds=seconds, comment=comment)
        return self._ask("POST", "/alerts/silence", body, AlertsStatus, timeout)

    def cursors(self, *, timeout: float = 10.0) -> list[CursorStatus]:
        """Every cursor."""
        return self._ask("GET", "/cursors", None, list[CursorStatus], timeout)

    def reset_cursor(
        self, consumer: str, streams: list[str], *, position: int | None = None, time: float | None = None,
        timeout: float = 30.0,
    ) -> list[CursorStatus]:  # fmt: skip
        """Make a consumer go on from elsewhere."""
        body = ResetCursor(consumer=consumer, streams=streams, position=position, time=time, timeout=timeout)
        return self._ask("POST", "/cursors/reset", body, list[CursorStatus], timeout)

    def drop_letters(self, consumer: str, ids: list[str], *, timeout: float = 30.0) -> int:
        """Delete dead letters."""
        return self._ask("POST", "/dead-letters/drop", DropLetters(consumer=consumer, ids=ids), int, timeout)

    def replay_letters(self, consumer: str, ids: list[str], *, timeout: float = 300.0) -> Replayed:
        """Send dead letters again."""
        body = ReplayLetters(consumer=consumer, ids=ids, timeout=timeout)
        return self._ask("POST", "/dead-letters/replay", body, Replayed, timeout)

    def _ask(
        self, method: str, path: str, body: Any, answer: type[Answer], timeout: float,
        codes: tuple[int, ...] = (http.client.OK,),
    ) -> Answer:  # fmt: skip
        text = self._fetch(method, path, body, timeout, codes)
        try:
            return msgspec.json.decode(text, type=answer)
        except msgspec.DecodeError as error:
            raise self._misunderstood(str(error)) from error

    def _fetch(self, method: str, path: str, body: Any, timeout: float, codes: tuple[int, ...]) -> bytes:
        content = None if body is None else msgspec.json.encode(body)
        connection = _Connection(self._state, timeout + _GRACE)
        try:
            connection.request(method, path, content, {"Content-Type": "application/json"} if content else {})
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()
        if response.status not in codes:
            raise self._refusal(response.status, text)
        return text

    def _unreachable(self, error: Exception) -> UnreachableError:
        hint = "is the process stuck or just stopping? see its log, then try again"
        if isinstance(error, PermissionError):
            hint = "its socket is for its own user: run this command as that user, or as root"
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return UnreachableError(f"the agent does not answer: {reason}", path=self._path, hint=hint)

    def _refusal(self, status: int, text: bytes) -> AgentError:
        try:
            error = msgspec.json.decode(text, type=Failure)
        except msgspec.DecodeError:
            return self._misunderstood(f"status {status}")
        kind = _KINDS.get(status, AgentError)
        return kind(error.what, path=error.path, position=error.position, hint=error.hint)

    def _misunderstood(self, what: str) -> AgentError:
        hint = "are agent and command of the same version? `telemetry-agent --version` tells this command's"
        return AgentError(f"the agent's answer is not understood: {what}", path=self._path, hint=hint)

    @property
    def _path(self) -> str:
        return os.path.join(self._state, SOCKET)


class _Connection(http.client.HTTPConnection):
    """HTTP over the agent's socket."""

    def __init__(self, state: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._state = state
        self._limit = timeout

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = _connect(self._state, self._limit)


def _connect(state: str, timeout: float) -> socket.socket:
    """A connection to the socket in `state`, by its descriptor: an AF_UNIX path has 107 bytes (unix(7))."""
    with Directory.open(state) as directory:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout)
            connection.connect(f"/proc/self/fd/{directory.fd}/{SOCKET}")
        except OSError:
            connection.close()
            raise
    return connection
