"""Memory and swap of the whole machine, from /proc/meminfo and /proc/vmstat (proc(5))."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import NamedTuple

from agent.system import files
from agent.system.family import Column, Family, single, table
from agent.system.reading import Reading, Scope

_PAGE = os.sysconf("SC_PAGE_SIZE")
_PARENTHESES = re.compile(r"\((.*)\)")


class Entry(NamedTuple):
    """One line of meminfo: bytes, or pages where the kernel gives no unit (huge pages)."""

    value: float
    bytes: bool


Meminfo = dict[str, Entry]


class MemoryCollector:
    """Memory, swap, paging and the kernel's out-of-memory kills."""

    name = "memory"
    scope: Scope = "host"

    def __init__(self, procfs: str, *, node_names: bool = False) -> None:
        self._procfs = procfs
        self._node_names = node_names

    def collect(self) -> Reading:
        """Read meminfo, and vmstat where there is one; ReadingError where meminfo cannot be read."""
        path = f"{self._procfs}/meminfo"
        info = files.load(path, parse)
        events = files.read_keyed(f"{self._procfs}/vmstat")
        families = table(_OWN, [((), info)]) + table(_PAGING, [((), events)])
        return Reading(path, families + (node_families(info) if self._node_names else ()))


def parse(text: str) -> Meminfo:
    """Parse /proc/meminfo; ValueError without the total."""
    info = {}
    for line in text.splitlines():
        key, _, rest = line.partition(":")
        number, _, unit = rest.strip().partition(" ")
        info[key] = Entry(float(int(number)) * (1024 if unit == "kB" else 1), unit == "kB")
    if "MemTotal" not in info:
        raise ValueError("no MemTotal")
    return info


def available(info: Meminfo) -> float:
    """Bytes that programs can still get without swapping; kernels before 3.14 leave the estimate to us."""
    if "MemAvailable" in info:
        return info["MemAvailable"].value
    return sum(info[key].value for key in ("MemFree", "Buffers", "Cached") if key in info)


def _entry(key: str) -> Callable[[Meminfo], float | None]:
    return lambda info: info[key].value if key in info else None


def _swap_used(info: Meminfo) -> float | None:
    if "SwapTotal" not in info or "SwapFree" not in info:
        return None
    return info["SwapTotal"].value - info["SwapFree"].value


def _event(key: str, unit: float = 1) -> Callable[[dict[str, float]], float | None]:
    return lambda events: events[key] * unit if key in events else None


_OWN: tuple[Column[Meminfo], ...] = (
    Column("system_memory_size_bytes", "Memory that the kernel manages.", _entry("MemTotal")),
    Column(
        "system_memory_usage_bytes",
        "Memory that programs cannot get without swapping: size less available.",
        lambda info: info["MemTotal"].value - available(info),
    ),
    Column("system_memory_available_bytes", "Memory that programs can still get without swapping.", available),
    Column("system_memory_free_bytes", "Memory that is used for nothing, not even as cache.", _entry("MemFree")),
    Column("system_memory_cached_bytes", "Page cache, without buffers.", _entry("Cached")),
    Column("system_swap_size_bytes", "Swap space.", _entry("SwapTotal")),
    Column("system_swap_usage_bytes", "Swap space in use.", _swap_used),
)
_PAGING: tuple[Column[dict[str, float]], ...] = (
    Column("system_swap_in_bytes_total", "Read back from swap since boot.", _event("pswpin", _PAGE)),
    Column("system_swap_out_bytes_total", "Written to swap since boot.", _event("pswpout", _PAGE)),
    Column("system_major_page_faults_total", "Page faults that had to wait for a disk.", _event("pgmajfault")),
    Column("system_oom_kills_total", "Processes that the kernel killed for want of memory.", _event("oom_kill")),
)


def node_families(info: Meminfo) -> tuple[Family, ...]:
    """What node_exporter calls these numbers: every line of meminfo, `Active(anon)` as Active_anon."""
    return tuple(
        single(
            f"node_memory_{_PARENTHESES.sub(_underscore, key)}{'_bytes' if entry.bytes else ''}",
            f"Memory information field {key}.",
            entry.value,
        )
        for key, entry in info.items()
    )


def _underscore(match: re.Match[str]) -> str:
    return f"_{match[1]}"
