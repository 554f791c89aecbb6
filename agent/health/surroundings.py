"""What checks may look at beside the machine: the agent itself, as values and questions that never wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent.components import Components
from agent.control import Status
from agent.kit.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Handed to every check; any thread may use it."""

    clock: Clock
    directory: str
    """The watched directory."""
    status: Callable[[], Status]
    """The newest snapshot. Raises AgentError while there is none."""
    components: Components
    heartbeat: Callable[[], float]
    """Monotonic time at which the main loop last came round."""
    procfs: str = "/proc"
