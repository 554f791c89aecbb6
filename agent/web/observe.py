"""Around every request: it is counted and timed, and its answer gets the headers that all answers share.

Invariants: the `handler` label is one of a known few or `other`, so that no client can make series; nothing
names the server.
"""

from __future__ import annotations

from email.utils import formatdate

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.kit.clock import Clock
from agent.metrics import OTHER, Metrics

_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]

_OWN = ("/", "/metrics", "/livez", "/readyz", "/startupz", "/health")


class Observed:
    """An application around `app`. Only HTTP requests reach it: websockets and lifespan are off in the server."""

    def __init__(self, app: ASGIApp, metrics: Metrics, clock: Clock, paths: list[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._clock = clock
        self._handlers = {path: _handler(path) for path in paths}
        for handler in self._handlers.values():
            metrics.http_requests.labels(handler, "200")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        code = 500
        started = self._clock.monotonic()

        async def send_observed(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
                date = formatdate(self._clock.now(), usegmt=True).encode("ascii")
                own = {name for name, _ in message["headers"]}
                ours = [header for header in _HEADERS if header[0] not in own]
                message["headers"] = [*message["headers"], *ours, (b"date", date)]
                if code == 500:  # uvicorn hangs up after a defect: the client had better know
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        self._metrics.http_requests_in_flight.inc()
        try:
            await self._app(scope, receive, send_observed)
        finally:
            handler = self._handlers.get(scope["path"], OTHER)
            self._metrics.http_requests_in_flight.dec()
            self._metrics.http_requests.labels(handler, str(code)).inc()
            self._metrics.http_request_duration_seconds.observe(self._clock.monotonic() - started)


def _handler(path: str) -> str:
    """The label for a path: what monitors ask has its own, the pages for programs and the commands have one each."""
    if path in _OWN:
        return path
    return "api" if path.startswith("/api/") or path == "/openapi.json" else "command"
