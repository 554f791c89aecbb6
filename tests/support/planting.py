"""A secret at every place that OTLP has, one after the other; the places are those of the official definitions."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

from agent.otlp.protobuf import _request

SECRET = "Mary.Major@example.com"  # noqa: S105 - what must not leave
CARD = "4111111111111111"
IDS = {"trace_id", "span_id", "parent_span_id"}
SIGNALS = ("traces", "logs", "metrics")

Path = list[FieldDescriptor]


def everywhere(signal: str) -> Iterator[Path]:
    """Every place in a request of a signal."""
    return places(_request(signal).DESCRIPTOR)


def places(descriptor: Any, path: Path | None = None) -> Iterator[Path]:
    """Every way from a message to a text, to bytes or to an attribute's integer; lists in lists are entered twice."""
    for field in descriptor.fields:
        way = [*(path or []), field]
        if sum(one is field for one in way) > 2 or field.name in IDS:
            continue
        if field.type == field.TYPE_MESSAGE:
            yield from places(field.message_type, way)
        elif field.type in (field.TYPE_STRING, field.TYPE_BYTES) or field.name == "int_value":
            yield way


def plant(signal: str, path: Path) -> bytes:
    """A line with a secret at one place, and an item so that it is not empty."""
    message = _request(signal)()
    node = message
    for field in path[:-1]:
        several = isinstance(getattr(node, field.name), list) or hasattr(getattr(node, field.name), "add")
        node = getattr(node, field.name).add() if several else getattr(node, field.name)
        node.SetInParent() if hasattr(node, "SetInParent") else None
    last = path[-1]
    value: Any = int(CARD) if last.name == "int_value" else SECRET
    if last.type == last.TYPE_BYTES:
        value = value.encode()
    if hasattr(getattr(node, last.name), "append"):
        getattr(node, last.name).append(value)
    else:
        setattr(node, last.name, value)
    item = {
        "traces": {"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "x"}]}]}]},
        "logs": {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"eventName": "x"}]}]}]},
        "metrics": {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"gauge": {"dataPoints": [{}]}}]}]}]},
    }[signal]
    for key, entries in json_format.MessageToDict(message).items():
        item[key] = [*entries, *item.get(key, [])]
    return json.dumps(item).encode() + b"\n"


def told(line: bytes) -> str:
    """The line with everything in base64 readable too."""
    plain = line.decode()
    for text in strings(json.loads(line)):
        try:
            plain += "\n" + base64.b64decode(text, validate=True).decode()
        except ValueError:
            continue
    return plain


def strings(node: Any) -> Iterator[str]:
    """Every text in a document, keys of objects too."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key
            yield from strings(value)
    elif isinstance(node, list):
        for one in node:
            yield from strings(one)
    elif isinstance(node, str):
        yield node
