"""An OpenTelemetry Collector: what its health_check extension says, and what its own metrics give away.

Families read (opentelemetry-collector, documentation/telemetry): otelcol_receiver_refused_*,
otelcol_exporter_send_failed_*, otelcol_exporter_enqueue_failed_*, otelcol_exporter_queue_size and _capacity.
"""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPException
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from agent.config.checks import Collector
from agent.health.check import Finding, healthy, unhealthy, warning, worst
from agent.health.limits import percent

_FAILURES = {
    "otelcol_receiver_refused_": "refused",
    "otelcol_exporter_send_failed_": "failed to send",
    "otelcol_exporter_enqueue_failed_": "failed to queue",
}
_LONGEST = 4 << 20

Samples = dict[tuple[str, str], float]
"""By name and exporter or receiver."""


class CollectorCheck:
    """One Collector."""

    def __init__(self, rule: Collector, timeout: float) -> None:
        self._rule = rule
        self._timeout = timeout
        self._before: Samples = {}

    def run(self) -> Finding:
        """Ask both endpoints, as far as they are configured."""
        rule = self._rule
        try:
            status, _ = _get(rule.url, self._timeout) if rule.url else (200, b"")
            _, text = _get(rule.metrics_url, self._timeout) if rule.metrics_url else (200, b"")
        except (OSError, HTTPException) as error:
            return unhealthy(f"the Collector does not answer: {error}", hint="is it running, with these endpoints?")
        if status != 200:
            return unhealthy(f"the Collector's health_check says {status}")
        after = samples(text.decode("utf-8", "replace"))
        found = worst(healthy("the Collector is fine"), *self._queues(after), *self._failures(after))
        self._before = after
        return found

    def _failures(self, after: Samples) -> Iterator[Finding]:
        for (name, who), value in after.items():
            done = next((word for start, word in _FAILURES.items() if name.startswith(start)), "")
            more = value - self._before.get((name, who), value)
            if done and more > 0:
                yield warning(f"{who or 'the Collector'} {done} {more:g} items since the run before", value=more)

    def _queues(self, after: Samples) -> Iterator[Finding]:
        for (name, who), size in after.items():
            capacity = after.get(("otelcol_exporter_queue_capacity", who), 0.0)
            if name == "otelcol_exporter_queue_size" and capacity and size / capacity >= self._rule.queue_warn:
                yield warning(f"the queue of {who} is {percent(size / capacity)} full", value=size / capacity)


def samples(text: str) -> Samples:
    """The Collector's own samples, summed over all labels but its parts' names."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("otelcol_"):
                who = sample.labels.get("exporter") or sample.labels.get("receiver") or ""
                found[sample.name, who] = found.get((sample.name, who), 0.0) + sample.value
    return found


def _get(url: str, timeout: float) -> tuple[int, bytes]:
    from http.client import HTTPConnection, HTTPSConnection

    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request("GET", parts.path or "/", headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read(_LONGEST)
    finally:
        connection.close()
