"""What the README and the code have in common.

`python -m tests.support.readme` brings the parts that the code writes up to date; with `demo` or `test` it prints that
command instead, for .ci/run.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from agent.config import render
from agent.config.schema import RESTART_KEYS
from agent.health import exposition as health
from agent.metrics import Family, ForwardSeries, MemorySeries, Metrics, StreamSeries

README = Path(__file__).parents[2] / "README.md"
SCRAPES = Path(__file__).parents[1] / "data/system"


def metrics_reference() -> str:
    """A table of every own metric."""
    families = sorted(own_families())
    rows = [f"| `{one.name}` | {one.type} | {', '.join(one.labels)} | {one.help} |" for one in families]
    return "\n".join(["| metric | type | labels | meaning |", "|---|---|---|---|", *rows, ""])


def restart_keys() -> str:
    """The keys that wait for a restart, as one sentence."""
    keys = ", ".join(f"`{key}`" for key in sorted(RESTART_KEYS))
    return "\n".join(textwrap.wrap(f"{keys}, and every key of `[[forward]]`.", 120, break_on_hyphens=False)) + "\n"


def own_families() -> set[Family]:
    """Every family that an agent may expose: its own, those of delivery and checks, those of machine and container."""
    series = (*StreamSeries.families, *ForwardSeries.families, *MemorySeries.families)
    fixed = {*Metrics().reference(), *series, *health.ROWS}
    classics = {
        Family(f"{name}_health_status", "gauge", (), f"State of the check {name}, where there is one of this name.")
        for name in health.CLASSICS
    }
    return fixed | classics | set(_system())


def _system() -> Iterator[Family]:
    """What the golden scrapes of known machines hold, with both versions of cgroups."""
    found: dict[str, Family] = {}
    for scrape in ("v1.txt", "v2.txt"):
        for family in text_string_to_metric_families((SCRAPES / scrape).read_text("utf-8")):
            name = family.samples[0].name
            labels = tuple(family.samples[0].labels)
            found[name] = Family(name, family.type, labels, family.documentation)
    yield from found.values()


def section(text: str, markers: tuple[str, str]) -> str:
    """What stands between two markers. Raises ValueError when one of them is not there."""
    _, inside, _ = _cut(text, markers)
    return inside


def renewed(text: str) -> str:
    """The README with its generated parts as they should be."""
    for markers, content in (
        (render.MARKERS, render.markdown_reference()),
        (("<!-- restart keys -->", "<!-- end of restart keys -->"), restart_keys()),
        (("<!-- metrics reference -->", "<!-- end of metrics reference -->"), metrics_reference()),
    ):
        before, _, after = _cut(text, markers)
        text = f"{before}\n{content}{after}"
    return text


def with_proofs(text: str, table: str, seed: int, *, long: bool) -> str:
    """The README with the table of proofs as it was printed."""
    before, _, after = _cut(text, ("<!-- proofs -->", "<!-- end of proofs -->"))
    return f"{before}\n`python -m tests.crash{' --long' if long else ''} --seed {seed}` printed:\n\n{table}\n{after}"


def command(text: str, name: str) -> str:
    """The line in the block of code below the marker `<!-- NAME command -->`."""
    inside = section(text, (f"<!-- {name} command -->\n```sh\n", "\n```\n"))
    (line,) = inside.splitlines()
    return line


def _cut(text: str, markers: tuple[str, str]) -> tuple[str, str, str]:
    """The text up to and with the first marker, between the two, and from the second on."""
    before, first, rest = text.partition(markers[0])
    inside, second, after = rest.partition(markers[1])
    if not first or not second:
        raise ValueError(f"the README has no {markers[0]} .. {markers[1]}")
    return before + first, inside, second + after


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(command(README.read_text("utf-8"), sys.argv[1]))
    else:
        README.write_text(renewed(README.read_text("utf-8")), "utf-8")
