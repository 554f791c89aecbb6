"""The health checks, as they are shown."""

from __future__ import annotations

import msgspec


class CheckStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One check as it is now. Times are seconds since 1970 UTC, spans are seconds."""

    name: str
    kind: str
    state: str
    """`unknown`, `healthy`, `warning` or `unhealthy`; unknown also when the last result is too old."""
    level: int
    """The same as a number, 0 to 3."""
    since: float | None
    """When the state was reached."""
    message: str = ""
    hint: str = ""
    value: float | None = None
    """The number that was judged, where there is one."""
    last_run: float | None = None
    last_success: float | None = None
    """When it was last found healthy."""
    seconds: float = 0.0
    """How long the last run took."""
    interval: float = 0.0
    runs: int = 0
    failures: int = 0
    """Runs that found it unhealthy, or nothing out."""
    timeouts: int = 0
    transitions: int = 0
    """Changes of state, but for the first result."""
    hung: bool = False
    """Its last run has not come back."""
