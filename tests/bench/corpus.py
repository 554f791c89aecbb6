"""Realistic OTLP-JSON lines as a Collector's file exporter writes them; about 8 times smaller under gzip -6.

The same bytes for the same size in every run. A block of 16 MiB is made once and repeated: deflate looks back 32 KiB
at most, so a repetition at that distance is new data to every compressor here.
"""

from __future__ import annotations

import json
import random
import uuid
from pathlib import Path
from typing import Any

_BLOCK = 16 << 20
_EPOCH = 1_730_000_000_000_000_000
_SERVICES = ("checkout", "cart", "payment", "catalog", "frontend", "shipping")
_ROUTES = (
    "/api/products/{id}",
    "/api/cart",
    "/api/checkout",
    "/api/shipping/quote",
    "/healthz",
    "/api/recommendations",
)
_LOGS = ("order placed", "cache miss, asking upstream", "payment authorised", "retrying after connection reset")


class Corpus:
    """Makes one export request a line: three of traces, then one of logs and one of metrics."""

    def __init__(self, seed: int = 1) -> None:
        self.chance = random.Random(seed)
        self.time = _EPOCH

    def block(self, size: int) -> bytes:
        """Whole lines of at least `size` bytes together."""
        lines: list[bytes] = []
        total = 0
        while total < size:
            lines.append(self.line(len(lines)))
            total += len(lines[-1])
        return b"".join(lines)

    def line(self, n: int) -> bytes:
        """The n-th export request."""
        kind = ("traces", "traces", "traces", "logs", "metrics")[n % 5]
        scope = {"name": f"io.opentelemetry.{kind}", "version": "2.9.0"}
        service = self.chance.choice(_SERVICES)
        if kind == "traces":
            spans = [span for _ in range(self.chance.randint(2, 8)) for span in self.trace()]
            request = {"resourceSpans": [{**_resource(service), "scopeSpans": [{"scope": scope, "spans": spans}]}]}
        elif kind == "logs":
            logs = [self.log() for _ in range(self.chance.randint(4, 30))]
            request = {"resourceLogs": [{**_resource(service), "scopeLogs": [{"scope": scope, "logRecords": logs}]}]}
        else:
            found = [self.metric(name) for name in ("http.server.request.duration", "process.cpu.time")]
            request = {
                "resourceMetrics": [{**_resource(service), "scopeMetrics": [{"scope": scope, "metrics": found}]}]
            }
        return json.dumps(request, separators=(",", ":")).encode("ascii") + b"\n"

    def later(self) -> str:
        """A time a little after the one before, as OTLP writes it."""
        self.time += self.chance.randrange(1_000, 3_000_000)
        return str(self.time)

    def trace(self) -> list[dict[str, Any]]:
        """The spans of one request through a service: each is a child of the one before."""
        trace, parent = f"{self.chance.getrandbits(128):032x}", f"{self.chance.getrandbits(64):016x}"
        spans = []
        for _ in range(self.chance.randint(1, 3)):
            spans.append(self.span(trace, parent))
            parent = spans[-1]["spanId"]
        return spans

    def span(self, trace: str, parent: str) -> dict[str, Any]:
        """One span."""
        start = self.later()
        return {
            "traceId": trace,
            "spanId": f"{self.chance.getrandbits(64):016x}",
            "parentSpanId": parent,
            "flags": 256,
            "name": f"GET {self.chance.choice(_ROUTES)}",
            "kind": 2,
            "startTimeUnixNano": start,
            "endTimeUnixNano": self.later(),
            "attributes": [
                _text("http.request.method", "GET"),
                _text("http.route", self.chance.choice(_ROUTES)),
                _text("url.query", f"session={self.chance.getrandbits(64):016x}"),
                _number("client.port", self.chance.randrange(30_000, 60_000)),
                _number("http.response.status_code", self.chance.choice((200, 200, 200, 404, 503))),
                _number("http.response.body.size", self.chance.randrange(100, 90_000)),
                _number("server.port", 8080),
                _text("messaging.message.id", str(uuid.UUID(int=self.chance.getrandbits(128), version=4))),
                _text("network.protocol.version", "1.1"),
                _text("client.address", f"10.4.{self.chance.randrange(4)}.{self.chance.randrange(250)}"),
            ],
            "status": {},
        }

    def log(self) -> dict[str, Any]:
        """One log record."""
        time = self.later()
        return {
            "timeUnixNano": time,
            "observedTimeUnixNano": time,
            "severityNumber": 9,
            "severityText": "INFO",
            "body": {"stringValue": f"{self.chance.choice(_LOGS)} in {self.chance.randrange(900)} ms"},
            "attributes": [_text("logger.name", "shop.orders"), _number("thread.id", self.chance.randrange(40))],
            "traceId": f"{self.chance.getrandbits(128):032x}",
            "spanId": f"{self.chance.getrandbits(64):016x}",
        }

    def metric(self, name: str) -> dict[str, Any]:
        """One histogram with a point for each route."""
        points = [
            {
                "startTimeUnixNano": str(_EPOCH),
                "timeUnixNano": self.later(),
                "count": str(self.chance.randrange(10_000)),
                "sum": self.chance.random() * 1000,
                "bucketCounts": [str(self.chance.randrange(400)) for _ in range(8)],
                "explicitBounds": [0.005, 0.01, 0.05, 0.1, 0.5, 1, 5],
                "attributes": [_text("http.route", route), _text("http.request.method", "GET")],
            }
            for route in _ROUTES
        ]
        return {"name": name, "unit": "s", "histogram": {"dataPoints": points, "aggregationTemporality": 2}}


def _text(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}


def _number(key: str, value: int) -> dict[str, Any]:
    return {"key": key, "value": {"intValue": str(value)}}


def _resource(service: str) -> dict[str, Any]:
    names = {
        "service.name": service,
        "service.namespace": "shop",
        "service.instance.id": f"{service}-7f9c6d5b8-x2k4q",
        "deployment.environment.name": "production",
        "telemetry.sdk.language": "java",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": "1.43.0",
    }
    return {"resource": {"attributes": [_text(key, value) for key, value in names.items()]}}


def write(path: Path, size: int) -> int:
    """Write whole lines to `path` as long as they fit in `size` bytes; how many that are."""
    block = Corpus().block(min(size, _BLOCK))
    total = 0
    with path.open("wb") as file:
        while total + len(block) <= size:
            total += file.write(block)
        rest = block[: size - total]
        total += file.write(rest[: rest.rfind(b"\n") + 1])
    return total
