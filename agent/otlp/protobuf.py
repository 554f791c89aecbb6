"""OTLP-JSON requests as protobuf, by the official message classes (package opentelemetry-proto, imported on use).

OTLP's JSON differs from the standard mapping (OTLP, JSON Protobuf Encoding): ids are hexadecimal instead of base64, and
names are lowerCamelCase alone. So the ids are rewritten, every key that OTLP does not know is left out with whatever it
holds, and the rest is left to protobuf's own reader, which keeps 64-bit integers exact.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

import msgspec

Fields = dict[str, "Fields | None"]
"""A message's fields by their names in JSON: what is below one that is a message itself, `_ID` for an id."""

_IDS = frozenset({"trace_id", "span_id", "parent_span_id"})
_ID: Fields = {}
"""Marks an id where a message's fields would be."""

_decode = msgspec.json.Decoder(dict[str, Any], float_hook=float).decode
"""Also where a number is beyond a double: what OTLP does not know may hold anything."""


def encoder(signal: str) -> Callable[[bytes], bytes]:
    """What turns an OTLP-JSON export request of `signal` (`traces`, `logs`, `metrics`) into protobuf.

    The request's lines have passed `envelope.check`: this reader takes some things that OTLP does not, names of enums
    for one. The encoder raises ValueError for what is no such request, and for what JSON can say and protobuf cannot:
    two kinds in one value, and values nested deeper than its readers go. Raises ImportError where the package is
    missing.
    """
    from google.protobuf import json_format

    request = _request(signal)
    fields = _fields(request.DESCRIPTOR, {})

    def encode(body: bytes) -> bytes:
        try:
            tree = _decode(body)
            _to_mapping(tree, fields)
            encoded: bytes = json_format.ParseDict(tree, request()).SerializeToString()
        except (json_format.ParseError, msgspec.MsgspecError, ValueError, RecursionError, TypeError) as error:
            # TypeError: what json_format raises for a number where a message should be.
            raise ValueError(f"not an export request: {error}") from error
        return encoded

    return encode


def _request(signal: str) -> Any:
    match signal:
        case "traces":
            from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

            return trace_service_pb2.ExportTraceServiceRequest
        case "logs":
            from opentelemetry.proto.collector.logs.v1 import logs_service_pb2

            return logs_service_pb2.ExportLogsServiceRequest
        case "metrics":
            from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2

            return metrics_service_pb2.ExportMetricsServiceRequest
    raise ValueError(f"{signal!r} is no signal")


def _fields(message: Any, known: dict[str, Fields]) -> Fields:
    """The fields of a message's descriptor; `known` are those of messages met before, as a value may hold values."""
    if message.full_name not in known:
        found = known[message.full_name] = {}
        for field in message.fields:
            below = _fields(field.message_type, known) if field.message_type else None
            found[field.json_name] = _ID if field.name in _IDS else below
    return known[message.full_name]


def _to_mapping(tree: Any, fields: Fields) -> None:
    """Leave out of a request what OTLP does not know, and write ids as base64."""
    waiting = [(tree, fields)]
    while waiting:
        node, fields = waiting.pop()
        if isinstance(node, list):
            waiting.extend((one, fields) for one in node)
        elif isinstance(node, dict):
            for key in node.keys() - fields.keys():
                del node[key]
            for key, value in node.items():
                below = fields[key]
                if below is _ID:
                    node[key] = base64.b64encode(binascii.unhexlify(value)).decode("ascii")
                elif below is not None:
                    waiting.append((value, below))
