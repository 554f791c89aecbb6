"""One value: from TOML or text to what the schema wants, and back to TOML.

A value that does not fit is a ValueError whose sentence says what would.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from agent.kit.units import Duration, Share, Size

OFF = ("", "off")
"""How a limit is switched off."""
SECRET = "(secret)"  # noqa: S105 - what is shown instead of one

_USER = re.compile(r"(?<=://)((?:\$\{[^}]*\}|[^/?#])*)@")
_QUERY = re.compile(r"(?<=\?)[^#]+")


class Kind:
    """What the schema says about a key: its type in parts."""

    def __init__(self, annotation: Any) -> None:
        metas = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
        self.plain = annotation
        self.extra: dict[str, Any] = {}
        self.examples: list[Any] = []
        for meta in metas:
            if isinstance(meta, msgspec.Meta):
                self.extra |= meta.extra or {}
                self.examples += meta.examples or []
        bare = get_args(annotation)[0] if metas else annotation
        parts = get_args(bare) if get_origin(bare) in (Union, UnionType) else (bare,)
        self.parts = tuple(part for part in parts if part is not NoneType)
        if len(self.parts) < len(parts):
            self.extra.setdefault("off", None)

    @property
    def secret(self) -> bool:
        """True when the value is never shown."""
        return bool(self.extra.get("secret"))

    @property
    def url(self) -> bool:
        """True for URLs, which are shown without the credentials in them."""
        return bool(self.extra.get("url"))

    @property
    def quantity(self) -> bool:
        """True for durations, sizes and percentages."""
        return self.parts[0] in (Duration, Size, Share)

    def describe(self) -> str:
        """The type in a few words, for the reference."""
        words = [_words(part) for part in self.parts]
        return " or ".join([*words, '`""` (off)'] if "off" in self.extra else words)

    def shown(self, value: object) -> str:
        """A value as TOML; one that is secret is not shown, but whether it is set is."""
        if self.secret and value:
            return SECRET
        return to_toml(_without_credentials(value) if self.url else value)

    def convert(self, value: object) -> Any:
        """The value of a key in a TOML file, as the schema's type."""
        if "off" in self.extra and isinstance(value, str) and value in OFF:
            return self.extra["off"]
        if self.quantity:
            return self._quantity(value)
        try:
            return msgspec.convert(value, self.plain)
        except msgspec.ValidationError as error:
            raise ValueError(self._expected(value, str(error))) from None

    def from_text(self, text: str) -> Any:
        """The value of a key in the environment or on the command line. Lists are TOML arrays or comma-separated."""
        part = self.parts[0]
        if get_origin(part) is tuple:
            return self.convert(self._list(text))
        if part is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if part is int and text.strip().lstrip("-").isdecimal():
            return self.convert(int(text))
        if part is float:
            return self.convert(_number(text))
        return self.convert(text)

    def _list(self, text: str) -> object:
        if not text.lstrip().startswith("["):
            return [one.strip() for one in text.split(",")] if text else []
        try:
            return tomllib.loads(f"list = {text}")["list"]
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f'{self.shown(text)} is no list: {error}; write ["a", "b"] or a,b') from None

    def _quantity(self, value: object) -> Duration | Size | Share:
        if isinstance(value, str):
            percent = Share in self.parts and value.endswith("%")
            quantity: Duration | Size | Share = Share(value) if percent else self.parts[0](value)
            return quantity
        if isinstance(value, int) and not isinstance(value, bool) and (self.parts[0] is Size or value == 0):
            size: Size | Duration = self.parts[0](value)
            return size
        raise ValueError(self._expected(value, ""))

    def _expected(self, value: object, why: str) -> str:
        part = self.parts[0]
        if get_origin(part) is Literal and isinstance(value, str):
            return f"{value!r} is none of {', '.join(map(repr, get_args(part)))}"
        if part is int and isinstance(value, int) and not isinstance(value, bool):
            return f"{value} is out of range: {why.removeprefix('Expected `int` ')}"
        wanted = self.describe().replace("`", "")
        return f"{'the value' if self.secret else self.shown(value)} is of the wrong type, expected {wanted}"


def _words(part: Any) -> str:
    if get_origin(part) is Literal:
        return ", ".join(f"`{json.dumps(choice)}`" for choice in get_args(part))
    if get_origin(part) is tuple:
        return "list of strings"
    if get_origin(part) is dict:
        return "table"
    names = {
        Duration: "duration",
        Size: "size",
        Share: "percentage",
        str: "string",
        bool: "`true` or `false`",
        int: "integer",
        float: "number",
    }
    return names[part]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number") from None


def credentials(url: str) -> Iterator[str]:
    """What is not shown of a URL: user and password, together and the password alone, and the query."""
    for user in _USER.findall(url):
        yield user
        yield user.partition(":")[2]
    yield from _QUERY.findall(url)


def _without_credentials(value: object) -> object:
    if isinstance(value, str):
        return _QUERY.sub(SECRET, _USER.sub(f"{SECRET}@", value))
    return [_without_credentials(one) for one in value] if isinstance(value, (tuple, list)) else value


def to_toml(value: object) -> str:
    """How `value` is written in `agent.toml`; None is the empty string that switches a limit off."""
    if value is None:
        return '""'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (Duration, Size, Share, str)):
        return _quoted(str(value))
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(str(key))} = {to_toml(one)}" for key, one in value.items()) + "}"
    return str(value)


def _quoted(text: str) -> str:
    # A JSON string is a TOML basic string, but for DEL, which JSON leaves bare and TOML forbids.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
