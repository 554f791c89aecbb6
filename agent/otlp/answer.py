"""What an OTLP receiver answers to a batch it took: perhaps that it did not take all of it.

The answer is one message with one field, `partial_success`, for all three signals: how many items were refused, and
why (opentelemetry-proto, collector/*/v1/*_service.proto; the field numbers are the same in each). So its protobuf form
is read here, and no protobuf package is needed to talk to a receiver that prefers it.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from agent.otlp import wire

_PROTOBUF = ("application/x-protobuf", "application/protobuf")


@dataclass(frozen=True, slots=True)
class PartialSuccess:
    """What was refused; nothing refused but a message is a warning (OTLP, Partial Success)."""

    rejected: int = 0
    """Spans, log records or data points."""
    message: str = ""


class _Partial(msgspec.Struct, rename="camel"):
    # int64 comes as a decimal string by the proto3 JSON mapping, and as a number from whoever does not know that.
    rejected_spans: int | str | None = None
    rejected_log_records: int | str | None = None
    rejected_data_points: int | str | None = None
    error_message: str | None = None


class _Answer(msgspec.Struct, rename="camel"):
    partial_success: _Partial | None = None


def parse(body: bytes, content_type: str) -> PartialSuccess | None:
    """Read an answer; None when it is not what an OTLP receiver says (HTML from a proxy, half a message).

    An empty body is a whole message in protobuf, and none in JSON. Never raises, whatever the bytes are.
    """
    media = content_type.partition(";")[0].strip().lower()
    try:
        return _protobuf(body) if media in _PROTOBUF else _json(body)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        return None


def error_message(body: bytes, content_type: str) -> str:
    """What the receiver says about an error: the message of a `Status`, else the beginning of a text; may be empty."""
    media = content_type.partition(";")[0].strip().lower()
    try:
        if media in _PROTOBUF:
            return next((wire.as_text(value) for number, value in wire.fields(body) if number == 2), "")
        if media == "application/json" and (message := msgspec.json.decode(body, type=_Status).message):
            return message
    except (ValueError, msgspec.MsgspecError, RecursionError):
        pass
    readable = media == "application/json" or media.startswith("text/plain") or not media
    return body[:400].decode("utf-8", "replace").strip() if readable else ""


class _Status(msgspec.Struct):
    message: str = ""


def _json(body: bytes) -> PartialSuccess:
    partial = msgspec.json.decode(body, type=_Answer).partial_success or _Partial()
    counts = (partial.rejected_spans, partial.rejected_log_records, partial.rejected_data_points)
    return PartialSuccess(max(0, *(int(count or 0) for count in counts)), partial.error_message or "")


def _protobuf(body: bytes) -> PartialSuccess:
    rejected, message = 0, ""
    for number, partial in wire.fields(body):
        if number == 1:
            for inner, value in wire.fields(partial):
                if inner == 1:
                    rejected = max(0, wire.as_signed(value))
                elif inner == 2:
                    message = wire.as_text(value)
    return PartialSuccess(rejected, message)


def retry_delay(status: bytes) -> float | None:
    """The seconds in the RetryInfo of a `google.rpc.Status` (gRPC's `grpc-status-details-bin`); None without one.

    Never raises. A RetryInfo without a delay means 0 (OTLP/gRPC Throttling).
    """
    try:
        for number, detail in wire.fields(status):
            if number == 3:
                inner = dict(wire.fields(detail))
                if wire.as_text(inner.get(1, b"")).rpartition("/")[2] == "google.rpc.RetryInfo":
                    delay = dict(wire.fields(dict(wire.fields(inner.get(2, b""))).get(1, b"")))
                    return max(0.0, wire.as_signed(delay.get(1, 0)) + wire.as_signed(delay.get(2, 0)) / 1e9)
    except ValueError:
        pass
    return None
