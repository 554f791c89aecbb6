"""Draws panels of the committed dashboards with the data of a running Prometheus; Grafana is not needed.

    pip install matplotlib
    python container/pictures/draw.py http://localhost:9090 localhost:9464 --minutes 6

Queries, titles and units are those of container/grafana/dashboards; the look is not Grafana's.
"""

from __future__ import annotations

import argparse
import json
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib import ticker

HERE = Path(__file__).parent
PICTURES = {
    "files": ("Written to live files", "Seals", "Compression", "Disk space", "Deleted by rule", "Free space"),
    "delivery": ("Behind", "Backlog", "Sent", "Breakers", "Tries", "Checks"),
}
"""Panels of the dashboard `agent` by the picture that shows them."""
UNITS = {"bytes": "B", "Bps": "B/s", "s": "s", "ops": "/s", "reqps": "/s"}


def panels() -> dict[str, dict[str, Any]]:
    """The panels by title; of two that are called alike the first."""
    found: dict[str, dict[str, Any]] = {}
    for panel in json.loads((HERE.parent / "grafana/dashboards/agent.json").read_text())["panels"]:
        for one in [*panel.get("panels", []), panel]:
            found.setdefault(one["title"], one)
    return found


def series(prometheus: str, expression: str, start: float, end: float) -> Iterator[tuple[dict[str, str], Any]]:
    """Labels and points of each series of an expression."""
    step = max(1, round((end - start) / 240))
    asked = urllib.parse.urlencode({"query": expression, "start": start, "end": end, "step": step})
    with urllib.request.urlopen(f"{prometheus}/api/v1/query_range?{asked}", timeout=30) as answer:  # noqa: S310 - given
        for one in json.load(answer)["data"]["result"]:
            yield one["metric"], [(float(at), float(value)) for at, value in one["values"]]


def legend(text: str, labels: dict[str, str]) -> str:
    """The legend's text with its labels, as Grafana writes it."""
    for name, value in labels.items():
        text = text.replace("{{" + name + "}}", value)
    return text


def draw(axes: Any, panel: dict[str, Any], prometheus: str, agent: str, span: tuple[float, float]) -> None:
    """One panel."""
    for target in panel["targets"]:
        expression = target["expr"].replace("$__rate_interval", "30s").replace("$instance", agent)
        for labels, points in series(prometheus, expression, *span):
            values = [value for _, value in points]
            if any(values):
                axes.plot(
                    [at - span[0] for at, _ in points], values, label=legend(target["legendFormat"], labels), lw=1.5
                )
    axes.set_title(panel["title"], loc="left", fontsize=10, fontweight="bold")
    unit = panel["fieldConfig"]["defaults"]["unit"]
    axes.yaxis.set_major_formatter(ticker.EngFormatter(UNITS.get(unit, "")))
    axes.set_xlim(0, span[1] - span[0])
    highest = max((value for line in axes.lines for value in line.get_ydata() if isfinite(value)), default=0)
    axes.set_ylim(0, highest * 1.1 or 1)
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda at, _: f"{at / 60:g} min"))
    axes.xaxis.set_major_locator(ticker.MultipleLocator(60))
    axes.tick_params(labelsize=8)
    axes.grid(visible=True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if 0 < len(axes.lines) < 9:
        axes.legend(fontsize=7, frameon=False, ncols=2)


def main() -> None:
    """Write every picture beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prometheus")
    parser.add_argument("agent", help="the label `instance`")
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--end", type=float, default=None, help="Unix time; now")
    given = parser.parse_args()
    end = given.end or time.time()
    known = panels()
    for name, titles in PICTURES.items():
        figure, grid = plt.subplots(2, 3, figsize=(12, 5.2), layout="constrained")
        for axes, title in zip(grid.flat, titles, strict=True):
            draw(axes, known[title], given.prometheus, given.agent, (end - given.minutes * 60, end))
        figure.savefig(HERE / f"{name}.png", dpi=80, metadata={"Software": None})


if __name__ == "__main__":
    main()
