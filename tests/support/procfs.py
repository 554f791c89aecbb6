"""What the kernel says of a process: CPU time, memory."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time so far of all threads of `pid` and of its children that ended (proc(5))."""
    text = Path(f"/proc/{pid}/stat").read_text("utf-8")
    fields = text.rsplit(")", 1)[1].split()
    return sum(int(fields[i]) for i in (11, 12, 13, 14)) / _TICKS


def memory(pid: int, key: str) -> int:
    """`VmHWM` (peak) or `VmRSS` (now) of `pid`, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * 1024
    raise ValueError(f"no {key} in /proc/{pid}/status")
