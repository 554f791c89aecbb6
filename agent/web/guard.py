"""Before every request that comes by TCP: rate, Host header, password, and the token for what changes something.

Invariants: what changes something exists only where a token is configured, and takes the token and nothing else, so
neither loopback nor a browser's remembered password opens it; a refusal names neither path nor version.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.kit.clock import Clock
from agent.metrics import Metrics
from agent.web.doors import Doors, Rules


class Guarded:
    """An application around `app`; `admin` are the paths that change something."""

    def __init__(self, app: ASGIApp, doors: Doors, admin: Sequence[str], clock: Clock, metrics: Metrics) -> None:
        self._app = app
        self._doors = doors
        self._admin = frozenset(admin)
        self._clock = clock
        self._metrics = metrics
        self._tokens = math.inf  # full, before the first request
        self._filled = clock.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it."""
        rules = self._doors.rules()
        extra = rules.file.http_server_config.headers

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in extra.items()]
                names = {name for name, _ in own}
                message["headers"] = [*(one for one in message["headers"] if one[0] not in names), *own]
            await send(message)

        refusal = await self._refusal(scope, rules)
        await (refusal or self._app)(scope, receive, send_with_headers if extra else send)

    async def _refusal(self, scope: Scope, rules: Rules) -> Response | None:
        headers = Headers(scope=scope)
        if not self._has_room(rules):
            return self._refuse("rate", 429, "Too Many Requests")
        if not is_expected(headers.get("host", ""), scope.get("server"), rules.web.allowed_hosts):
            return self._refuse("host", 421, "Misdirected Request: add this name to web.allowed_hosts")
        authorization = headers.get("authorization", "")
        admin = scope["path"] in self._admin
        if admin and rules.token is None:
            return PlainTextResponse("Not Found", 404)
        # The pages for tests may be posted to without a token, but not where there is one.
        if rules.token is not None and (admin or scope["method"] == "POST"):
            return None if rules.token.admits(authorization) else self._refuse("token", 401, "Unauthorized", "Bearer")
        if rules.users is not None and not await rules.users.admits(authorization):
            return self._refuse("password", 401, "Unauthorized", 'Basic realm="telemetry-agent", charset="UTF-8"')
        return None

    def _refuse(self, reason: str, code: int, text: str, challenge: str = "") -> Response:
        self._metrics.http_refused.labels(reason).inc()
        return PlainTextResponse(text, code, {"WWW-Authenticate": challenge} if challenge else None)

    def _has_room(self, rules: Rules) -> bool:
        """A bucket that `burst` requests empty, and an interval fills by one."""
        limit = rules.file.rate_limit
        if not limit.seconds:
            return True
        now = self._clock.monotonic()
        self._tokens = min(float(limit.burst), self._tokens + (now - self._filled) / limit.seconds)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def is_expected(host: str, server: tuple[str, int] | None, allowed: Sequence[str]) -> bool:
    """True when a request's Host header is no other site's name that was made to lead here (DNS rebinding).

    On loopback it must be an address, `localhost` or one of `allowed`; elsewhere any name will do unless `allowed`
    names some.
    """
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    name = name.strip("[]").lower().rstrip(".")
    if name in {one.lower() for one in allowed} or not name or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return not allowed and not _is_loopback(server)
    return True


def _is_loopback(server: tuple[str, int] | None) -> bool:
    try:
        return server is None or ipaddress.ip_address(server[0]).is_loopback
    except ValueError:
        return True
