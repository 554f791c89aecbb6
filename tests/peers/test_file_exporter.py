"""The OpenTelemetry project's own OTLP-JSON file exporter writes, the agent seals beside it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.peers import environment
from tests.support.program import AGENT, KEEP_ALL, Program
from tests.torture.segments import all_lines

SPANS = 6000

WRITER = """
import sys, time
from opentelemetry.exporter.otlp.json.file import FileSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
exporter = FileSpanExporter(path=sys.argv[1])
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(exporter, max_export_batch_size=64, schedule_delay_millis=20))
tracer = provider.get_tracer("peer")
for number in range(int(sys.argv[2])):
    with tracer.start_as_current_span(f"span-{number}"):
        pass
    if number % 50 == 0:
        time.sleep(0.02)
provider.shutdown()
"""


@pytest.mark.peer
@pytest.mark.timeout(500)
def test_every_span_of_the_real_exporter_is_found_once(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """A writer nobody here wrote, sealed many times while it holds its file open: each span once, in order."""
    home = environment(
        request.config, "file-exporter", "--pre", "opentelemetry-sdk", "opentelemetry-exporter-otlp-json-file"
    )
    watched = tmp_path / "telemetry"
    watched.mkdir()
    file = watched / "traces.json"
    with Program(AGENT, watched, {**KEEP_ALL, "rotation.max_size": "20kB"}) as agent:
        agent.wait_ready()
        subprocess.run([str(home / "bin/python"), "-c", WRITER, str(file), str(SPANS)], check=True, timeout=100)
        ended = agent.stop()

    lines = all_lines(file)
    names = [
        span["name"]
        for line in lines
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    assert 0 == ended.status
    assert len(list(watched.glob("*.gz"))) >= 5
    assert [f"span-{number}" for number in range(SPANS)] == names
