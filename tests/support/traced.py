"""A traced application: `python -m tests.support.traced DIR FIRST` exports numbered spans until it is killed.

It forks once, and both processes export in batches from a thread of the SDK into the same file. After an export
returned success its spans' numbers are told on standard output, one line a batch: the truth of what must be found.
The parent's numbers grow from FIRST, the child's from FIRST + 1,000,000.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import count

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from agent.sdk import ResilientSpanExporter


class Telling(SpanExporter):
    """Passes spans on, and tells of those that were taken."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """As the exporter does."""
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            os.write(1, " ".join(span.name for span in spans).encode() + b"\n")
        return result


def main() -> None:
    """Trace for ever."""
    directory, first = sys.argv[1], int(sys.argv[2])
    provider = TracerProvider()
    exporter = Telling(ResilientSpanExporter(directory=directory))
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=5, max_export_batch_size=64))
    tracer = provider.get_tracer("traced")
    tracer.start_span(str(first)).end()
    provider.force_flush()
    numbers = count(first + 1) if os.fork() else count(first + 1_000_000)
    for number in numbers:
        tracer.start_span(str(number), attributes={"padding": "x" * 200}).end()
        if number % 64 == 0:
            provider.force_flush()  # or the queue overflows, and what it drops was never exported


if __name__ == "__main__":
    main()
