"""The state of each part of the running agent: since when, last success, what is wrong, what to do."""

from __future__ import annotations

import threading
from typing import Literal

import msgspec

from agent.kit.clock import Clock

State = Literal["starting", "ok", "degraded", "failed", "stopping", "stopped"]


class Component(msgspec.Struct, frozen=True):
    """One part, as it is now. Times are seconds since 1970 UTC."""

    name: str
    state: State
    since: float
    last_success: float | None = None
    message: str = ""
    hint: str = ""


class Components:
    """The register of parts. Any thread may report and read."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._parts: dict[str, Component] = {}

    def report(self, name: str, state: State, message: str = "", hint: str = "") -> bool:
        """Set a part's state; True when the state or message differs from before."""
        now = self._clock.now()
        with self._lock:
            old = self._parts.get(name)
            changed = old is None or (old.state, old.message) != (state, message)
            since = now if old is None or old.state != state else old.since
            success = now if state == "ok" else (old.last_success if old else None)
            self._parts[name] = Component(name, state, since, success, message, hint)
        return changed

    def succeeded(self, name: str) -> None:
        """Note a success without changing the state."""
        with self._lock:
            old = self._parts.get(name)
            if old:
                self._parts[name] = msgspec.structs.replace(old, last_success=self._clock.now())

    def all(self) -> list[Component]:
        """Every part, by name."""
        with self._lock:
            return sorted(self._parts.values(), key=lambda part: part.name)
