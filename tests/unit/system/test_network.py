"""Network traffic."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.system import network
from agent.system.files import ReadingError
from agent.system.network import NetworkCollector, parse

HEAD = "Inter-| Receive\n face |bytes\n"
NUMBERS = " ".join(map(str, range(16)))


def test_a_name_may_touch_its_first_number_and_contain_colons() -> None:
    """Old aliases are called eth0:1, and old kernels print no blank behind the colon."""
    found = parse(f"{HEAD}eth0:1:{NUMBERS}\n  lo: {NUMBERS}\n")

    assert list(found) == ["eth0:1", "lo"]
    assert (found["lo"].received_bytes, found["lo"].sent_bytes) == (0.0, 8.0)


def test_own_families_leave_container_interfaces_out(tree: Callable[[str], Path]) -> None:
    """A host of containers has hundreds of veth; node names show what node_exporter shows."""
    reading = NetworkCollector(f"{tree('v2')}/proc", node_names=True).collect()
    found = {family.name: [labels[0] for labels, _ in family.samples] for family in reading.families}

    assert "vetha1" not in found["system_network_bytes_sent_total"]
    assert "vetha1" in found["node_network_transmit_bytes_total"]


def test_another_procfs_is_read_through_its_first_process(tmp_path: Path) -> None:
    """/proc/net is the reader's own namespace even below a mounted /host/proc."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "dev").write_text(f"{HEAD}own0: {NUMBERS}\n", "ascii")
    (tmp_path / "1" / "net").mkdir(parents=True)
    (tmp_path / "1" / "net" / "dev").write_text(f"{HEAD}host0: {NUMBERS}\n", "ascii")

    families = NetworkCollector(str(tmp_path)).collect().families

    assert {("host0",)} == {labels for family in families for labels, _ in family.samples}


def test_the_number_of_interfaces_shown_is_bounded(tmp_path: Path) -> None:
    """And what is left out is told."""
    (tmp_path / "1" / "net").mkdir(parents=True)
    lines = "".join(f"eth{n}: {NUMBERS}\n" for n in range(network.LIMIT + 2))
    (tmp_path / "1" / "net" / "dev").write_text(HEAD + lines, "ascii")

    reading = NetworkCollector(str(tmp_path)).collect()

    assert len(reading.families[0].samples) == network.LIMIT
    assert "2 more interfaces not shown" in reading.source


def test_another_number_of_columns_is_an_error(tmp_path: Path) -> None:
    """Rather than bytes read from the wrong column."""
    (tmp_path / "1" / "net").mkdir(parents=True)
    (tmp_path / "1" / "net" / "dev").write_text(f"{HEAD}eth0: 1 2 3\n", "ascii")

    with pytest.raises(ReadingError, match="3 numbers for eth0"):
        NetworkCollector(str(tmp_path)).collect()
