"""What an OTLP receiver answers to a batch it took: perhaps that it did not take all of it.

The answer is one message with one field, `partial_success`, for all three signals: how many items were refused, and
why (opentelemetry-proto, collector/*/v1/*_service.proto; the field numbers are the same in each). So the dozen lines
that read its protobuf form are written here, and no protobuf package is needed to talk to a receiver that prefers it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

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
            return next((_text(value) for number, value in _fields(body) if number == 2), "")
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
    for number, partial in _fields(body):
        if number == 1:
            for inner, value in _fields(_bytes(partial)):
                if inner == 1 and isinstance(value, int):
                    # int64: a negative one fills the upper half of the unsigned range.
                    rejected = value if value < 1 << 63 else 0
                elif inner == 2:
                    message = _text(value)
    return PartialSuccess(rejected, message)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protobuf message, by number (protobuf.dev, Encoding); ValueError where it is cut or wrong."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if wire == 2:
            size, at = _varint(message, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire} is none")
        if at + size > len(message):
            raise ValueError("the message is cut short")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("the message is cut short")
        value |= (message[at] & 0x7F) << shift
        at += 1
        if message[at - 1] < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise ValueError("a varint has at most 10 bytes")


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a message is no number")
    return value


def _text(value: int | bytes) -> str:
    return _bytes(value).decode("utf-8")
