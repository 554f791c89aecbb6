"""Adds attributes to every resource: host, pod, environment."""

from __future__ import annotations

from collections.abc import Mapping

from agent.otlp.shapes import SHAPES, Object


class Adding:
    """`[forward.add]`, ready for use; the values have no references any more."""

    reason = "add"

    def __init__(self, attributes: Mapping[str, str], *, overwrite: bool) -> None:
        self._attributes = attributes
        self._overwrite = overwrite

    def __call__(self, document: Object) -> int:
        """Add to every resource; no item is left out."""
        for shape in SHAPES:
            for one in document.get(shape.resources, ()):
                self._extend(one.setdefault("resource", {}))
        return 0

    def _extend(self, resource: Object) -> None:
        there = resource.get("attributes", [])
        if self._overwrite:
            there = [pair for pair in there if pair.get("key", "") not in self._attributes]
        keys = {pair.get("key", "") for pair in there}
        new = [
            {"key": key, "value": {"stringValue": value}} for key, value in self._attributes.items() if key not in keys
        ]
        resource["attributes"] = [*there, *new]
