"""The configuration as text: the commented `agent.toml`, the reference for the README, the effective values.

All three come from the schema; its docstrings are read from its source, so this module is for commands, not for the
running agent. `python -m agent.config.render > agent.toml` writes the file at the top of the repository.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import msgspec

from agent.config import schema
from agent.config.checks import KINDS, Check, Plugin
from agent.config.keys import entry, fields, kind_of, table
from agent.config.loader import SEARCH, Loaded
from agent.config.reload import flat
from agent.config.values import Kind, to_toml

MARKERS = ("<!-- configuration reference -->", "<!-- end of configuration reference -->")
"""What encloses the reference in the README."""

_WIDTH = 110

_HEAD = f"""\
telemetry-agent: every key with its default. Uncomment what you change.

Looked for at --config, $TELEMETRY_AGENT_CONFIG, {", ".join(SEARCH)}. A key can also be set by the environment
(TELEMETRY_AGENT__ROTATION__MAX_SIZE=1MB) or on the command line (--set rotation.max_size=1MB).

Durations: 250ms 10s 5m 1h 7d 1h30m. Sizes: 10MB is decimal, 10MiB binary. A limit is switched off by "" or "off".
"""


def effective(loaded: Loaded) -> list[tuple[str, str, str]]:
    """Each key with its value as TOML and its origin, in the schema's order; secrets hidden.

    Of an entry of an array of tables only what was given is listed.
    """
    values = dict(flat(loaded.config))
    return [
        (key, kind_of(key, values).shown(value), loaded.origins[key])
        for key, value in values.items()
        if key in loaded.origins
    ]


def commented_toml() -> str:
    """Every key with its meaning and default, commented out: it loads as it is, and equals the defaults."""
    parts = [_comment(_HEAD), *(part for name, kind in fields(schema.Config).items() for part in _section(name, kind))]
    return "\n".join(parts)


def markdown_reference() -> str:
    """The reference in the README: a table for each section."""
    return "\n".join(part for name, kind in fields(schema.Config).items() for part in _tables(name, kind))


def _section(name: str, annotation: Any) -> Iterator[str]:
    struct, repeated = _struct(annotation)
    yield _comment(inspect.getdoc(struct) or "") + (f"# [[{name}]]\n" if repeated else f"[{name}]\n")
    for field in msgspec.structs.fields(struct):
        if not entry(field.type):
            yield _field(name, field, _docs(struct)[field.name])
    for field in msgspec.structs.fields(struct):
        if entry(field.type) is Check:
            yield _comment(_docs(struct)[field.name] + " Every check has these keys; below are those of each kind.")
            yield from _checks(f"{name}.{field.name}")


def _checks(name: str) -> Iterator[str]:
    """The keys of every check, then those that each kind adds or changes."""
    yield f"# [[{name}]]\n"
    yield from (_field(name, field, _docs(Check)[field.name]) for field in msgspec.structs.fields(Check))
    for kind, struct in _kinds():
        example = kind or "a_plugin"
        yield _comment(inspect.getdoc(struct) or "") + f'# [[{name}]]\n# kind = "{example}"\n# name = "{example}"\n'
        yield from (_field(name, field, doc) for field, doc in _own(struct))


def _kinds() -> list[tuple[str, type[Check]]]:
    return [*KINDS.items(), ("", Plugin)]


def _own(struct: type[Check]) -> list[tuple[msgspec.structs.FieldInfo, str]]:
    """What a kind has beside the keys of every check, each with its meaning; the class that is nearest tells it."""
    docs = {
        name: doc for base in reversed(struct.__mro__) if issubclass(base, Check) for name, doc in _docs(base).items()
    }
    common = fields(Check)
    return [
        (field, docs[field.name]) for field in msgspec.structs.fields(struct) if field.name.strip("_") not in common
    ]


def _field(section: str, field: msgspec.structs.FieldInfo, doc: str) -> str:
    if below := table(field.type):
        head = f"{_comment(doc)}# [{section}.{field.name}]\n"
        inner = () if _is_section(below) else msgspec.structs.fields(below)
        return head + "".join(_field(f"{section}.{field.name}", one, _docs(below)[one.name]) for one in inner)
    return _comment(doc) + "".join(f"# {line}\n" for line in _assignment(field.name.removesuffix("_"), _default(field)))


def _is_section(struct: type[msgspec.Struct]) -> bool:
    """True for a table that differs from a section of its own, whose keys stand there."""
    return any(table(kind) is struct for kind in fields(schema.Config).values())


def _assignment(name: str, value: object) -> list[str]:
    """The lines that set a key; a long list has one item a line."""
    line = f"{name} = {to_toml(value)}"
    if len(line) <= _WIDTH or not isinstance(value, tuple):
        return [line]
    return [f"{name} = [", *(f"    {to_toml(one)}," for one in value), "]"]


def _comment(text: str) -> str:
    lines = [line for paragraph in text.split("\n\n") for line in textwrap.wrap(paragraph, _WIDTH)]
    return "".join(f"# {line}\n" for line in lines)


def _tables(name: str, annotation: Any) -> Iterator[str]:
    struct, repeated = _struct(annotation)
    yield f"### `{f'[[{name}]]' if repeated else f'[{name}]'}`\n"
    yield (inspect.getdoc(struct) or "") + "\n"
    yield _grid((field, _docs(struct)[field.name]) for field in msgspec.structs.fields(struct))
    for field in msgspec.structs.fields(struct):
        if (below := table(field.type)) and not _is_section(below):
            yield f"#### `[{name}.{field.name}]`\n\n{inspect.getdoc(below)}\n"
            yield _grid((one, _docs(below)[one.name]) for one in msgspec.structs.fields(below))
        if entry(field.type) is Check:
            yield f"### `[[{name}.{field.name}]]`\n\n{inspect.getdoc(Check)}\n"
            yield _grid((one, _docs(Check)[one.name]) for one in msgspec.structs.fields(Check))
            for kind, below in _kinds():
                yield f'#### `kind = "{kind or "..."}"`\n\n{inspect.getdoc(below)}\n'
                yield _grid(own) if (own := _own(below)) else ""


def _grid(rows: Iterable[tuple[msgspec.structs.FieldInfo, str]]) -> str:
    return "| key | type | default | meaning |\n|---|---|---|---|\n" + "".join(_row(_cells(*row)) for row in rows)


def _cells(field: msgspec.structs.FieldInfo, doc: str) -> tuple[str, str, str, str]:
    key, text = f"`{field.name.removesuffix('_')}`", " ".join(doc.split())
    if table(field.type):
        return key, "table", "", text
    if entry(field.type):
        return key, "array of tables", "", text
    default = "required" if field.required else f"`{to_toml(_default(field))}`"
    return key, Kind(field.type).describe(), default, text


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _struct(annotation: Any) -> tuple[type[msgspec.Struct], bool]:
    """The struct of a section, and whether it is an array of tables."""
    struct = table(annotation) or entry(annotation)
    if struct is None:
        raise TypeError(f"{annotation} is neither a table nor an array of tables")
    return struct, table(annotation) is None


def _default(field: msgspec.structs.FieldInfo) -> object:
    """The default, or for a key that must be given the first example of the schema."""
    if field.required:
        return Kind(field.type).examples[0]
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


@cache
def _docs(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The string literal below each field, which Python itself does not keep; a field without one is a KeyError."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(struct))).body
    if not isinstance(definition, ast.ClassDef):
        raise TypeError(f"{struct} is no class")
    docs: dict[str, str] = {}
    for field, below in pairwise(definition.body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(doc))):
                docs[name] = inspect.cleandoc(doc)
    return docs


if __name__ == "__main__":
    print(commented_toml(), end="")
