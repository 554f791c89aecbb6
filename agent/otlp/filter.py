"""Leaves resources out by their attributes: projects and services that are none of a destination's business."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable

from agent.config.processing import Filter, pair
from agent.otlp.shapes import SHAPES, Object, count

_TEXTS = ("stringValue", "intValue", "boolValue", "doubleValue")


class Filtering:
    """`[forward.filter]`, ready for use."""

    reason = "filter"

    def __init__(self, rules: Filter) -> None:
        self._include = _by_key(rules.include)
        self._exclude = _by_key(rules.exclude)

    def __call__(self, document: Object) -> int:
        """Leave resources out; how many spans, log records and data points were in them."""
        gone = 0
        for shape in SHAPES:
            resources = document.get(shape.resources)
            if not resources:
                continue
            kept = [one for one in resources if self._passes(one.get("resource", {}))]
            if len(kept) < len(resources):
                out = [one for one in resources if not any(one is other for other in kept)]
                gone += sum(count(s.get(shape.items, ()), shape) for one in out for s in one.get(shape.scopes, ()))
                document[shape.resources] = kept
        return gone

    def _passes(self, resource: Object) -> bool:
        """A key that comes twice must be right each time: receivers differ in which one they take."""
        values: dict[str, list[str]] = {}
        for one in resource.get("attributes", ()):
            key = one.get("key", "")
            if key in self._include or key in self._exclude:
                values.setdefault(key, []).append(_text(one.get("value", {})))
        for key, wanted in self._include.items():
            found = values.get(key)
            if not found or not all(wanted.match(text) for text in found):
                return False
        return not any(self._exclude[key].match(text) for key in values.keys() & self._exclude for text in values[key])


def _by_key(entries: Iterable[str]) -> dict[str, re.Pattern[str]]:
    """One expression for each key: any of its patterns."""
    patterns: dict[str, list[str]] = {}
    for key, pattern in map(pair, entries):
        patterns.setdefault(key, []).append(fnmatch.translate(pattern))
    return {key: re.compile("|".join(several)) for key, several in patterns.items()}


def _text(value: Object) -> str:
    """A plain value as text; empty for a list, bytes and nothing at all."""
    for kind in _TEXTS:
        if kind in value:
            plain = value[kind]
            return str(plain).lower() if isinstance(plain, bool) else str(plain)
    return ""
