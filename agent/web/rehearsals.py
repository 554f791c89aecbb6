"""The pages for tests, `/telemetry-test/…`: there only with `[web] test_endpoints = true`.

Invariants: what begins a test takes a JSON body that says it is one, so a stranger's web page in a browser on this
machine cannot post it; everything is answered at once, a test goes on by itself.
"""

from __future__ import annotations

from functools import partial
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from agent.control import Control
from agent.control.drills import STREAM, Drill, Drills
from agent.web.commands import call, read_body
from agent.web.messages import (
    BadRequestError,
    FailCollector,
    GenerateLoads,
    PracticeHealth,
    PracticeMetrics,
    StartTest,
)
from agent.web.probes import Probes, resilience
from agent.web.views import to_json

Message = TypeVar("Message", bound=msgspec.Struct)


class Rehearsals:
    """The handlers."""

    def __init__(self, drills: Drills, control: Control, probes: Probes) -> None:
        self._drills = drills
        self._control = control
        self._probes = probes

    async def health(self, _: Request) -> Response:
        """The agent's verdict about itself, and what is being tested."""
        health = self._probes.health(self._control, "")
        found = PracticeHealth(
            status=health.status, healthy=health.healthy, issues=health.issues,
            running=[one.test_id for one in self._drills.all() if one.status == "running"], stream=STREAM,
            resilience_metrics=health.resilience_metrics,
        )  # fmt: skip
        return to_json(found, 503 if health.status == "unhealthy" else 200)

    async def metrics(self, _: Request) -> Response:
        """Tests and delivery in numbers."""
        return to_json(PracticeMetrics(self._drills.counts(), resilience(self._control.status().forwards)))

    async def start(self, request: Request) -> Response:
        """Begin a load."""
        wanted = await _body(request, StartTest)
        act = partial(
            self._drills.load, wanted.test_type, wanted.duration_seconds, wanted.span_rate, wanted.severity
        )  # fmt: skip
        return _begun(await call(act))

    async def generate(self, request: Request) -> Response:
        """Begin to write some spans."""
        wanted = await _body(request, GenerateLoads)
        act = partial(
            self._drills.generate, int(wanted.span_count), wanted.delay_ms / 1000, errors=wanted.include_errors
        )  # fmt: skip
        return _begun(await call(act))

    async def fail_collector(self, request: Request) -> Response:
        """Begin to rehearse an outage."""
        wanted = await _body(request, FailCollector)
        return _begun(await call(partial(self._drills.outage, wanted.duration_seconds, wanted.span_rate)))

    async def one(self, request: Request) -> Response:
        """A test as it stands."""
        return to_json(self._drills.one(request.path_params["test_id"]))

    async def all(self, _: Request) -> Response:
        """All that are remembered."""
        return to_json(self._drills.all())


async def _body(request: Request, kind: type[Message]) -> Message:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise BadRequestError("the request does not say that its body is JSON: Content-Type: application/json")
    return await read_body(request, kind)


def _begun(drill: Drill) -> Response:
    answer = to_json(drill, 202)
    answer.headers["Location"] = f"/telemetry-test/test/{drill.test_id}"
    return answer
