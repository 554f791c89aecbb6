"""Passes over all collectors."""

import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.kit.quarantine import Answer
from agent.system.family import single
from agent.system.reading import Reading, Scope
from agent.system.registry import Registry, Settings, collectors, report
from agent.system.snapshot import Report, Snapshot
from tests.support.clock import ManualClock
from tests.unit.system.conftest import settings_of, statvfs_of

CLASSICS = {
    "system_cpu_usage_percent": (),
    "system_memory_usage_bytes": (),
    "system_memory_available_bytes": (),
    "system_disk_usage_bytes": ("mountpoint",),
    "system_disk_available_bytes": ("mountpoint",),
    "system_network_bytes_sent_total": ("device",),
    "system_network_bytes_received_total": ("device",),
}


class Fake:
    """A collector that does what a test says."""

    scope: Scope = "host"

    def __init__(self, name: str, act: Callable[[], object] = lambda: None) -> None:
        self.name = name
        self.act = act

    def collect(self) -> Reading:
        """Act, then give one family."""
        self.act()
        return Reading(f"source of {self.name}", (single(f"{self.name}_bytes", "Help.", 7),))


def broken() -> None:
    """Raise what no collector should."""
    raise RuntimeError("out of order")


def a_pass(root: Path, hands: ManualClock, *, node: bool = False) -> Snapshot:
    """The snapshot of a tree."""
    settings = settings_of(root, node_exporter_names=node)
    return Registry(collectors(settings, hands, lambda _: statvfs_of()), hands, settings.timeout).step()


def test_a_failing_collector_takes_nothing_from_the_others(hands: ManualClock) -> None:
    """It is marked, with its error; its old numbers are not shown as new."""
    fake = Fake("a")
    registry = Registry([fake, Fake("b")], hands, 5)

    first = registry.step()
    fake.act = broken
    second = registry.step()

    assert first.value("a_bytes") == 7.0
    assert second.value("a_bytes") is None
    assert second.value("b_bytes") == 7.0
    assert tuple(second.value("telemetry_agent_collector_success", name) for name in "ab") == (0.0, 1.0)
    assert second.sources()["a"]["error"] == "out of order"


def test_a_hung_collector_is_marked_and_the_pass_ends(hands: ManualClock) -> None:
    """The others' numbers are there."""
    gate = threading.Event()
    registry = Registry([Fake("a", gate.wait), Fake("b")], hands, 0.05)
    try:
        found = registry.step()

        assert found.value("telemetry_agent_collector_success", "a") == 0.0
        assert "does not answer" in found.sources()["a"]["error"]
        assert found.value("b_bytes") == 7.0
    finally:
        gate.set()


def test_only_changes_are_told(hands: ManualClock) -> None:
    """A log line when it breaks and one when it works again, not one a pass."""
    told: list[tuple[str, bool]] = []
    fake = Fake("a", broken)
    registry = Registry([fake, Fake("b")], hands, 5, lambda one: told.append((one.name, one.ok)))

    registry.step()
    registry.step()
    fake.act = lambda: None
    registry.step()
    registry.step()

    assert told == [("a", False), ("a", True)]


def test_a_reading_with_a_problem_succeeds_and_tells_it() -> None:
    """One unreachable file system does not fail the collector."""
    found = report(Fake("a"), Answer(0.5, Reading("x", (), "/mnt: does not answer")))

    assert Report(name="a", scope="host", ok=True, seconds=0.5, source="x", error="/mnt: does not answer") == found


def test_a_snapshot_is_replaced_and_never_changed(hands: ManualClock) -> None:
    """A scrape that is under way keeps the pass it began with."""
    registry = Registry([Fake("a")], hands, 5)
    before = registry.snapshot

    first = registry.step()
    hands.wall += 10
    second = registry.step()

    assert before == Snapshot()
    assert (first.at, second.at) == (1_700_000_000.0, 1_700_000_010.0)
    assert registry.snapshot is second


@pytest.mark.parametrize("name", ["v1", "v2", "plain"])
def test_the_classic_names_are_there_from_the_first_pass(
    name: str, tree: Callable[[str], Path], hands: ManualClock
) -> None:
    """Exactly these names and labels; other programs rely on them."""
    found = {family.name: family.labels for family in a_pass(tree(name), hands).families}

    assert {key: found.get(key) for key in CLASSICS} == CLASSICS


def test_names_follow_the_conventions(tree: Callable[[str], Path], hands: ManualClock) -> None:
    """Snake case (node_memory apart), help for each, `_total` on counters alone, no label that a target has."""
    families = a_pass(tree("v2"), hands, node=True).families

    for family in families:
        assert re.fullmatch(r"(system|container|node|telemetry_agent)_\w+", family.name)
        assert not family.name.endswith(("_count", "_sum", "_bucket", "_info"))
        assert family.help.endswith(".")
        assert ("counter" if family.name.endswith("_total") else "gauge") == family.kind
        assert set(family.labels) <= {"mode", "cpu", "device", "mountpoint", "fstype", "collector"}
    assert len(families) == len({family.name for family in families})


def test_node_names_are_only_given_when_asked_for(tree: Callable[[str], Path], hands: ManualClock) -> None:
    """They belong to node_exporter."""
    root = tree("v2")

    assert [family.name for family in a_pass(root, hands).families if family.name.startswith("node_")] == []
    assert [family.name for family in a_pass(root, hands, node=True).families if family.name.startswith("node_")] != []


def test_the_default_number_of_series_is_modest(tree: Callable[[str], Path], hands: ManualClock) -> None:
    """Two disks, three interfaces, four file systems, a container with pressure."""
    families = a_pass(tree("v2"), hands).families

    assert sum(len(family.samples) for family in families) < 140


def test_this_machine_can_be_read(hands: ManualClock) -> None:
    """The defaults work where the tests run."""
    settings = Settings()

    found = Registry(collectors(settings, hands), hands, settings.timeout).step()

    assert [one.error for one in found.reports if not one.ok] == []
    assert set(CLASSICS) <= {family.name for family in found.families}


def test_a_wrong_procfs_fails_what_needs_it_with_the_remedy(tmp_path: Path, hands: ManualClock) -> None:
    """The agent goes on; the operator learns which key to look at."""
    settings = Settings(procfs=str(tmp_path))

    found = Registry(collectors(settings, hands), hands, settings.timeout).step()

    assert "[system] procfs" in found.sources()["cpu"]["error"]
    assert [one.ok for one in found.reports] == [False] * 6 + [True, False]
