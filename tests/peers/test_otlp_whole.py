"""From a file through a real process to a receiver that gives back what it got: every field arrives as it was."""

from __future__ import annotations

import base64
import json
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.bench.corpus import Corpus
from tests.support import peers
from tests.support.program import AGENT, Program

pytestmark = [pytest.mark.peer, pytest.mark.timeout(600)]

MESSAGES: dict[str, Any] = {
    "traces": (ExportTraceServiceRequest, "resource_spans", "scope_spans", "spans"),
    "logs": (ExportLogsServiceRequest, "resource_logs", "scope_logs", "log_records"),
    "metrics": (ExportMetricsServiceRequest, "resource_metrics", "scope_metrics", "metrics"),
}
_HEX = {"traceId": 32, "spanId": 16, "parentSpanId": 16}


@pytest.fixture
def ddapm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A ddapm-test-agent; its OTLP URL."""
    home = peers.environment(request.config, "ddapm", "ddapm-test-agent")
    port, http, grpc = (str(peers.free_port()) for _ in range(3))
    command = [str(home / "bin/ddapm-test-agent"), "--port", port, "--otlp-http-port", http, "--otlp-grpc-port", grpc]
    with peers.running(command, f"http://127.0.0.1:{http}/test/session/traces", tmp_path / "ddapm.log"):
        yield f"http://127.0.0.1:{http}"


def base64_ids(tree: Any) -> Any:
    """The tree with ids as protobuf's own JSON has them; the receiver gives back either spelling."""
    if isinstance(tree, dict):
        return {
            key: base64.b64encode(bytes.fromhex(value)).decode()
            if key in _HEX and len(value) == _HEX[key]
            else base64_ids(value)
            for key, value in tree.items()
            if value is not None
        }
    return [base64_ids(one) for one in tree] if isinstance(tree, list) else tree


def items(signal: str, requests: list[Any]) -> Counter[tuple[bytes, bytes, bytes]]:
    """Every item with its resource and scope, in protobuf's canonical bytes."""
    kind, resources, scopes, leaves = MESSAGES[signal]
    found: Counter[tuple[bytes, bytes, bytes]] = Counter()
    for one in requests:
        message = json_format.ParseDict(base64_ids(one), kind())
        for resource in getattr(message, resources):
            for scope in getattr(resource, scopes):
                around = [part.SerializeToString(deterministic=True) for part in (resource.resource, scope.scope)]
                found.update((*around, leaf.SerializeToString(deterministic=True)) for leaf in getattr(scope, leaves))
    return found


def received(url: str, signal: str) -> list[Any]:
    """What the receiver has got so far."""
    with urllib.request.urlopen(f"{url}/test/session/{signal}") as answer:  # noqa: S310 - our own URL
        found: list[Any] = json.load(answer)
    return found


@pytest.mark.parametrize("encoding", [pytest.param("json", marks=pytest.mark.long), "protobuf"])
def test_every_field_arrives_as_it_was(ddapm: str, tmp_path: Path, encoding: str) -> None:
    """Traces, logs and metrics of one file, in three batches and more: each item once, with resource and scope."""
    watched = tmp_path / "watched"
    watched.mkdir()
    lines = Corpus().block(400_000).splitlines(keepends=True)
    (watched / "telemetry.json").write_bytes(b"".join(lines))
    config = tmp_path / "agent.toml"
    forward = f'[[forward]]\nname = "out"\nendpoints = ["{ddapm}"]\nencoding = "{encoding}"\n'
    config.write_text(forward + '[forward.batch]\nmax_bytes = "100KB"\n', "utf-8")
    documents = [json.loads(line) for line in lines]
    wanted = {
        signal: items(signal, [one for one in documents if f"resource{key}" in one])
        for signal, key in (("traces", "Spans"), ("logs", "Logs"), ("metrics", "Metrics"))
    }
    until = time.monotonic() + 120
    with Program((*AGENT, "--config", str(config)), watched, {}) as program:
        while any(items(signal, received(ddapm, signal)).total() < wanted[signal].total() for signal in wanted):
            program.check_alive()
            assert time.monotonic() < until, program.output()
            time.sleep(0.2)

    for signal, expected in wanted.items():
        assert expected == items(signal, received(ddapm, signal))
