"""The three signals as plain documents: where resources, scopes and items are in what `records.document` gives.

What is walked here was passed by `envelope.check`: known fields have their types, nothing known is null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

Object = dict[str, Any]


class Shape(NamedTuple):
    """The names of the lists of one signal, from the outside in."""

    resources: str
    scopes: str
    items: str


TRACES = Shape("resourceSpans", "scopeSpans", "spans")
LOGS = Shape("resourceLogs", "scopeLogs", "logRecords")
METRICS = Shape("resourceMetrics", "scopeMetrics", "metrics")
SHAPES = (TRACES, LOGS, METRICS)

_POINTS = ("gauge", "sum", "histogram", "exponentialHistogram", "summary")


def groups(document: Object, shape: Shape) -> Iterator[list[Object]]:
    """The list of items of each scope; it may be changed in place."""
    for resource in document.get(shape.resources, ()):
        for scope in resource.get(shape.scopes, ()):
            if shape.items in scope:
                yield scope[shape.items]


def count(items: Iterable[Object], shape: Shape) -> int:
    """Spans, log records or data points among the items of a scope."""
    if shape is not METRICS:
        return len(list(items))
    return sum(len(metric[kind].get("dataPoints", ())) for metric in items for kind in _POINTS if kind in metric)


def sift(document: Object, shape: Shape, keep: Callable[[Object], bool]) -> int:
    """Leave the items out that are not to be kept, and what has none then; how many that were."""
    gone = 0
    for items in groups(document, shape):
        kept = [item for item in items if keep(item)]
        gone += len(items) - len(kept)
        items[:] = kept
    if gone:
        _clear(document, shape)
    return gone


def _clear(document: Object, shape: Shape) -> None:
    """Leave empty scopes and resources out (OTLP: empty envelopes should not be made)."""
    for resource in document[shape.resources]:
        if shape.scopes in resource:
            resource[shape.scopes] = [scope for scope in resource[shape.scopes] if scope.get(shape.items)]
    document[shape.resources] = [one for one in document[shape.resources] if one.get(shape.scopes)]
