"""Takes secrets out of a record, wherever OTLP has a text.

Invariants: `records` names every field of OTLP, so it decides what is looked at: a text, a value, attributes, further
messages. Ids, times and measurements are no texts. A field that `records` does not know is left out. What replaces a
secret depends on the secret and the configuration alone.
"""

from __future__ import annotations

import fnmatch
import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple, get_args, get_origin

import msgspec
from msgspec import UnsetType

from agent.config.processing import Redact
from agent.otlp import records
from agent.otlp.secrets import KEYS, PATTERNS, Finder, Pattern
from agent.otlp.shapes import Object

MASK = "[redacted]"

_COUNTER = "droppedAttributesCount"
_NOTHING: Object = {}
_SHORT = 256
"""Characters up to which what became of a text is remembered: texts of telemetry come again and again."""
_REMEMBERED = 8192

Act = Callable[["Redacting", Object, str, Any], None]
"""Looks at the value of one field of an object, and changes it there."""


class Fields(NamedTuple):
    """What to do with an object of one kind."""

    known: frozenset[str]
    acts: list[tuple[str, Act]]


class Redacting:
    """`[forward.redact]`, ready for use; the key for hashes has no references any more."""

    reason = "redact"

    def __init__(self, rules: Redact, hash_key: str = "") -> None:
        self._finder = Finder([*(PATTERNS if rules.defaults else ()), *(Pattern(one, plain=1) for one in rules.values)])
        self._keys = _globs((*rules.keys, *(KEYS if rules.defaults else ())))
        self._keep = _globs(rules.keep)
        self._drop = rules.action == "drop"
        self._action = rules.action
        self._hash_key = hash_key.encode()
        self._remembered = lru_cache(_REMEMBERED)(self._search)
        self._verdict = lru_cache(_REMEMBERED)(self._judge)

    def __call__(self, document: Object) -> int:
        """Redact every text; no item is left out. Raises RecursionError for a value that is nested too deeply."""
        self._message(document, _fields(records.Request))
        return 0

    def text(self, text: str) -> str:
        """The text without its secrets."""
        if len(text) < self._finder.shortest and text.isalnum():
            return text
        return self._remembered(text) if len(text) <= _SHORT else self._search(text)

    # -- texts

    def _search(self, text: str) -> str:
        pieces: list[str] = []
        at = 0
        for start, end in self._finder.places(text):
            pieces += (text[at:start], self._replacement(text[start:end]))
            at = end
        return "".join((*pieces, text[at:])) if pieces else text

    def _replacement(self, secret: str) -> str:
        if self._drop:
            return ""
        if self._action == "mask":
            return MASK
        data = secret.encode("utf-8", "surrogateescape")
        if self._hash_key:
            return f"hmac-sha256:{hmac.new(self._hash_key, data, hashlib.sha256).hexdigest()}"
        return f"sha256:{hashlib.sha256(data).hexdigest()}"

    def _judge(self, key: str) -> tuple[bool | None, str]:
        """Whether an attribute's value is secret by its key (None: it is left alone), and the key as it may leave."""
        lower = key.lower()
        if self._keep and self._keep.match(lower):
            return None, key
        return bool(self._keys and self._keys.match(lower)), self.text(key)

    # -- attributes and values

    def pairs(self, owner: Object, field: str, pairs: list[Object]) -> None:
        """Attributes of `owner`, or of a value, as they may leave."""
        owner[field] = [new for one in pairs if (new := self._pair(one)) is not None]

    def _pair(self, one: Object) -> Object | None:
        """The attribute as it may leave, with no field but its two; None for not at all."""
        key, value = one.get("key", ""), one.get("value", _NOTHING)
        secret, new_key = self._verdict(key) if len(key) <= _SHORT else self._judge(key)
        if secret is None:
            return {"key": key, "value": value}
        if self._drop and (secret or new_key != key):
            return None
        if secret:
            return {"key": new_key, "value": {"stringValue": self._replacement(_plain(value))}}
        new = self.value(value)
        if new is value and new_key == key and len(one) == 2:
            return one
        return None if new is None else {"key": new_key, "value": new}

    def value(self, value: Object, *, whole: bool = True) -> Object | None:
        """The value as it may leave; with `whole` None where the action is `drop` and it has a secret."""
        if len(value) == 1:
            # The usual value: one text or integer, with nothing secret in it.
            text = value.get("stringValue") or value.get("intValue")
            if text and self.text(text) == text:
                return value
        new: Object = {}
        for kind, content in value.items():
            if kind == "stringValue":
                new[kind] = text = self.text(content)
                changed = text != content
            elif kind in ("intValue", "doubleValue"):
                plain = str(content)
                text = self.text(plain)
                changed = text != plain
                new |= {"stringValue": text} if changed else {kind: content}
            elif kind == "bytesValue":
                new[kind] = data = self._bytes(content)
                changed = data != content
            else:
                new |= self._several(kind, content)
                changed = False
            if changed and whole and self._drop:
                return None
        return new

    def _several(self, kind: str, content: Any) -> Object:
        """A list, further attributes or a boolean; nothing of a kind that OTLP does not know."""
        if kind == "arrayValue":
            return {kind: {"values": [self.value(one, whole=False) for one in content.get("values", ())]}}
        if kind == "kvlistValue":
            inner: Object = {}
            self.pairs(inner, "values", content.get("values", []))
            return {kind: inner}
        return {kind: content} if kind == "boolValue" else {}

    def _bytes(self, content: str) -> str:
        data = b64decode(content)
        text = data.decode("utf-8", "surrogateescape")
        new = self.text(text)
        return content if new == text else b64encode(new.encode("utf-8", "surrogateescape")).decode("ascii")

    # -- messages

    def _message(self, node: Object, fields: Fields) -> None:
        if not node.keys() <= fields.known:
            for key in node.keys() - fields.known:
                del node[key]
        for key, act in fields.acts:
            found = node.get(key)
            if found:
                act(self, node, key, found)


def _globs(patterns: Iterable[str]) -> re.Pattern[str] | None:
    several = "|".join(fnmatch.translate(one.lower()) for one in patterns)
    return re.compile(several) if several else None


def _plain(value: Object) -> str:
    """What is hashed of a value: its text, or its JSON where it is a list or empty."""
    match value:
        case {"stringValue": str(text), **rest} if not rest:
            return text
        case {"intValue": str(text), **rest} if not rest:
            return text
    return records.encode(value).decode().rstrip() if value else ""


# -- the fields of OTLP, from `records`

_FIELDS: dict[type, Fields] = {}


def _fields(message: type[msgspec.Struct]) -> Fields:
    """What is to be looked at in a message, made once."""
    if message not in _FIELDS:
        known = frozenset(one.encode_name for one in msgspec.structs.fields(message))
        fields = _FIELDS[message] = Fields(known, [])
        counted = _COUNTER in known
        for one in msgspec.structs.fields(message):
            act = _act(one.type, counted=counted and one.encode_name == "attributes")
            if act is not None:
                fields.acts.append((one.encode_name, act))
    return _FIELDS[message]


def _act(kind: Any, *, counted: bool) -> Act | None:
    """What is done with a field of this type in `records`; None for ids, numbers and the like."""
    kinds = tuple(one for one in get_args(kind) if one is not UnsetType) if UnsetType in get_args(kind) else ()
    if len(kinds) == 1:
        (kind,) = kinds
    if kind is str:
        return _text
    if kind is records.AnyValue:
        return _value
    if get_origin(kind) is list:
        (element,) = get_args(kind)
        if element is records.KeyValue:
            return _counted if counted else Redacting.pairs
        if element is str:
            return _texts
        return _each(element) if _is_message(element) else None
    return _one(kind) if _is_message(kind) else None


def _is_message(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _text(redacting: Redacting, node: Object, key: str, text: str) -> None:
    node[key] = redacting.text(text)


def _texts(redacting: Redacting, node: Object, key: str, texts: list[str]) -> None:
    node[key] = [redacting.text(text) for text in texts]


def _value(redacting: Redacting, node: Object, key: str, value: Object) -> None:
    node[key] = redacting.value(value, whole=False)


def _counted(redacting: Redacting, node: Object, key: str, pairs: list[Object]) -> None:
    redacting.pairs(node, key, pairs)
    if gone := len(pairs) - len(node[key]):
        node[_COUNTER] = min(2**32 - 1, node.get(_COUNTER, 0) + gone)


def _one(message: type[msgspec.Struct]) -> Act:
    fields = _fields(message)

    def act(redacting: Redacting, _: Object, __: str, node: Object) -> None:
        redacting._message(node, fields)  # noqa: SLF001 - one class in two parts: what it does, and to which fields

    return act


def _each(message: type[msgspec.Struct]) -> Act:
    fields = _fields(message)

    def act(redacting: Redacting, _: Object, __: str, nodes: list[Object]) -> None:
        for node in nodes:
            redacting._message(node, fields)  # noqa: SLF001 - as above

    return act
