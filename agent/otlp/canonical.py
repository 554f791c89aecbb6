"""Brings a legal OTLP-JSON document into its canonical form, or says where and why it is not legal.

Legal is what the protobuf JSON mapping and the OTLP specification allow a sender (opentelemetry-proto 1.11,
docs/specification.md, "JSON Protobuf Encoding"; protobuf.dev, "ProtoJSON Format"); canonical is the one spelling of it
that every receiver reads, as `records` has it:

| legal | canonical |
|---|---|
| null for a field | the field left out |
| 64-bit integer as a number, also 2.0 and 1e9 | decimal string |
| 32-bit integer as a decimal string or as 2.0 | number |
| double as a decimal string | number |
| bytes as base64 without padding, or in the URL-safe alphabet | padded standard base64 |

Not legal: names of enum values (and numbers in quotes for them), ids of another length, that are no hex or all zero,
integers out of their range, doubles beyond a double's, null in a list. Legal and left as they are: unknown keys, empty
ids (absent), hex in either case, enum values nobody has named yet.

Not looked for: a key twice in one object (the last counts) and two kinds of value in one AnyValue or Metric.

This is the slow and exact road; `envelope.check` takes it only for lines that fail its fast test.
"""

from __future__ import annotations

import binascii
import math
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from typing import Any, get_args, get_origin

import msgspec
from msgspec import UnsetType

from agent.otlp import records

_DECIMAL = re.compile(r"-?[0-9]{1,20}")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_HEX = re.compile(r"[0-9a-fA-F]*")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")


class Reason(StrEnum):
    """Why a line is no OTLP; a closed set, fit for a metric's label."""

    ENCODING = "encoding"
    """no UTF-8"""
    JSON = "json"
    """no JSON"""
    OTLP = "not_otlp"
    """JSON, but none of the three signals is in it"""
    STRUCTURE = "structure"
    """a field has the wrong type, or the nesting is too deep"""
    ID = "id"
    """a trace or span id is no hex, has the wrong length or is all zero"""
    ENUM = "enum"
    """an enum value that is no integer"""
    NUMBER = "number"
    """a number that is none, or out of its field's range"""


class RefusedError(Exception):
    """The document is not legal; `where` is the path to the field, as in `resourceSpans[0].schemaUrl`."""

    def __init__(self, reason: Reason, what: str) -> None:
        super().__init__(what)
        self.reason = reason
        self.what = what
        self.where = ""

    def below(self, step: str) -> RefusedError:
        """The same, seen from one level higher."""
        dot = "." if self.where and not self.where.startswith("[") else ""
        self.where = f"{step}{dot}{self.where}"
        return self


class Canonical:
    """One pass over a document, which is changed in place.

    `changed` says whether anything was not canonical, `unknown` whether there are keys that OTLP does not have.
    RefusedError when the document is not legal, RecursionError when it is nested too deeply.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.changed = False
        self.unknown = False
        self.message(_fields(records.Request), document)

    def message(self, fields: dict[str, Convert], value: Any) -> Any:
        """The object `value`, field by field."""
        if not isinstance(value, dict):
            raise _wrong("an object", value)
        for key, item in list(value.items()):
            if key not in fields:
                self.unknown = True
            elif item is None:
                del value[key]
                self.changed = True
            else:
                self._put(value, key, item, fields[key], key)
        return value

    def several(self, convert: Convert, value: Any) -> Any:
        """The list `value`, element by element."""
        if not isinstance(value, list):
            raise _wrong("a list", value)
        for index, item in enumerate(value):
            self._put(value, index, item, convert, f"[{index}]")
        return value

    def _put(self, holder: Any, key: str | int, item: Any, convert: Convert, step: str) -> None:
        try:
            new = convert(self, item)
        except RefusedError as error:
            raise error.below(step) from None
        if new is not item:
            holder[key] = new
            self.changed = True


Convert = Callable[[Canonical, Any], Any]
"""What makes one field's value canonical: returns the very same object if it is."""


def _wrong(wanted: str, value: object) -> RefusedError:
    """The value itself is not told: it may be somebody's secret."""
    found = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return RefusedError(Reason.STRUCTURE, f"expected {wanted}, found {found.get(type(value), 'a number')}")


def _string(_: Canonical, value: Any) -> Any:
    if not isinstance(value, str):
        raise _wrong("a string", value)
    return value


def _boolean(_: Canonical, value: Any) -> Any:
    if not isinstance(value, bool):
        raise _wrong("a boolean", value)
    return value


def _integer(value: Any, low: int, high: int) -> int:
    """The integer that `value` spells, in any legal way."""
    match value:
        case bool() | dict() | list() | None:
            raise _wrong("an integer", value)
        case str() if not _DECIMAL.fullmatch(value):
            raise RefusedError(Reason.NUMBER, "expected an integer, found another string")
        case Decimal() if value.adjusted() > 20 or value != value.to_integral_value():
            raise RefusedError(Reason.NUMBER, "expected an integer, found a fraction or a number far out of range")
    number = int(value)
    if not low <= number <= high:
        raise RefusedError(Reason.NUMBER, f"expected an integer from {low} to {high}, found one out of range")
    return number


def _wide(low: int, high: int) -> Convert:
    def convert(_: Canonical, value: Any) -> Any:
        text = str(_integer(value, low, high))
        return value if value == text else text

    return convert


def _narrow(low: int, high: int) -> Convert:
    def convert(_: Canonical, value: Any) -> Any:
        number = _integer(value, low, high)
        return value if isinstance(value, int) else number

    return convert


def _enumeration(_: Canonical, value: Any) -> Any:
    if isinstance(value, str):
        raise RefusedError(Reason.ENUM, f"expected an enum value's integer, found {value[:40]!r}")
    number = _integer(value, -(2**31), 2**31 - 1)
    return value if isinstance(value, int) else number


def _double(_: Canonical, value: Any) -> Any:
    if isinstance(value, str):
        if value in ("NaN", "Infinity", "-Infinity"):
            return value
        if not _NUMBER.fullmatch(value):
            raise RefusedError(Reason.NUMBER, "expected a number, found another string")
        value = Decimal(value)
    elif isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise _wrong("a number", value)
    if not _fits_double(value):
        raise RefusedError(Reason.NUMBER, "the number is beyond the range of a double")
    return value


def _fits_double(value: int | Decimal) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _identity(digits: int) -> Convert:
    def convert(_: Canonical, value: Any) -> Any:
        if not isinstance(value, str):
            raise RefusedError(Reason.ID, f"expected {digits} hex digits, found no string")
        if value and (len(value) != digits or not _HEX.fullmatch(value)):
            raise RefusedError(Reason.ID, f"expected {digits} hex digits, found {value[:40]!r}")
        if value and not value.strip("0"):
            raise RefusedError(Reason.ID, "an id that is all zero is invalid")
        return value

    return convert


def _bytes(_: Canonical, value: Any) -> Any:
    if not isinstance(value, str):
        raise _wrong("base64", value)
    bare = value.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        if not _BASE64.fullmatch(value):
            raise ValueError
        text = b64encode(b64decode(bare + "=" * (-len(bare) % 4), validate=True)).decode()
    except (ValueError, binascii.Error):
        raise RefusedError(Reason.STRUCTURE, "expected base64, found another string") from None
    return value if value == text else text


_SCALARS: dict[object, Convert] = {
    str: _string,
    bool: _boolean,
    bytes: _bytes,
    records.Unsigned: _wide(0, 2**64 - 1),
    records.Signed: _wide(-(2**63), 2**63 - 1),
    records.Integer: _wide(-(2**63), 2**63 - 1),
    records.Unsigned32: _narrow(0, 2**32 - 1),
    records.Signed32: _narrow(-(2**31), 2**31 - 1),
    records.Enumeration: _enumeration,
    frozenset(get_args(records.Double)): _double,
    records.TraceId: _identity(32),
    records.SpanId: _identity(16),
}
_MESSAGES: dict[type, dict[str, Convert]] = {}


def _fields(message: type[msgspec.Struct]) -> dict[str, Convert]:
    """The fields of a message by their keys, made once."""
    if message not in _MESSAGES:
        fields = _MESSAGES[message] = {}
        fields.update({field.encode_name: _convert(field.type) for field in msgspec.structs.fields(message)})
    return _MESSAGES[message]


def _convert(kind: Any) -> Convert:
    """What converts values of the type `kind` of a field in `records`."""
    kinds = frozenset(get_args(kind)) - {UnsetType}
    if UnsetType in get_args(kind) and len(kinds) == 1:
        (kind,) = kinds
    if found := _SCALARS.get(kind) or _SCALARS.get(kinds):
        return found
    if get_origin(kind) is list:
        element = _convert(get_args(kind)[0])
        return lambda walk, value: walk.several(element, value)
    fields = _fields(kind)
    return lambda walk, value: walk.message(fields, value)
