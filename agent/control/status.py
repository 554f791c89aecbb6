"""The agent as a whole, as `status` shows it."""

from __future__ import annotations

from typing import Literal

import msgspec

from agent.components import Component
from agent.control.delivery import ForwardStatus
from agent.control.streams import DirectoryStatus, StreamStatus, WatcherStatus

MemoryState = Literal["unlimited", "normal", "tight", "paused"]


class Own(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent itself uses, and what it may use."""

    cpu_seconds: float
    """User and system time of all threads since the start."""
    resident_bytes: int
    memory_used: int
    """Memory that counts against the limit: page cache does not."""
    memory_limit: int
    """The limit that is nearest to being reached: of a control group, or `agent.memory_limit`; 0 is none."""
    memory_source: str
    """Which limit that is."""
    memory_state: MemoryState
    """`normal`; `tight`: batches are smaller and fewer; `paused`: nothing is read until memory is free."""
    memory_pauses: int
    """How often a consumer had to wait for memory."""
    granted_bytes: int
    """Memory that batches under way may still take."""
    cpu_limit: float | None
    """CPUs that the control group allows; null without a limit."""
    nice: int
    """Niceness asked for working threads; 0 is as the process."""
    ionice: str
    """I/O class asked for working threads; empty is as the process."""
    priority_problem: str = ""
    """Why that priority could not be set."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `status` shows."""

    version: str
    pid: int
    running: bool
    """False when the answer was computed by the command itself because no agent runs."""
    started: float
    now: float
    ready: bool
    config_path: str
    service_name: str
    environment: str
    watcher: WatcherStatus
    directory: DirectoryStatus
    streams: list[StreamStatus]
    components: list[Component] = []
    forwards: list[ForwardStatus] = []
    own: Own | None = None
    """Null where no agent runs."""
    lost_bytes: int = 0
    audit_unwritten: int = 0
