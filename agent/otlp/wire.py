"""The little of protobuf's wire format that answers need (protobuf.dev, Encoding), so that no package is needed."""

from __future__ import annotations

from collections.abc import Iterator

Value = int | bytes


def fields(message: Value) -> Iterator[tuple[int, Value]]:
    """The fields of a message, by number, in order; ValueError where it is cut, wrong, or no message."""
    data = as_bytes(message)
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire} is none")
        if at + size > len(data):
            raise ValueError("the message is cut short")
        yield key >> 3, data[at : at + size]
        at += size


def as_bytes(value: Value) -> bytes:
    """A field that has a length; ValueError for a number."""
    if isinstance(value, int):
        raise ValueError("a message is no number")
    return value


def as_text(value: Value) -> str:
    """A field that is a text; ValueError for anything else."""
    return as_bytes(value).decode("utf-8")


def as_signed(value: Value) -> int:
    """An int64: a negative one fills the upper half of the unsigned range. ValueError for what is no number."""
    if not isinstance(value, int):
        raise ValueError("a number is no message")
    return value - (1 << 64) if value >= 1 << 63 else value


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
