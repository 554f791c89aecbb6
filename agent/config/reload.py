"""What a reload brings: which keys differ between two configurations."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

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


def flat(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    """Every dotted key at and below `key` with its value, in the schema's order."""
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from flat(getattr(value, name), f"{key}.{name}" if key else name)
    elif isinstance(value, tuple) and all(isinstance(one, msgspec.Struct) for one in value):
        for number, one in enumerate(value):
            yield from flat(one, f"{key}[{number}]")
    else:
        yield key, value
