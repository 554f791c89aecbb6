"""The OpenAPI 3.1 description of the pages that anybody may read, made of the structs that the pages answer with."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import msgspec

from agent import __version__
from agent.control import AlertsStatus, CheckStatus, Segments, Status, StreamStatus
from agent.web.messages import ConfigKey, Failure, Health, Probe

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


@cache
def description() -> dict[str, Any]:
    """The whole document."""
    types = [kind for page in PAGES for kind in page.answers.values() if kind]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    by_type = dict(zip(map(str, types), schemas, strict=True))
    about = "Watches, rotates and keeps telemetry files; what it knows may be read here, nothing can be changed."
    return {
        "openapi": "3.1.0",
        "info": {"title": "telemetry-agent", "version": __version__, "description": about},
        "paths": {page.path: {"get": _operation(page, by_type)} for page in PAGES},
        "components": {"schemas": components},
    }


def _operation(page: Page, schemas: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "summary": page.summary,
        "operationId": page.path.strip("/").replace("/", "_").replace(".", "_") or "landing",
        "parameters": list(page.query),
        "responses": {str(code): _answer(page, kind, schemas) for code, kind in page.answers.items()},
    }


def _answer(page: Page, kind: Any, schemas: dict[str, dict[str, Any]]) -> dict[str, Any]:
    content = {media: {"schema": _TEXT} for media in page.text}
    if kind:
        content["application/json"] = {"schema": schemas[str(kind)]}
    return {"description": page.summary, "content": content}
