"""Every signal by the generator's manner: logs and metrics too, and so many lines of them as a test wants.

Beside the generator's own fields their templates have the times `begin` (of the metrics) and the numbers `seconds count
sum failed bucket<i>`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

import msgspec

from agent.otlp import scenes
from agent.otlp.generate import SERVICES, Generator, Values, sequences

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # seconds, a usual choice for request durations


class Signals(Generator):
    """A generator of all three signals: the numbers count lines, not lines of a signal."""

    def __init__(self, seed: int = 0, **keys: Any) -> None:
        super().__init__(seed, **keys)
        services = keys.get("services", SERVICES)
        self._begin = self._now()
        self._logs = [(log(service, failed=False), log(service, failed=True)) for service in services]
        self._metrics = [(metrics(service), _Counts()) for service in services]

    def log_line(self) -> bytes:
        """Three log records of one service about one request, about 1.6 KB."""
        values, failed = self._values()
        well, wrong = self._random.choice(self._logs)
        return (wrong if failed else well) % values

    def metric_line(self) -> bytes:
        """A service's histogram, counters and gauge (4 data points, cumulative), about 1.8 KB."""
        values, failed = self._values()
        template, counts = self._random.choice(self._metrics)
        values[b"begin"], values[b"seconds"] = self._begin, float(values[b"ms"]) / 1000
        counts.add(values, failed)
        return template % values

    def trace_lines(self, number: int) -> Iterator[bytes]:
        """So many lines of traces."""
        return (self.trace_line() for _ in range(number))

    def log_lines(self, number: int) -> Iterator[bytes]:
        """So many lines of logs."""
        return (self.log_line() for _ in range(number))

    def metric_lines(self, number: int) -> Iterator[bytes]:
        """So many lines of metrics."""
        return (self.metric_line() for _ in range(number))


def sequence(line: bytes) -> int | None:
    """The number in a generated line; None if there is none."""
    return next(sequences(line), None)


class _Counts:
    """The cumulative values of one service's metrics."""

    def __init__(self) -> None:
        self._buckets = [0] * (len(BOUNDS) + 1)
        self._sum = 0.0
        self._failed = 0

    def add(self, values: Values, failed: bool) -> None:
        """Count the request described by `values` and add the sums so far to them."""
        seconds = float(values[b"seconds"])
        self._buckets[bisect_left(BOUNDS, seconds)] += 1
        self._sum += seconds
        self._failed += failed
        values.update((b"bucket%d" % index, number) for index, number in enumerate(self._buckets))
        values.update({b"count": sum(self._buckets), b"sum": self._sum, b"failed": self._failed})


def metrics(service: str) -> bytes:
    """What `service` measures.

    The line's number is in an exemplar, not in a data point's attributes, where each line would begin new series.
    """
    exemplar = {
        "timeUnixNano": "%(end0)d",
        "asDouble": msgspec.Raw(b"%(seconds).6f"),
        "traceId": "%(trace)b",
        "spanId": "%(span0)b",
        "filteredAttributes": scenes._attributes(scenes._SEQUENCE),
    }
    duration = _point({"http.request.method": "GET", "http.route": f"/api/{service}"}) | {
        "count": "%(count)d",
        "sum": msgspec.Raw(b"%(sum).6f"),
        "bucketCounts": [f"%(bucket{i})d" for i in range(len(BOUNDS) + 1)],
        "explicitBounds": BOUNDS,
        "exemplars": [exemplar],
    }
    counts = (("200", "%(count)d"), ("500", "%(failed)d"))
    requests = [_point({"http.response.status_code": int(status)}) | {"asInt": number} for status, number in counts]
    memory = _point({"process.pid": 1}) | {"asDouble": msgspec.Raw(b"%(size)d")}
    cumulative = {"aggregationTemporality": 2}
    found = [
        _metric("http.server.request.duration", "s", "histogram", cumulative | {"dataPoints": [duration]}),
        _metric("app.requests", "{request}", "sum", cumulative | {"isMonotonic": True, "dataPoints": requests}),
        _metric("process.memory.usage", "By", "gauge", {"dataPoints": [memory]}),
    ]
    return scenes._line("resourceMetrics", service, [{"scope": scenes._scope("runtime"), "metrics": found}])


def log(service: str, *, failed: bool) -> bytes:
    """Three records of a request."""
    records = [
        _record("start0", 9, "request %(request)b started by %(user)b from %(address)b:%(port)d", scenes._SEQUENCE),
        _record("start0", 5, "session %(session)b found, %(rows)d rows of item %(item)d fetched", {}),
        _record("end0", 17, "request failed after %(ms).3f ms", scenes._EXCEPTION)
        if failed
        else _record("end0", 9, "request finished in %(ms).3f ms, %(size)d bytes", {}),
    ]
    return scenes._line(
        "resourceLogs", service, [{"scope": {"name": f"app.{service}.handlers"}, "logRecords": records}]
    )


def _record(time: str, severity: int, body: str, attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        "timeUnixNano": f"%({time})d",
        "observedTimeUnixNano": "%(end0)d",
        "severityNumber": severity,
        "severityText": {5: "DEBUG", 9: "INFO", 17: "ERROR"}[severity],
        "body": {"stringValue": body},
        "attributes": scenes._attributes({"thread.name": "asyncio_0"} | attributes),
        "traceId": "%(trace)b",
        "spanId": "%(span0)b",
    }


def _metric(name: str, unit: str, kind: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "unit": unit, kind: data}


def _point(attributes: dict[str, Any]) -> dict[str, Any]:
    times = {"startTimeUnixNano": "%(begin)d", "timeUnixNano": "%(end0)d"}
    return {"attributes": scenes._attributes(attributes)} | times
