"""The exporters for applications, under the real OpenTelemetry SDK."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agent.config import Config
from agent.kit import disk
from agent.otlp.envelope import Checked, check
from agent.sdk import Counts, ResilientLogRecordExporter, ResilientSpanExporter

SHOP = Resource({"service.name": "shop", "n": 7})


def made(names: Sequence[str] = ("a",)) -> list[ReadableSpan]:
    """Finished spans."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=SHOP)
    provider.add_span_processor(BatchSpanProcessor(memory))
    for name in names:
        provider.get_tracer("test", "1").start_span(name).end()
    provider.shutdown()
    return list(memory.get_finished_spans())


class Primary(SpanExporter):
    """An exporter that answers what it was told to; it counts how often it was asked."""

    def __init__(self, *answers: SpanExportResult | Exception) -> None:
        self._answers = list(answers)
        self.asked = 0
        self.left = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002 - the SDK's signature
        """The next answer, the last one for ever."""
        self.asked += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the SDK's signature
        """Nothing waits."""
        return True

    def shutdown(self) -> None:
        """Note it."""
        self.left += 1


def spans_in(path: Path) -> list[dict[str, Any]]:
    """The spans of each line."""
    documents = [json.loads(line) for line in path.read_bytes().splitlines()]
    resources = [resource for document in documents for resource in document["resourceSpans"]]
    return [span for resource in resources for scope in resource["scopeSpans"] for span in scope["spans"]]


def test_an_application_needs_three_lines(tmp_path: Path) -> None:
    """What it traces is in a file that is watched by default, as lines that travel as they are."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(ResilientSpanExporter(directory=tmp_path)))
    with provider.get_tracer("shop").start_as_current_span("checkout"):
        pass
    provider.shutdown()
    (line,) = (tmp_path / "traces.json").read_bytes().splitlines(keepends=True)
    checked = check(line)
    assert isinstance(checked, Checked)
    assert checked.canonical
    assert Config().files.selects("traces.json")
    assert Config().files.selects("logs.json")


def test_a_span_is_spelled_as_otlp_json_wants_it(tmp_path: Path) -> None:
    """Ids in hex, 64-bit integers as strings, enums as numbers, in span, link and event."""
    exporter = ResilientSpanExporter(directory=tmp_path, sync_every=0)
    provider = TracerProvider(resource=SHOP)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("test", "1.2", schema_url="https://example.org/schema")
    with tracer.start_as_current_span("parent") as parent:
        other = parent.get_span_context()
        with tracer.start_as_current_span(
            "child",
            kind=trace.SpanKind.CLIENT,
            links=[trace.Link(other)],
            attributes={"i": 2**62, "f": 1.5, "b": False, "s": "Grüße", "l": [1, 2]},
        ) as child:
            child.add_event("happened", {"traceId": "mine"})
            child.set_status(trace.StatusCode.ERROR, "broke")
            own = child.get_span_context()
    provider.shutdown()
    child_json, parent_json = spans_in(tmp_path / "traces.json")
    assert f"{own.trace_id:032x}" == child_json["traceId"]
    assert f"{own.span_id:016x}" == child_json["spanId"]
    assert f"{other.span_id:016x}" == child_json["parentSpanId"] == parent_json["spanId"]
    assert (f"{other.trace_id:032x}", f"{other.span_id:016x}") == tuple(
        child_json["links"][0][key] for key in ("traceId", "spanId")
    )
    assert 3 == child_json["kind"]
    assert {"code": 2, "message": "broke"} == child_json["status"]
    assert isinstance(child_json["startTimeUnixNano"], str)
    values = {one["key"]: one["value"] for one in child_json["attributes"]}
    assert {"intValue": str(2**62)} == values["i"]
    assert {"doubleValue": 1.5} == values["f"]
    assert {"boolValue": False} == values["b"]
    assert {"stringValue": "Grüße"} == values["s"]
    assert [{"key": "traceId", "value": {"stringValue": "mine"}}] == child_json["events"][0]["attributes"]
    assert "Grüße".encode() in (tmp_path / "traces.json").read_bytes()


def test_log_records_are_written_with_their_trace_or_without(tmp_path: Path) -> None:
    """Each as a canonical line; an absent trace id is absent, not zero, which OTLP forbids."""
    exporter = ResilientLogRecordExporter(directory=tmp_path)
    provider = LoggerProvider(resource=SHOP)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger = provider.get_logger("test")
    logger.emit(LogRecord(body="plain", severity_number=SeverityNumber.WARN, attributes={"n": 3}))
    tracer = TracerProvider().get_tracer("test")
    with tracer.start_as_current_span("outer") as span:
        logger.emit(LogRecord(body={"k": [1, None]}, timestamp=5, severity_number=SeverityNumber.ERROR))
    provider.shutdown()
    lines = (tmp_path / "logs.json").read_bytes().splitlines(keepends=True)
    found = [check(line) for line in lines]
    assert [True, True] == [isinstance(one, Checked) and one.canonical for one in found]
    plain, traced = (json.loads(line)["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0] for line in lines)
    assert "traceId" not in plain
    assert 13 == plain["severityNumber"]
    assert f"{span.get_span_context().trace_id:032x}" == traced["traceId"]
    assert Counts(written=2) == exporter.counts


def test_importing_it_loads_no_server_and_no_watcher() -> None:
    """An application gets exporters, not an agent."""
    code = "import sys, agent.sdk; print(*sorted(name.partition('.')[0] for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    unwanted = {"uvicorn", "starlette", "watchfiles", "anyio", "httpx", "structlog", "prometheus_client"}
    assert set() == unwanted & set(done.stdout.split())


def test_the_primary_exporter_goes_first_and_its_failures_go_to_the_file(tmp_path: Path) -> None:
    """Nothing is in both; an exception is a failure like any other."""
    primary = Primary(SpanExportResult.SUCCESS, SpanExportResult.FAILURE, OSError("away"), SpanExportResult.SUCCESS)
    exporter = ResilientSpanExporter(directory=tmp_path, primary=primary)
    for name in ("a", "b", "c", "d"):
        assert SpanExportResult.SUCCESS is exporter.export(made([name]))
    assert ["b", "c"] == [span["name"] for span in spans_in(tmp_path / "traces.json")]
    assert Counts(delivered=2, written=2) == exporter.counts
    assert exporter.force_flush()
    exporter.shutdown()
    assert 1 == primary.left


def test_a_primary_exporter_that_fails_again_and_again_is_left_alone(tmp_path: Path) -> None:
    """After two failures nobody waits for it any more."""
    primary = Primary(SpanExportResult.FAILURE)
    exporter = ResilientSpanExporter(directory=tmp_path, primary=primary, failures=2, recovery=3600)
    for _ in range(5):
        assert SpanExportResult.SUCCESS is exporter.export(made())
    assert 2 == primary.asked
    assert 5 == exporter.counts.written


def full(_: Path, patch: pytest.MonkeyPatch) -> None:
    """A disk that takes a piece of a line, and then is full."""

    def write(fd: int, line: bytes) -> int:
        os.write(fd, line[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    patch.setattr(disk, "write_all", write)


def unreadable(_: Path, patch: pytest.MonkeyPatch) -> None:
    """Spans that cannot be encoded."""
    patch.setattr("agent.sdk.encode_spans", lambda _: 1 / 0)


@pytest.mark.parametrize("harm", [full, unreadable])
def test_what_cannot_be_stored_is_a_failure_counted_and_said_once(
    harm: Callable[[Path, pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """The application is not disturbed, and its log not filled."""
    exporter = ResilientSpanExporter(directory=tmp_path)
    harm(tmp_path, monkeypatch)
    batch = made(["a", "b"])
    assert [SpanExportResult.FAILURE] * 3 == [exporter.export(batch) for _ in range(3)]
    assert Counts(failed=6) == exporter.counts
    assert 1 == len(caplog.records)
    assert logging.ERROR == caplog.records[0].levelno
    monkeypatch.undo()
    assert SpanExportResult.SUCCESS is exporter.export(batch)
    assert ["a", "b"] == [span["name"] for span in spans_in(tmp_path / "traces.json")]
    assert "takes telemetry again" in caplog.text


def test_a_shut_down_exporter_takes_nothing_more(tmp_path: Path) -> None:
    """What comes late is a failure, not a line in a file nobody expects to change."""
    exporter = ResilientSpanExporter(directory=tmp_path)
    exporter.shutdown()
    assert SpanExportResult.FAILURE is exporter.export(made())
    assert Counts(failed=1) == exporter.counts


@pytest.mark.parametrize("name", ["", ".hidden.json", "../traces.json"])
def test_a_name_that_is_no_visible_file_is_refused(name: str, tmp_path: Path) -> None:
    """The agent would not watch it, or it would lie elsewhere."""
    with pytest.raises(ValueError, match="visible file's name"):
        ResilientSpanExporter(directory=tmp_path, name=name)


def test_the_readmes_lines_are_enough(tmp_path: Path) -> None:
    """What the README shows is run as it stands, but for the directory."""
    text = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    found = re.search(r"<!-- sdk application -->\n```python\n(.*?)```", text, re.DOTALL)
    assert found is not None
    code = found[1].replace("/var/lib/telemetry", str(tmp_path))
    code += 'provider.get_tracer("shop").start_span("checkout").end()\nprovider.shutdown()\n'
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)
    assert ["checkout"] == [span["name"] for span in spans_in(tmp_path / "traces.json")]
