"""The requests about alerts that do something: served on the local socket alone, executed in a worker thread."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from agent.control import Alerting
from agent.web.commands import call, read_body
from agent.web.messages import Silence, TryAlert
from agent.web.views import to_json


class Alerts:
    """The handlers."""

    def __init__(self, alerting: Alerting) -> None:
        self._alerting = alerting

    async def test(self, request: Request) -> Response:
        """Send a message that says it is a test."""
        wanted = await read_body(request, TryAlert)
        return to_json(await call(partial(self._alerting.test_alert, wanted.name, timeout=wanted.timeout)))

    async def silence(self, request: Request) -> Response:
        """Begin or end a silence."""
        wanted = await read_body(request, Silence)
        return to_json(await call(partial(self._alerting.silence, wanted.name, wanted.seconds, wanted.comment)))
