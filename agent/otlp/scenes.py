"""What the generated applications do: the templates of their traces.

A template is one line of OTLP-JSON with `%` fields in bytes (`b"..." % values`); nothing else in it has a percent sign.
The fields: the line's number `sequence`; ids `trace span<i> key<i> request session user`; times in nanoseconds
`start<i> end<i>`; what makes one request differ from the next: `ms item port pod address size rows`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

SEQUENCE_KEY = "telemetry_agent.sequence"
ROUTES = (
    ("GET", "", (-1, 0, 0)),
    ("GET", "/{id}", (-1, 0, 0)),
    ("POST", "", (-1, 0, 1, 0)),
    ("PUT", "/{id}/items", (-1, 0, 0, 1)),
    ("DELETE", "/{id}", (-1, 0)),
)
"""Method, what follows `/api/<service>`, and each span's parent (-1: the root, which is the server's own span)."""

_SEQUENCE = {SEQUENCE_KEY: msgspec.Raw(b"%(sequence)d")}
_STACK = (
    "Traceback (most recent call last):\n"
    '  File "/srv/app/handlers.py", line 87, in handle\n    row = await self.pool.fetchrow(query, key)\n'
    '  File "/srv/app/pool.py", line 214, in fetchrow\n    raise PoolTimeoutError(self.name, waited)\n'
    "app.pool.PoolTimeoutError: no connection became free"
)
_EXCEPTION = {
    "exception.type": "app.pool.PoolTimeoutError",
    "exception.message": "no connection became free after %(ms).3f ms",
    "exception.stacktrace": _STACK,
}


class Scene(NamedTuple):
    """A request that a service answers: its template when it goes well and when it fails, and the spans' parents."""

    well: bytes
    failed: bytes
    parents: tuple[int, ...]


def traces(service: str) -> list[Scene]:
    """The requests that `service` answers."""
    return [Scene(_trace(service, route, False), _trace(service, route, True), route[2]) for route in ROUTES]


def ping(service: str) -> Scene:
    """A request that `service` answers alone: a trace of one span."""
    route = ("GET", "/ping", (-1,))
    return Scene(_trace(service, route, False), _trace(service, route, True), route[2])


def _line(signal: str, service: str, scopes: list[dict[str, Any]]) -> bytes:
    """An export request of one resource and its line's end."""
    attributes = {
        "service.name": service,
        "service.version": "2.14.3",
        "service.instance.id": f"{service}-6d5f9c7b4-x2k%(pod)d",
        "deployment.environment.name": "production",
    }
    rest = {f"scope{signal.removeprefix('resource')}": scopes}
    return msgspec.json.encode({signal: [{"resource": {"attributes": _attributes(attributes)}} | rest]}) + b"\n"


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: object) -> dict[str, Any]:
    """OTLP's AnyValue; an integer, also the field of one (a Raw), is a decimal string there."""
    match value:
        case msgspec.Raw():
            return {"intValue": bytes(value).decode()}
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case _:
            return {"stringValue": value}


def _scope(name: str) -> dict[str, Any]:
    return {"name": f"opentelemetry.instrumentation.{name}", "version": "0.59b0"}


def _trace(service: str, route: tuple[str, str, tuple[int, ...]], failed: bool) -> bytes:
    method, tail, parents = route
    server = _server_span(service, method, tail, failed)
    clients = [_client_span(i, parent, service, method) for i, parent in enumerate(parents) if i]
    if failed and clients:
        event = {"timeUnixNano": "%(end1)d", "name": "exception", "attributes": _attributes(_EXCEPTION)}
        clients[0] |= {"status": {"code": 2, "message": "no connection became free"}, "events": [event]}
    scopes = [{"scope": _scope("asgi"), "spans": [server]}]
    if clients:
        scopes.append({"scope": _scope("clients"), "spans": clients})
    return _line("resourceSpans", service, scopes)


def _span(index: int, parent: str, name: str, kind: int, attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        "traceId": "%(trace)b",
        "spanId": f"%(span{index})b",
        "parentSpanId": parent,
        "name": name,
        "kind": kind,
        "startTimeUnixNano": f"%(start{index})d",
        "endTimeUnixNano": f"%(end{index})d",
        "attributes": _attributes(attributes),
    }


def _server_span(service: str, method: str, tail: str, failed: bool) -> dict[str, Any]:
    route = f"/api/{service}{tail}"
    attributes = _SEQUENCE | {
        "http.request.method": method,
        "http.route": route,
        "url.path": route.replace("{id}", "%(item)d"),
        "http.response.status_code": 500 if failed else 200,
        "http.response.body.size": msgspec.Raw(b"%(size)d"),
        "client.address": "%(address)b",
        "client.port": msgspec.Raw(b"%(port)d"),
        "url.query": "cursor=%(session)b",
        "http.request.header.x-request-id": "%(request)b",
        "enduser.id": "%(user)b",
    }
    error = {"status": {"code": 2}} if failed else {}
    return _span(0, "", f"{method} {route}", 2, attributes) | error


def _client_span(index: int, parent: int, service: str, method: str) -> dict[str, Any]:
    """A query or, every second one, a look into the cache, whose answer is an event."""
    of = f"%(span{parent})b"
    if index % 2:
        verb = "FETCH" if method == "GET" else "STORE"
        attributes = {
            "db.system.name": "postgresql",
            "db.query.text": f"{verb} {service}_items BY owner",
            "db.query.parameter.owner": f"%(key{index})b",
            "db.response.returned_rows": msgspec.Raw(b"%(rows)d"),
        }
        return _span(index, of, f"{verb} {service}_items", 3, attributes)
    hit: dict[str, Any] = {"cache.hit": method == "GET"}
    attributes = hit | {"db.system.name": "redis", "db.query.text": f"GET session:%(key{index})b"}
    event = {"timeUnixNano": f"%(end{index})d", "name": "cache.answer"}
    return _span(index, of, "redis GET", 3, attributes) | {"events": [event]}
