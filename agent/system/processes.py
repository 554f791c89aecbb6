"""What runs on the machine: load, processes, open files, boot time (proc(5): loadavg, stat, sys/fs/file-nr)."""

from __future__ import annotations

import os
from typing import NamedTuple

from agent.system import files, procstat
from agent.system.family import Column, table
from agent.system.procstat import Stat
from agent.system.reading import Reading, Scope


class Load(NamedTuple):
    """Runnable or uninterruptible tasks, averaged over 1, 5 and 15 minutes; and how many threads there are."""

    one: float
    five: float
    fifteen: float
    threads: float


class OpenFiles(NamedTuple):
    """File handles of the whole machine."""

    allocated: float
    maximum: float


class ProcessesCollector:
    """Load, processes and threads, open files, boot time."""

    name = "processes"
    scope: Scope = "host"

    def __init__(self, procfs: str, *, node_names: bool = False) -> None:
        self._procfs = procfs
        self._node_names = node_names

    def collect(self) -> Reading:
        """Read loadavg, stat and file-nr; ReadingError where one of them fails."""
        load = [((), files.load(f"{self._procfs}/loadavg", parse_load))]
        stat = [((), files.load(f"{self._procfs}/stat", procstat.parse))]
        handles = [((), files.load(f"{self._procfs}/sys/fs/file-nr", parse_open_files))]
        # Only numbers name processes in proc; a namespace or hidepid hides some, then this counts what is shown.
        processes = [((), float(sum(name.isdigit() for name in os.listdir(self._procfs))))]
        families = table(_LOAD, load) + table(_STAT, stat) + table(_FILES, handles) + table(_PROCESSES, processes)
        if self._node_names:
            families += table(_NODE_LOAD, load) + table(_NODE_STAT, stat) + table(_NODE_FILES, handles)
        return Reading(f"{self._procfs}/{{loadavg,stat,sys/fs/file-nr}}", families)


def parse_load(text: str) -> Load:
    """Parse /proc/loadavg: `0.20 0.18 0.12 1/80 11206`."""
    one, five, fifteen, tasks = text.split()[:4]
    return Load(float(one), float(five), float(fifteen), float(int(tasks.partition("/")[2])))


def parse_open_files(text: str) -> OpenFiles:
    """Parse /proc/sys/fs/file-nr: allocated, unused (always 0), maximum."""
    allocated, _, maximum = text.split()
    return OpenFiles(float(int(allocated)), float(int(maximum)))


_LOAD: tuple[Column[Load], ...] = (
    Column("system_load1", "Tasks that run or want to, averaged over 1 minute.", lambda load: load.one),
    Column("system_load5", "Tasks that run or want to, averaged over 5 minutes.", lambda load: load.five),
    Column("system_load15", "Tasks that run or want to, averaged over 15 minutes.", lambda load: load.fifteen),
    Column("system_threads", "Threads of all processes.", lambda load: load.threads),
)
_STAT: tuple[Column[Stat], ...] = (
    Column("system_boot_time_seconds", "When the machine booted, in seconds since 1970.", lambda stat: stat.boot_time),
    Column("system_processes_running", "Threads that run or wait for a CPU.", lambda stat: stat.running),
    Column("system_processes_blocked", "Processes that wait for a disk.", lambda stat: stat.blocked),
    Column("system_forks_total", "Processes and threads started since boot.", lambda stat: stat.forks),
    Column("system_context_switches_total", "Context switches since boot.", lambda stat: stat.context_switches),
)
_FILES: tuple[Column[OpenFiles], ...] = (
    Column("system_open_files", "File handles in use on the whole machine.", lambda handles: handles.allocated),
    Column("system_open_files_limit", "File handles that may be in use.", lambda handles: handles.maximum),
)
_PROCESSES: tuple[Column[float], ...] = (Column("system_processes", "Processes that procfs shows.", float),)

_NODE_LOAD: tuple[Column[Load], ...] = (
    Column("node_load1", "1m load average.", lambda load: load.one),
    Column("node_load5", "5m load average.", lambda load: load.five),
    Column("node_load15", "15m load average.", lambda load: load.fifteen),
)
_NODE_STAT: tuple[Column[Stat], ...] = (
    Column("node_boot_time_seconds", "Node boot time, in unixtime.", lambda stat: stat.boot_time),
    Column("node_procs_running", "Number of processes in runnable state.", lambda stat: stat.running),
    Column("node_procs_blocked", "Number of processes blocked waiting for I/O.", lambda stat: stat.blocked),
    Column("node_forks_total", "Total number of forks.", lambda stat: stat.forks),
    Column("node_context_switches_total", "Total number of context switches.", lambda stat: stat.context_switches),
)
_NODE_FILES: tuple[Column[OpenFiles], ...] = (
    Column("node_filefd_allocated", "File descriptors in use.", lambda handles: handles.allocated),
    Column("node_filefd_maximum", "File descriptors that may be in use.", lambda handles: handles.maximum),
)
