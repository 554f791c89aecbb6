"""Bounds what spans and log records carry, and counts what was dropped where OTLP has a field for it.

As in the SDKs (OpenTelemetry specification, "Attribute Limits", "Span Limits"): the first attributes, events and links
stay; resources, scopes and metrics are exempt; a value that is cut is not counted.
"""

from __future__ import annotations

from base64 import b64decode, b64encode

from agent.config.processing import Limit
from agent.otlp.shapes import LOGS, TRACES, Object, groups

_MOST = 2**32 - 1
"""The counts are 32-bit integers."""


class Limiting:
    """`[forward.limit]`, ready for use."""

    reason = "limit"

    def __init__(self, rules: Limit) -> None:
        self._rules = rules

    def __call__(self, document: Object) -> int:
        """Bound every item; none is left out."""
        for spans in groups(document, TRACES):
            for span in spans:
                _cut(span, "events", self._rules.events, "droppedEventsCount")
                _cut(span, "links", self._rules.links, "droppedLinksCount")
                self._attributes(span)
                for below in (*span.get("events", ()), *span.get("links", ())):
                    self._attributes(below)
        for records in groups(document, LOGS):
            for record in records:
                self._attributes(record)
        return 0

    def _attributes(self, owner: Object) -> None:
        _cut(owner, "attributes", self._rules.attributes, "droppedAttributesCount")
        if self._rules.value_length:
            for pair in owner.get("attributes", ()):
                self._shorten(pair.get("value", {}))

    def _shorten(self, value: Object) -> None:
        most = self._rules.value_length
        if len(text := value.get("stringValue", "")) > most:
            value["stringValue"] = text[:most]
        # Four characters of base64 stand for three bytes.
        if len(data := value.get("bytesValue", "")) > most * 4 // 3:
            value["bytesValue"] = b64encode(b64decode(data)[:most]).decode("ascii")
        for one in value.get("arrayValue", {}).get("values", ()):
            self._shorten(one)
        for pair in value.get("kvlistValue", {}).get("values", ()):
            self._shorten(pair.get("value", {}))


def _cut(owner: Object, name: str, most: int, counter: str) -> None:
    several = owner.get(name, ())
    if most and len(several) > most:
        owner[counter] = min(_MOST, owner.get(counter, 0) + len(several) - most)
        del several[most:]
