"""Small charts as inline SVG: a line over a quarter of an hour, a bar for a share. Colours are the style sheet's."""

from __future__ import annotations

from collections.abc import Sequence

from agent.web.history import POINTS
from agent.web.markup import Markup, tag

_WIDTH, _HEIGHT = 180, 28
_PAD = 2
"""Room for the line's own width."""


def line(values: Sequence[float], told: str) -> Markup | None:
    """The values as a line whose right end is now; `told` is what a screen reader says. None for less than two."""
    if len(values) < 2:
        return None
    top = max(values) or 1.0
    step = _WIDTH / (POINTS - 1)
    first = _WIDTH - step * (len(values) - 1)
    points = [
        f"{first + step * number:.1f},{_HEIGHT - _PAD - (_HEIGHT - 2 * _PAD) * value / top:.1f}"
        for number, value in enumerate(values)
    ]
    area = f"M{first:.1f},{_HEIGHT} L{' L'.join(points)} L{_WIDTH},{_HEIGHT} Z"
    return tag(
        "svg",
        tag("path", d=area, class_="area"),
        tag("polyline", points=" ".join(points), class_="line", vector_effect="non-scaling-stroke"),
        class_="spark", viewBox=f"0 0 {_WIDTH} {_HEIGHT}", preserveAspectRatio="none", role="img", aria_label=told,
    )  # fmt: skip


def bar(share: float, told: str, level: str) -> Markup:
    """A share from 0 to 1 as a bar; `level` is ok, warn or bad."""
    return tag(
        "svg",
        tag("rect", width=100, height=4, rx=2, class_="track"),
        tag("rect", width=f"{100 * min(1.0, max(0.0, share)):.1f}", height=4, rx=2, class_=f"fill {level}"),
        class_="bar", viewBox="0 0 100 4", preserveAspectRatio="none", role="img", aria_label=told,
    )  # fmt: skip
