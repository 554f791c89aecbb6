"""Network traffic, from /proc/net/dev (proc(5)).

/proc/net is the reader's own network namespace. When the configured procfs is another mount (the host's, seen from
a container), the namespace of its process 1 is read instead, which is the host's. Own families leave out the many
interfaces that container networks make, and show at most LIMIT.
"""

from __future__ import annotations

import re
from operator import itemgetter
from typing import NamedTuple

from agent.system import files
from agent.system.family import Column, Family, table
from agent.system.reading import Reading, Scope

LIMIT = 16
_VIRTUAL = re.compile(
    r"(veth|cali|lxc|cilium|docker|br-|virbr|vnet|tap|ifb|dummy|tunl|ip6tnl|sit|gre|erspan|kube-|cni|flannel|nodelocaldns)"
    r".*"
)


class Device(NamedTuple):
    """One line of net/dev. `frame`, `colls` and `carrier` are kinds of errors that Ethernet hardware tells apart."""

    received_bytes: float
    received_packets: float
    receive_errors: float
    receive_drops: float
    receive_fifo: float
    receive_frame: float
    receive_compressed: float
    receive_multicast: float
    sent_bytes: float
    sent_packets: float
    send_errors: float
    send_drops: float
    send_fifo: float
    send_colls: float
    send_carrier: float
    send_compressed: float


class NetworkCollector:
    """Bytes, errors and drops an interface."""

    name = "network"
    scope: Scope = "host"

    def __init__(self, procfs: str, *, node_names: bool = False) -> None:
        self._path = f"{procfs}/net/dev" if procfs == "/proc" else f"{procfs}/1/net/dev"
        self._node_names = node_names

    def collect(self) -> Reading:
        """Read net/dev; ReadingError where that fails."""
        devices = files.load(self._path, parse)
        own = sorted(name for name in devices if not _VIRTUAL.fullmatch(name))
        families = table(_OWN, [((name,), devices[name]) for name in own[:LIMIT]], ("device",))
        left_out = f", {len(own) - LIMIT} more interfaces not shown" if len(own) > LIMIT else ""
        return Reading(self._path + left_out, families + (node_families(devices) if self._node_names else ()))


def parse(text: str) -> dict[str, Device]:
    """Parse net/dev: two lines of heads, then `name: 16 numbers`; ValueError for another number of them."""
    devices = {}
    for line in text.splitlines()[2:]:
        name, _, numbers = line.rpartition(":")
        fields = [float(int(number)) for number in numbers.split()]
        if len(fields) != len(Device._fields):
            raise ValueError(f"{len(fields)} numbers for {name.strip()}, not {len(Device._fields)}")
        devices[name.strip()] = Device(*fields)
    return devices


_OWN: tuple[Column[Device], ...] = (
    Column("system_network_bytes_sent_total", "Sent through the interface.", lambda device: device.sent_bytes),
    Column(
        "system_network_bytes_received_total", "Received through the interface.", lambda device: device.received_bytes
    ),
    Column("system_network_errors_sent_total", "Packets that could not be sent.", lambda device: device.send_errors),
    Column(
        "system_network_errors_received_total", "Packets that arrived damaged.", lambda device: device.receive_errors
    ),
    Column("system_network_drops_sent_total", "Packets dropped before sending.", lambda device: device.send_drops),
    Column(
        "system_network_drops_received_total", "Packets dropped after arrival.", lambda device: device.receive_drops
    ),
)
_NODE_NAMES = (
    *(f"receive_{what}" for what in ("bytes", "packets", "errs", "drop", "fifo", "frame", "compressed", "multicast")),
    *(f"transmit_{what}" for what in ("bytes", "packets", "errs", "drop", "fifo", "colls", "carrier", "compressed")),
)
"""node_exporter's words for the fields of Device, in their order."""


def node_families(devices: dict[str, Device]) -> tuple[Family, ...]:
    """What node_exporter calls these numbers, for every interface."""
    columns: list[Column[Device]] = [
        Column(f"node_network_{name}_total", f"Network device statistic {name}.", itemgetter(at))
        for at, name in enumerate(_NODE_NAMES)
    ]
    return table(columns, [((name,), device) for name, device in devices.items()], ("device",))
