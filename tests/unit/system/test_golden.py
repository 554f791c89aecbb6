"""The whole scrape over fixture trees, compared with golden files byte by byte.

After a wanted change: UPDATE_GOLDEN=1 pytest tests/unit/system/test_golden.py, then read the difference.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from agent.system.exposition import SnapshotCollector
from agent.system.registry import Registry, collectors
from tests.support.clock import ManualClock
from tests.unit.system.conftest import TREES, settings_of, statvfs_of


@pytest.mark.parametrize(
    ("name", "node"),
    [("v2", False), ("v2", True), ("v1", False), ("plain", False)],
    ids=["cgroup v2", "cgroup v2 with node names", "cgroup v1 without a memory limit", "no container, PSI off"],
)
def test_the_scrape_of_a_tree_is_the_golden_one(
    name: str, node: bool, tree: Callable[[str], Path], hands: ManualClock
) -> None:
    """Every family, label and value that a known machine gives."""
    root = tree(name)
    settings = settings_of(root, node_exporter_names=node)
    registry = Registry(collectors(settings, hands, lambda _: statvfs_of()), hands, settings.timeout)
    target = CollectorRegistry()
    target.register(SnapshotCollector(lambda: registry.snapshot))
    golden = TREES / f"{name}{'-node' if node else ''}.txt"

    registry.step()
    scrape = generate_latest(target).decode()

    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(scrape, "utf-8")
    assert golden.read_text("utf-8") == scrape
    assert [report.error for report in registry.snapshot.reports if not report.ok] == []
