"""The `node_*` families beside those of a real node_exporter on the same machine.

The peer is asked between two passes of ours, so a counter of its must lie between our two: no tolerance is needed but
that of rounding. It is Debian's package, 1.5; what newer ones add is listed.
"""

import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.kit.clock import SystemClock
from agent.system.registry import Registry, Settings, collectors

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]

PROGRAM = shutil.which("prometheus-node-exporter") or shutil.which("node_exporter")
NEWER = {
    "node_pressure_irq_stalled_seconds_total",
    "node_disk_flush_requests_total",
    "node_disk_flush_requests_time_seconds_total",
}
"""Not in every version, or only on newer kernels."""
COLLECTORS = ("cpu", "meminfo", "filesystem", "diskstats", "netdev", "loadavg", "stat", "pressure", "filefd")
UPSTREAM = {
    "filesystem.mount-points-exclude": "^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+"
    "|var/lib/containers/storage/.+)($|/)",
    "netdev.device-exclude": "^$",
    "diskstats.device-exclude": r"^(ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$",
}
"""What is left out by default; Debian's package leaves out more."""
STEADY = ("_size_bytes", "_files", "MemTotal_bytes", "SwapTotal_bytes", "boot_time_seconds", "_readonly", "_error")

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(PROGRAM is None, reason="needs node_exporter: apt-get install prometheus-node-exporter"),
]


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def peer() -> Iterator[str]:
    """A running node_exporter with the collectors that have a counterpart here; its address."""
    port = free_port()
    wanted = [f"--collector.{name}" for name in COLLECTORS]
    left_out = [f"--collector.{key}={pattern}" for key, pattern in UPSTREAM.items()]
    address = f"--web.listen-address=127.0.0.1:{port}"
    command = [str(PROGRAM), address, "--collector.disable-defaults", *wanted, *left_out]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}/metrics"
    finally:
        process.terminate()
        process.wait()


def theirs(address: str) -> Values:
    """One scrape of the peer."""
    with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310 - an address of the loopback interface
        text = answer.read().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("node_")
    }


def ours(registry: Registry) -> Values:
    """One pass."""
    return {
        (family.name, frozenset(zip(family.labels, labels, strict=True))): value
        for family in registry.step().families
        for labels, value in family.samples
        if family.name.startswith("node_")
    }


def test_the_node_families_are_those_of_node_exporter(peer: str) -> None:
    """Same names, same labels, same values."""
    clock = SystemClock()
    registry = Registry(collectors(Settings(node_exporter_names=True), clock), clock, 5.0)
    theirs(peer)  # its first scrape is a slow one

    before, between, after = ours(registry), theirs(peer), ours(registry)

    mine = {key for key in before if key[0] not in NEWER}
    assert {key for key in mine - between.keys() if key in after} == set()
    wrong = {
        key: (before[key], between[key], after[key])
        for key in mine & between.keys() & after.keys()
        if not agrees(key[0], before[key], between[key], after[key])
    }
    assert wrong == {}
    assert len(mine & between.keys()) > 100


def agrees(name: str, before: float, between: float, after: float) -> bool:
    """Whether the peer's value fits between ours."""
    if name.endswith("_total"):
        # Idle time is extrapolated by the kernel for each reader, hence a few ticks of slack for CPU time.
        slack = 0.05 if "cpu" in name else 1e-6 * before
        return before - slack <= between <= after + slack
    if name.endswith(STEADY):
        return before == between == after
    # What moves up and down between the looks: within a tenth, or a few MiB, processes, requests.
    slack = max(0.1 * abs(before), 64 * 1024 * 1024 if name.endswith("_bytes") else 20)
    return abs(between - before) <= slack


def test_every_family_of_the_peer_has_a_counterpart(peer: str) -> None:
    """What is missing is listed here, with its reason."""
    clock = SystemClock()
    registry = Registry(collectors(Settings(node_exporter_names=True), clock), clock, 5.0)

    missing = {name for name, _ in theirs(peer)} - {name for name, _ in ours(registry)}

    assert missing <= {
        "node_scrape_collector_duration_seconds",  # ours is telemetry_agent_collector_duration_seconds
        "node_scrape_collector_success",
        "node_exporter_build_info",
        "node_disk_info",  # from udev's database
        "node_disk_device_mapper_info",
        "node_disk_filesystem_info",
        "node_intr_total",  # one number of a line of thousands
        "node_network_receive_nohandler_total",  # by netlink alone
        "node_cpu_info",
    }
