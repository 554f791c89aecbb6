"""What a typed decode of a line leaves open: how many items there are, and whether ids and unsigned integers are right.

They are collected first and tested together, several times faster than by a pattern for each; hence a verdict on all
lines that were collected, without a place. Where the fast test is unsure it says no, and the exact one (`canonical`)
decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum

from msgspec import UNSET

from agent.otlp import records

_MOST = 19
"""Decimal digits that are always less than 2**64."""
# Without its first quote, which is everywhere: the search for a rarer byte is faster.
_DOUBTFUL_INTEGER = re.compile(rb'intValue"(?!:"(?:0|-?[1-9][0-9]{0,17})")')
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")
_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16


class Signal(StrEnum):
    """The kinds of telemetry, by their names in the receivers' paths."""

    TRACES = "traces"
    LOGS = "logs"
    METRICS = "metrics"


class Survey:
    """What is collected of decoded lines; items are spans, log records and data points."""

    def __init__(self) -> None:
        self._traces: list[str] = []
        self._spans: list[str] = []
        self._numbers: list[str] = []

    def request(self, request: records.Request) -> dict[Signal, int]:
        """Take a line; its items by signal, only signals that have some."""
        counts = (
            (Signal.TRACES, self.traces(request.resource_spans)),
            (Signal.LOGS, self.logs(request.resource_logs)),
            (Signal.METRICS, self.metrics(request.resource_metrics)),
        )
        return {signal: count for signal, count in counts if count}

    def traces(self, resources: Iterable[records.ResourceSpans]) -> int:
        """Take the array of a line of traces; how many spans are in it."""
        add_trace, add_span, add_number = self._traces.append, self._spans.append, self._numbers.append
        count = 0
        for one in resources:
            for scope in one.scope_spans:
                count += len(scope.spans)
                for span in scope.spans:
                    add_trace(span.trace_id)
                    add_span(span.span_id)
                    add_span(span.parent_span_id)
                    add_number(span.start_time_unix_nano)
                    add_number(span.end_time_unix_nano)
                    if span.events:
                        self._numbers += [event.time_unix_nano for event in span.events]
                    if span.links:
                        self._traces += [link.trace_id for link in span.links]
                        self._spans += [link.span_id for link in span.links]
        return count

    def logs(self, resources: Iterable[records.ResourceLogs]) -> int:
        """Take the array of a line of logs; how many log records are in it."""
        add_trace, add_span, add_number = self._traces.append, self._spans.append, self._numbers.append
        count = 0
        for one in resources:
            for scope in one.scope_logs:
                count += len(scope.log_records)
                for record in scope.log_records:
                    add_trace(record.trace_id)
                    add_span(record.span_id)
                    add_number(record.time_unix_nano)
                    add_number(record.observed_time_unix_nano)
        return count

    def metrics(self, resources: Iterable[records.ResourceMetrics]) -> int:
        """Take the array of a line of metrics; how many data points are in it."""
        scopes = [scope for one in resources for scope in one.scope_metrics]
        return sum([self._count_points(metric) for scope in scopes for metric in scope.metrics])

    def sound(self) -> bool:
        """Whether every id and unsigned integer that was collected is surely right."""
        traces, spans = "".join(self._traces), "".join(self._spans)
        return (
            _whole(self._traces, traces, 32)
            and _whole(self._spans, spans, 16)
            # Zeros may also lie across two ids: then a line is doubtful, and no worse.
            and _NO_TRACE not in traces
            and _NO_SPAN not in spans
            and _hexadecimal(traces + spans)
            and _unsigned(self._numbers)
        )

    def _count_points(self, metric: records.Metric) -> int:
        count = 0
        if metric.gauge is not UNSET:
            count += self._look_at(metric.gauge.data_points)
        if metric.sum is not UNSET:
            count += self._look_at(metric.sum.data_points)
        if metric.histogram is not UNSET:
            count += self._look_at(points := metric.histogram.data_points)
            for point in points:
                self._numbers += (point.count, *point.bucket_counts)
        if metric.exponential_histogram is not UNSET:
            count += self._look_at(powers := metric.exponential_histogram.data_points)
            for power in powers:
                self._numbers += (power.count, power.zero_count)
                self._numbers += (*power.positive.bucket_counts, *power.negative.bucket_counts)
        if metric.summary is not UNSET:
            count += len(metric.summary.data_points)
            for summary in metric.summary.data_points:
                self._numbers += (summary.start_time_unix_nano, summary.time_unix_nano, summary.count)
        return count

    def _look_at(self, points: Iterable[records.ExemplaryPoint]) -> int:
        """What all points with exemplars have; returns how many points there are."""
        count = 0
        for point in points:
            count += 1
            self._numbers += (point.start_time_unix_nano, point.time_unix_nano)
            for exemplar in point.exemplars:
                self._traces.append(exemplar.trace_id)
                self._spans.append(exemplar.span_id)
                self._numbers.append(exemplar.time_unix_nano)
        return count


def _whole(ids: list[str], text: str, size: int) -> bool:
    """Whether each id has `size` characters or none; `text` is all of them. None has more, by its type."""
    missing = size * len(ids) - len(text)
    return not missing or missing == size * ids.count("")


def _hexadecimal(text: str) -> bool:
    try:
        return 2 * len(bytes.fromhex(text)) == len(text)  # it skips white space
    except ValueError:
        return False


def _unsigned(numbers: list[str]) -> bool:
    if not numbers:
        return True
    try:
        text = ",".join(numbers).encode("ascii")  # bytes know their digits several times faster
    except UnicodeEncodeError:
        return False
    digits = text.replace(b",", b"")
    if not digits.isdigit() or len(text) - len(digits) != len(numbers) - 1:
        return False
    # Times have as many digits as are allowed: each comma is where it must be, and the first digits are left to see.
    if len(digits) == _MOST * len(numbers) and not text[_MOST :: _MOST + 1].strip(b","):
        return b"0" not in text[:: _MOST + 1]
    if max(map(len, numbers)) > _MOST:
        return False
    # Each number between two commas of its own: one that begins with 0 must be 0.
    text = b",%b," % text.replace(b",", b",,")
    return b",0" not in text or text.count(b",0") == text.count(b",0,")


def integers(line: bytes) -> bool:
    """Whether every `intValue` in a line is surely a 64-bit integer, looked for in its bytes.

    A key may be spelled with escapes, as no encoder does for letters: then the answer is no.
    """
    if _DOUBTFUL_INTEGER.search(line):
        return False
    return b"\\" not in line or not _ESCAPED_LETTER.search(line)
