"""The one place where system families become prometheus_client's: built anew for each scrape, from memory alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import Metric
from prometheus_client.registry import Collector

from agent.system.family import Family
from agent.system.snapshot import Snapshot


class SnapshotCollector(Collector):
    """Serves the newest snapshot to a CollectorRegistry; any number of scrapes may run at once."""

    def __init__(self, newest: Callable[[], Snapshot]) -> None:
        self._newest = newest

    def describe(self) -> list[Metric]:
        """Nothing: the names depend on the machine, so they cannot be declared beforehand."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Fresh families; a scrape that is under way when a pass ends goes on with the older snapshot."""
        for family in self._newest().families:
            yield metric(family)


def metric(family: Family) -> Metric:
    """One family as prometheus_client has it; a counter's family is named without `_total` there."""
    found = Metric(family.name.removesuffix("_total"), family.help, family.kind)
    for values, value in family.samples:
        found.add_sample(family.name, dict(zip(family.labels, values, strict=True)), value)
    return found
