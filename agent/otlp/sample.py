"""Keeps a share of the traces: the same decision for a trace in every record, agent and process.

The rule (W3C Trace Context, level 2, "Random Trace ID Flag"; OpenTelemetry specification, "TraceState: Probability
Sampling"): R is 56 bits of randomness, `rv` in the `ot` entry of tracestate, else the last seven bytes of the trace id.
With the rejection threshold T = (1 - ratio) * 2**56 a trace is kept when R >= T. So the traces of a smaller ratio are
among those of a larger one, and what was sampled before by the same rule is sampled from the whole, not again.

An item without a trace id is kept: there is nothing to be consistent with.
"""

from __future__ import annotations

import re

from agent.config.processing import Sample
from agent.otlp.shapes import LOGS, TRACES, Object, groups, sift

_RANDOM = re.compile(r"(?:^|,)[ \t]*ot=(?:[^,;]*;)*rv:([0-9a-f]{14})(?=[;,\s]|$)")
_ERROR = 2
_ERROR_SEVERITY = 17


class Sampling:
    """`[forward.sample]`, ready for use."""

    reason = "sample"

    def __init__(self, rules: Sample) -> None:
        self._threshold = round((1 - float(rules.ratio)) * 2**56)
        self._errors = rules.errors
        self._slow = None if rules.slow is None else round(float(rules.slow) * 1_000_000_000)
        self._logs = rules.logs

    def __call__(self, document: Object) -> int:
        """Leave out the items of traces that are not kept; how many that were."""
        notable = self._notable(document)

        def keep(item: Object) -> bool:
            trace = item.get("traceId", "")
            return not trace or self._chosen(trace, item.get("traceState", "")) or trace.lower() in notable

        gone = sift(document, TRACES, keep)
        return gone + sift(document, LOGS, keep) if self._logs else gone

    def _chosen(self, trace: str, state: str) -> bool:
        found = _RANDOM.search(state) if "rv:" in state else None
        return int(found[1] if found else trace[-14:], 16) >= self._threshold

    def _notable(self, document: Object) -> set[str]:
        """Traces that are kept for what one of their items in this record says."""
        found = {
            span.get("traceId", "").lower()
            for spans in groups(document, TRACES)
            for span in spans
            if self._failed(span) or self._lasted(span)
        }
        if self._logs and self._errors:
            found |= {
                record.get("traceId", "").lower()
                for records in groups(document, LOGS)
                for record in records
                if record.get("severityNumber", 0) >= _ERROR_SEVERITY
            }
        return found

    def _failed(self, span: Object) -> bool:
        return self._errors and span.get("status", {}).get("code") == _ERROR

    def _lasted(self, span: Object) -> bool:
        if self._slow is None:
            return False
        return int(span.get("endTimeUnixNano", 0)) - int(span.get("startTimeUnixNano", 0)) >= self._slow
