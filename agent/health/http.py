"""One HTTP or HTTPS endpoint: status, body, certificate, time. Redirects are answers like any other."""

from __future__ import annotations

import re
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agent import __version__
from agent.config.checks import Http
from agent.health.check import Finding, healthy, unhealthy, worst
from agent.kit.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Mapping

_BODY = 64 << 10


class HttpCheck:
    """One request a run, on a connection of its own."""

    def __init__(self, rule: Http, clock: Clock, timeout: float) -> None:
        self._rule = rule
        self._clock = clock
        self._timeout = timeout
        self._url = urlsplit(rule.url)
        self._place = f"{self._url.scheme}://{self._url.hostname}:{self._url.port or ''}".rstrip(":")

    def run(self) -> Finding:
        """Ask once. Messages name scheme, host and port alone: the rest of the address may hold a secret."""
        from agent.health import tls

        began = self._clock.monotonic()
        try:
            connection = self._connect()
            try:
                certificate = _certificate(connection)
                answer, body = self._ask(connection)
            finally:
                connection.close()
        except (OSError, HTTPException, ValueError) as error:
            return unhealthy(
                f"{self._place}: {str(error) or type(error).__name__}", hint="is it running and reachable?"
            )
        seconds = self._clock.monotonic() - began
        return worst(
            self._judge(answer.status, body),
            tls.expiry(certificate, self._rule.expiry_warn, self._clock.now()),
            tls.slow(seconds, self._rule.warn),
        )

    def _connect(self) -> HTTPConnection:
        host = self._url.hostname or ""
        connection: HTTPConnection
        if self._url.scheme == "https":
            from http.client import HTTPSConnection

            from agent.health import tls

            connection = HTTPSConnection(host, self._url.port, timeout=self._timeout, context=tls.context(self._rule))
        else:
            connection = HTTPConnection(host, self._url.port, timeout=self._timeout)
        connection.connect()
        return connection

    def _ask(self, connection: HTTPConnection) -> tuple[HTTPResponse, bytes]:
        headers = {"User-Agent": f"telemetry-agent/{__version__}", "Connection": "close"}
        for header in self._rule.headers:
            name, _, value = header.partition(": ")
            headers[name] = value
        path = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        connection.request(self._rule.http_method, path, headers=headers)
        answer = connection.getresponse()
        return answer, answer.read(_BODY)

    def _judge(self, status: int, body: bytes) -> Finding:
        rule = self._rule
        if not any(re.fullmatch(one.replace("x", "[0-9]"), str(status)) for one in rule.status):
            return unhealthy(f"{self._place}: status {status}, expected {' or '.join(rule.status)}", value=status)
        if rule.body and not re.search(rule.body, body.decode("utf-8", "replace")):
            return unhealthy(f"{self._place}: the answer does not contain {rule.body!r}", value=status)
        return healthy(f"{self._place}: status {status}", value=status)


def _certificate(connection: HTTPConnection) -> Mapping[str, Any] | None:
    get = getattr(connection.sock, "getpeercert", None)
    return get() if get else None
