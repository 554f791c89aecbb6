"""HTML from values: whatever is not `Markup` already is escaped, so a name cannot become an element.

Text passes `printable` too: control characters, and those that turn the direction of writing, are shown as escapes.
"""

from __future__ import annotations

import html

from agent.kit.errors import printable

_VOID = frozenset({"meta", "link", "path", "rect", "polyline"})
"""Elements without an end tag; those of SVG need the slash, or what follows would be inside them."""


class Markup(str):
    """Text that is HTML."""

    __slots__ = ()


Child = str | int | float | None
"""None, and the empty text, leave no trace."""
Attribute = str | int | float | bool | None
"""None and False leave the attribute out, True gives it without a value."""


def text(value: Child) -> Markup:
    """A child as HTML."""
    if isinstance(value, Markup):
        return value
    return Markup("" if value is None else html.escape(printable(str(value))))


def join(*children: Child) -> Markup:
    """Children one after the other."""
    return Markup("".join(map(text, children)))


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """An element. In attributes' names `_` stands for `-`, and one at the end for nothing (`class_`, `for_`)."""
    given = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None)
    if name in _VOID:
        return Markup(f"<{name}{given}/>")
    return Markup(f"<{name}{given}>{join(*children)}</{name}>")


def _attribute(key: str, value: Attribute) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{html.escape(printable(str(value)))}"'
