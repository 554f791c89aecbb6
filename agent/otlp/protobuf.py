"""OTLP-JSON requests as protobuf, by the official message classes (package opentelemetry-proto, imported on use).

OTLP's JSON differs from the standard mapping in one thing: ids are hexadecimal instead of base64 (OTLP, JSON Protobuf
Encoding). So the ids are rewritten and the rest is left to protobuf's own reader: 64-bit integers stay exact, unknown
keys are ignored.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

import msgspec

_IDS = frozenset({"traceId", "spanId", "parentSpanId"})


def encoder(signal: str) -> Callable[[bytes], bytes]:
    """What turns an OTLP-JSON export request of `signal` (`traces`, `logs`, `metrics`) into protobuf.

    The request's lines have passed `envelope.check`: this reader takes some things that OTLP does not, names of enums
    for one. The encoder raises ValueError for what is no such request. Raises ImportError where the package is missing.
    """
    from google.protobuf import json_format

    request = _request(signal)

    def encode(body: bytes) -> bytes:
        try:
            tree = msgspec.json.decode(body, type=dict[str, Any])
            _ids_to_base64(tree)
            encoded: bytes = json_format.ParseDict(tree, request(), ignore_unknown_fields=True).SerializeToString()
        except (json_format.ParseError, msgspec.MsgspecError, binascii.Error, RecursionError, TypeError) as error:
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


def _ids_to_base64(tree: Any) -> None:
    # Attribute names are values in OTLP, never keys, so a key of that name is an id wherever it stands.
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            for key in _IDS & node.keys():
                if isinstance(node[key], str):
                    node[key] = base64.b64encode(binascii.unhexlify(node[key])).decode("ascii")
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
