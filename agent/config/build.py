"""Typed values by dotted key become the structs of the schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from agent.config.findings import Findings
from agent.config.keys import attribute, concrete, entry, fields, table
from agent.config.schema import Config


def build(values: Mapping[str, Any], origins: Mapping[str, str], findings: Findings) -> Config:
    """The configuration with these values, defaults elsewhere.

    A key that is an entry of an array of tables (`stream[0]`) says that the entry is there; its value is not looked at.
    An entry that lacks a key that it must have is left out; it is a finding, unless the key was given a wrong value.
    """
    return Config(**_Builder(values, origins, findings).given(Config, "", {}))


class _Builder:
    def __init__(self, values: Mapping[str, Any], origins: Mapping[str, str], findings: Findings) -> None:
        self._values = values
        self._origins = origins
        self._findings = findings

    def given(self, struct: type[msgspec.Struct], prefix: str, base: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of `struct`. A table in it that `base` has too changes there only what is given."""
        found: dict[str, Any] = {}
        for name, annotation in fields(struct).items():
            key = f"{prefix}.{name}" if prefix else name
            if below := table(annotation):
                arguments = self.given(below, key, {})
                if name not in base:
                    found[name] = below(**arguments)
                elif arguments:
                    found[name] = msgspec.structs.replace(base[name], **arguments)
            elif item := entry(annotation):
                found[name] = tuple(self._entries(item, key, found))
            elif key in self._values:
                found[attribute(name)] = self._values[key]
        return found

    def _entries(self, item: type[msgspec.Struct], key: str, sections: Mapping[str, Any]) -> Iterator[msgspec.Struct]:
        number = 0
        while (one := f"{key}[{number}]") in self._values:
            struct = concrete(item, self._values.get(f"{one}.kind"))
            arguments = self.given(struct, one, sections)
            missing = [
                field.name for field in msgspec.structs.fields(struct) if field.required and field.name not in arguments
            ]
            for name in missing:
                if f"{one}.{name}" not in self._origins:
                    self._findings.add(self._origins[one], one, f"has no {name}", f"{name} must be given")
            if not missing:
                yield struct(**arguments)
            number += 1
