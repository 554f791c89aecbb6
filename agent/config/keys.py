"""The schema by dotted key: which keys there are, their kinds, and the key probably meant by one that is not there.

An entry of an array of tables has its number in a key, `stream[0].match`; the schema knows it as `stream.match`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from keyword import iskeyword
from typing import Any, get_args, get_origin

import msgspec

from agent.config.checks import KINDS, Check, Plugin
from agent.config.schema import Config
from agent.config.values import Kind


def table(annotation: Any) -> type[msgspec.Struct] | None:
    """The struct behind the type of a section or sub-table; None for a plain key or an array of tables."""
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, msgspec.Struct) and get_origin(annotation) is not tuple:
            return part
    return None


def entry(annotation: Any) -> type[msgspec.Struct] | None:
    """The struct of an array of tables."""
    if get_origin(annotation) is not tuple:
        return None
    part = get_args(annotation)[0]
    return part if isinstance(part, type) and issubclass(part, msgspec.Struct) else None


@cache
def fields(struct: type[msgspec.Struct]) -> Mapping[str, Any]:
    """The keys of a section and their types, in the schema's order."""
    return {field.name.removesuffix("_"): field.type for field in msgspec.structs.fields(struct)}


def attribute(key: str) -> str:
    """The attribute that holds a section's key: the same but for Python's own words, `for_`."""
    return f"{key}_" if iskeyword(key) else key


def concrete(struct: type[msgspec.Struct], kind: object) -> type[msgspec.Struct]:
    """The struct of an entry: that of its `kind` where the entries of an array differ in kind."""
    return KINDS.get(str(kind), Plugin) if struct is Check else struct


def variants(struct: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """The structs that an entry may be."""
    return [*KINDS.values(), Plugin] if struct is Check else [struct]


@cache
def kinds() -> Mapping[str, Kind]:
    """Every key that can be set on its own, outside arrays of tables."""

    def walk(struct: type[msgspec.Struct], prefix: str) -> Iterator[tuple[str, Kind]]:
        for name, annotation in fields(struct).items():
            if below := table(annotation):
                yield from walk(below, f"{prefix}{name}.")
            elif not entry(annotation):
                yield prefix + name, Kind(annotation)

    return dict(walk(Config, ""))


@cache
def known() -> tuple[str, ...]:
    """Every key, table and array of tables, without the numbers of entries."""

    def walk(struct: type[msgspec.Struct], prefix: str) -> Iterator[str]:
        for name, annotation in fields(struct).items():
            yield prefix + name
            if below := table(annotation) or entry(annotation):
                for one in variants(below):
                    yield from walk(one, f"{prefix}{name}.")

    return tuple(dict.fromkeys(walk(Config, "")))


def kind_of(key: str, settings: Mapping[str, Any]) -> Kind:
    """The kind of a key that exists; `settings` by key tell of what kind an entry is."""
    struct: type[msgspec.Struct] = Config
    *tables, name = key.split(".")
    for number, one in enumerate(tables):
        annotation = fields(struct)[unnumbered(one)]
        kind = settings.get(".".join((*tables[: number + 1], "kind")))
        struct = concrete(table(annotation) or entry(annotation) or struct, kind)
    return Kind(fields(struct)[name])


def unnumbered(key: str) -> str:
    """The key in the schema: without the numbers of entries."""
    return re.sub(r"\[\d+\]", "", key)


def near(key: str) -> str:
    """A hint that names the key probably meant: of the same name in another table, or spelled alike."""
    from difflib import get_close_matches

    section, _, name = unnumbered(key).rpartition(".")
    siblings = [one for one in known() if one.rpartition(".")[0] == section]
    same = [one for one in known() if one.rpartition(".")[2] == name]
    below = [one for one in same if section and one.startswith(f"{section}.")]
    if below:  # or a letter is missing: `endpoint` of a forward is `endpoints`, though its signals have an `endpoint`
        beside = get_close_matches(name, [one.rpartition(".")[2] for one in siblings], 1, 0.8)
        below = [*(f"{section}.{one}" for one in beside), *below]
    spelled = get_close_matches(f"{section}.{name}".lstrip("."), siblings, 1) or get_close_matches(key, [*kinds()], 1)
    if found := below or [one for one in same if one in kinds()] or spelled:
        return f"did you mean {' or '.join(found)}?"
    return f"known are {', '.join(one.rpartition('.')[2] for one in siblings or fields(Config))}"
