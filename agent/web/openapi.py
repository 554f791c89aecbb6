"""The OpenAPI 3.1 description of what is served by TCP, made of the structs that are asked with and answered."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

import msgspec

from agent import __version__
from agent.control import AlertsStatus, CheckStatus, PlanItem, Reloaded, Rotated, Segments, Status, StreamStatus
from agent.control.drills import Drill
from agent.web.messages import (
    Cleanup,
    ConfigKey,
    FailCollector,
    Failure,
    GenerateLoads,
    Health,
    PracticeHealth,
    PracticeMetrics,
    Probe,
    Reload,
    Rotate,
    StartTest,
)  # fmt: skip

SEGMENTS = 1000
"""Segments that are listed where no limit is asked for."""
MOST_SEGMENTS = 10_000

_REFERENCE = "#/components/schemas/{name}"
_TEXT = {"type": "string"}


class Page(NamedTuple):
    """A path: what it is for, and what it answers: by status a struct, or by media type plain text."""

    path: str
    summary: str
    answers: dict[int, Any]
    query: tuple[dict[str, Any], ...] = ()
    text: tuple[str, ...] = ()
    """Media types in which the answers may also be text."""
    body: Any = None
    """A struct where the page is asked by POST."""
    whole: bool = True
    """The body must be there; else an empty one means its defaults."""


def _flag(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": _TEXT, "allowEmptyValue": True}


_VERBOSE = _flag("verbose", "With any value: everything that is known, as JSON.")
_LIMIT = {"type": "integer", "minimum": 1, "maximum": MOST_SEGMENTS, "default": SEGMENTS}
_PROBE = {200: Probe, 503: Probe}

PAGES = (
    Page("/", "The status page, for people.", {200: None}, text=("text/html",)),
    Page("/metrics", "For Prometheus.", {200: None}, text=("text/plain", "application/openmetrics-text")),
    Page("/livez", "503 once the main loop is stuck.", _PROBE, (_VERBOSE,), ("text/plain",)),
    Page("/readyz", "503 while the agent cannot do its work.", _PROBE, (_VERBOSE,), ("text/plain",)),
    Page("/startupz", "503 until the first sweep is done.", _PROBE, (_VERBOSE,), ("text/plain",)),
    Page("/health", "Everything, judged; 503 when unhealthy.", {200: Health, 503: Health}, (_VERBOSE,)),
    Page("/api/v1/status", "Everything, in numbers.", {200: Status}),
    Page("/api/v1/streams", "The watched files.", {200: list[StreamStatus]}),
    Page(
        "/api/v1/segments",
        "The sealed archives, the newest ones.",
        {200: Segments, 400: Failure, 503: Failure},
        (
            {"name": "stream", "in": "query", "description": "Of this stream alone.", "schema": _TEXT},
            {"name": "limit", "in": "query", "description": "At most so many.", "schema": _LIMIT},
        ),
    ),
    Page("/api/v1/checks", "The health checks.", {200: list[CheckStatus]}),
    Page("/api/v1/alerts", "The alerts, and who is told.", {200: AlertsStatus}),
    Page("/api/v1/config", "The configuration in force, secrets hidden.", {200: list[ConfigKey]}),
    Page("/openapi.json", "This description.", {200: dict[str, Any]}),
)

_ID = {"name": "test_id", "in": "path", "required": True, "description": "As it was answered.", "schema": _TEXT}
_BEGUN = {202: Drill, 400: Failure, 409: Failure, 422: Failure}

TEST_PAGES = (
    Page("/telemetry-test/health", "What is tested, and how the agent is.", {200: PracticeHealth, 503: PracticeHealth}),
    Page("/telemetry-test/metrics", "Tests and delivery in numbers.", {200: PracticeMetrics}),
    Page("/telemetry-test/tests", "The tests that are remembered.", {200: list[Drill]}),
    Page("/telemetry-test/test/start", "Begin to write spans.", _BEGUN, body=StartTest),
    Page("/telemetry-test/test/{test_id}", "A test as it stands.", {200: Drill, 404: Failure}, (_ID,)),
    Page("/telemetry-test/generate-loads", "Begin to write a number of spans.", _BEGUN, body=GenerateLoads),
    Page(
        "/telemetry-test/simulate/collector-failure",
        "Begin to rehearse an outage, with an agent, a writer and a collector of its own.",
        _BEGUN,
        body=FailCollector,
    ),
)
"""There with `[web] test_endpoints = true`."""

_TOLD = {400: Failure, 401: None, 404: Failure, 409: Failure, 422: Failure, 503: Failure, 504: Failure}

ADMIN_PAGES = (
    Page("/api/v1/rotate", "Seal now.", {200: list[Rotated], **_TOLD}, body=Rotate, whole=False),
    Page("/api/v1/cleanup", "One pass of everything due.", {200: list[PlanItem], **_TOLD}, body=Cleanup, whole=False),
    Page("/api/v1/reload", "Read the configuration again.", {200: Reloaded, **_TOLD}, body=Reload, whole=False),
)
"""There with `[web] admin_token_file`, for the bearer of the token."""

_TOKEN = {"type": "http", "scheme": "bearer", "description": "The content of the file that web.admin_token_file names."}


@cache
def description(*, tests: bool = False, admin: bool = False) -> dict[str, Any]:
    """The whole document, with the pages for tests and those that change something where they are on."""
    pages = PAGES + TEST_PAGES * tests + ADMIN_PAGES * admin
    types = [kind for page in pages for kind in (*page.answers.values(), page.body) if kind]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    by_type = dict(zip(map(str, types), schemas, strict=True))
    about = "Watches, rotates and keeps telemetry files; what it knows may be read here"
    about += ", and tests may be begun." if tests else "."
    if not admin:
        about += " With web.admin_token_file, what changes something is here too."
    return {
        "openapi": "3.1.0",
        "info": {"title": "telemetry-agent", "version": __version__, "description": about},
        "paths": {
            page.path: {"post" if page.body else "get": _operation(page, by_type, token=admin)} for page in pages
        },
        "components": {"schemas": components, **({"securitySchemes": {"token": _TOKEN}} if admin else {})},
    }


def _operation(page: Page, schemas: dict[str, dict[str, Any]], *, token: bool) -> dict[str, Any]:
    body = {"required": page.whole, "content": {"application/json": {"schema": schemas.get(str(page.body), {})}}}
    return {
        "summary": page.summary,
        "operationId": re.sub(r"\W+", "_", page.path.strip("/")).strip("_") or "landing",
        "parameters": list(page.query),
        **({"requestBody": body} if page.body else {}),
        **({"security": [{"token": []}]} if page.body and token else {}),
        "responses": {str(code): _answer(page, kind, schemas) for code, kind in page.answers.items()},
    }


def _answer(page: Page, kind: Any, schemas: dict[str, dict[str, Any]]) -> dict[str, Any]:
    content = {media: {"schema": _TEXT} for media in page.text or (() if kind else ("text/plain",))}
    if kind:
        content["application/json"] = {"schema": schemas[str(kind)]}
    return {"description": page.summary, "content": content}
