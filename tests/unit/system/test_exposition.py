"""System families as a scrape sees them."""

from concurrent.futures import ThreadPoolExecutor

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from agent.system.exposition import SnapshotCollector, metric
from agent.system.family import Family, single
from agent.system.snapshot import Snapshot


def parse_openmetrics(registry: CollectorRegistry) -> list[Metric]:
    """What the strict parser makes of an OpenMetrics scrape."""
    text = generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]
    return list(text_string_to_metric_families(text))  # type: ignore[no-untyped-call]


def test_labels_and_values_are_kept() -> None:
    """A backslash in a mount point comes back as it was."""
    family = Family("disk_bytes", "gauge", "Help.", ("mountpoint",), ((("/a\\b",), 1.5),))

    (sample,) = metric(family).samples

    assert sample[:3] == ("disk_bytes", {"mountpoint": "/a\\b"}, 1.5)


def test_openmetrics_is_what_its_strict_parser_takes() -> None:
    """A counter's family has no `_total`, its sample has."""
    registry = CollectorRegistry()
    snapshot = Snapshot(families=(single("sent_bytes_total", "Help.", 3), single("size_bytes", "Help.", 4)))
    registry.register(SnapshotCollector(lambda: snapshot))

    found = {family.name: (family.type, family.samples[0].name) for family in parse_openmetrics(registry)}

    assert found == {"sent_bytes": ("counter", "sent_bytes_total"), "size_bytes": ("gauge", "size_bytes")}


def test_before_the_first_pass_there_is_nothing() -> None:
    """An empty snapshot is a valid scrape."""
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(Snapshot))

    assert generate_latest(registry) == b""


def test_scrapes_beside_passes_each_see_one_whole_pass() -> None:
    """No scrape mixes two snapshots."""
    current = [Snapshot(families=())]
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(lambda: current[0]))

    def scrape(_: int) -> set[str]:
        text = generate_latest(registry).decode()
        return {line.split()[1] for line in text.splitlines() if line.startswith(("a_bytes", "b_bytes"))}

    with ThreadPoolExecutor(16) as pool:
        scrapes = [pool.submit(scrape, n) for n in range(200)]
        for n in range(200):
            current[0] = Snapshot(families=(single("a_bytes", "Help.", n), single("b_bytes", "Help.", n)))

    assert {True} == {len(done.result()) <= 1 for done in scrapes}
