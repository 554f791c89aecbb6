"""The pages that may be read by anybody who reaches the port: each answers from a snapshot and never waits."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from agent.control import Control
from agent.kit.clock import Clock
from agent.kit.errors import AgentError
from agent.metrics import Metrics
from agent.web import exposition, openapi
from agent.web.doors import Doors
from agent.web.exposition import Exposition
from agent.web.facts import Facts
from agent.web.messages import BadRequestError, Probe
from agent.web.probes import Probes

_AUDITED = 200
"""Entries of the audit trail that the status page looks at for the newest segments."""


class Views:
    """The handlers of GET requests."""

    def __init__(
        self, control: Control, metrics: Metrics, probes: Probes, service_version: str, facts: Facts, doors: Doors,
        clock: Clock,
    ) -> None:  # fmt: skip
        self._clock = clock
        self._control = control
        self._facts = facts
        self._doors = doors
        self._waiting = anyio.CapacityLimiter(4)  # pages that wait for the keeper, so that they never take every thread
        self._exposition = Exposition(metrics.registry)
        self._probes = probes
        self._service_version = service_version

    async def page(self, _: Request) -> Response:
        """Everything for people, on one page; also while the agent cannot say much."""
        from agent.web.page import Seen, policy, render  # most agents are never looked at

        status = health = None
        missing = ""
        try:
            status = self._control.status()
            health = self._probes.health(self._control, self._service_version, verbose=True)
        except AgentError as error:
            missing = str(error)
        seen = Seen(
            now=self._clock.now(), stuck=self._probes.live().reasons, status=status, health=health,
            audit=self._facts.audit(_AUDITED), history=self._facts.history, alerts=self._facts.alerts(),
            missing=missing,
        )  # fmt: skip
        return Response(render(seen), 200, {"Content-Security-Policy": policy()}, "text/html; charset=utf-8")

    async def metrics(self, request: Request) -> Response:
        """The exposition in the form the scraper asks for."""
        content, content_type = await self._exposition.render(request.headers.get("accept", ""))
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if exposition.accepts_gzip(request.headers.get("accept-encoding", "")):
            content = exposition.gzip(content)
            headers["Content-Encoding"] = "gzip"
        return Response(content, headers=headers)

    async def livez(self, request: Request) -> Response:
        """200 while the main loop lives, else 503."""
        return _probe(request, self._probes.live())

    async def readyz(self, request: Request) -> Response:
        """200 while the agent can do its work, else 503."""
        return _probe(request, self._probes.ready())

    async def startupz(self, request: Request) -> Response:
        """200 from the first sweep on, 503 before."""
        return _probe(request, self._probes.started())

    async def health(self, request: Request) -> Response:
        """The verdict; 503 when unhealthy, 200 when healthy or degraded."""
        verbose = "verbose" in request.query_params
        health = self._probes.health(self._control, self._service_version, verbose=verbose)
        return to_json(health, 503 if health.status == "unhealthy" else 200)

    async def status(self, _: Request) -> Response:
        """The newest `control.Status`."""
        return to_json(self._control.status())

    async def streams(self, _: Request) -> Response:
        """A list of `control.StreamStatus`."""
        return to_json(self._control.status().streams)

    async def segments(self, request: Request) -> Response:
        """`messages.Segments`, asked of the thread that owns the catalogue."""
        stream, limit = request.query_params.get("stream", ""), _limit(request.query_params.get("limit"))
        ask = partial(self._facts.segments, stream, limit)
        return to_json(await anyio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=self._waiting))

    async def checks(self, _: Request) -> Response:
        """A list of `board.CheckStatus`."""
        return to_json(self._facts.checks())

    async def alerts(self, _: Request) -> Response:
        """`control.AlertsStatus`."""
        return to_json(self._facts.alerts())

    async def config(self, _: Request) -> Response:
        """A list of `messages.ConfigKey`."""
        return to_json(self._facts.config())

    async def description(self, _: Request) -> Response:
        """The OpenAPI description of these pages."""
        tests, admin = self._facts.drills is not None, self._doors.rules().token is not None
        return to_json(openapi.description(tests=tests, admin=admin))


def _limit(text: str | None) -> int:
    """How many segments are wanted. Raises BadRequestError."""
    if text is None:
        return openapi.SEGMENTS
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:9]) <= openapi.MOST_SEGMENTS or len(text) > 9:
        raise BadRequestError(f"limit is no number from 1 to {openapi.MOST_SEGMENTS}")
    return int(text)


def _probe(request: Request, probe: Probe) -> Response:
    code = 200 if probe.ok else 503
    if "verbose" in request.query_params:
        return to_json(probe, code)
    return PlainTextResponse("\n".join(probe.reasons or ["ok"]) + "\n", code)


def to_json(value: Any, code: int = 200) -> Response:
    """An answer that msgspec writes."""
    return Response(msgspec.json.encode(value), code, media_type="application/json")
