"""What a reload brings: which keys differ between two configurations."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from agent.config.keys import attribute, entry, fields
from agent.config.schema import Config

_ABSENT = object()


def changed(old: Config, new: Config) -> list[str]:
    """The dotted keys whose value differs. An entry of an array of tables that came or went is one key, `stream[1]`."""
    before, after = dict(flat(old)), dict(flat(new))
    differing = {
        key if key in before and key in after else key.partition("]")[0] + "]": None
        for key in before | after
        if before.get(key, _ABSENT) != after.get(key, _ABSENT)
    }
    return list(differing)


def flat(struct: msgspec.Struct, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every dotted key in `struct` with its value, in the schema's order; `prefix` goes before each key."""
    for name, annotation in fields(type(struct)).items():
        key, value = prefix + name, getattr(struct, attribute(name))
        if entry(annotation):
            for number, one in enumerate(value):
                yield from flat(one, f"{key}[{number}].")
        elif isinstance(value, msgspec.Struct):
            yield from flat(value, f"{key}.")
        else:
            yield key, value
