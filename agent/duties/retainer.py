"""Retention in its turn: what the rules say goes, and who looks hears when the directory stays too large.

Decided by `agent.streams.plan` over the engine's segments. Any thread but the engine's keeps its hands off.
"""

from __future__ import annotations

from agent.components import Components, State
from agent.control import DirectoryStatus
from agent.kit import log
from agent.streams import report
from agent.streams.catalog import Stream
from agent.streams.engine import Engine

_log = log.get("keeper")

RETAIN_SOON = 0.5
"""Seconds between two passes of retention while segments are being published."""

RETAIN_EVERY = 10.0
"""Seconds between two looks at ages and space."""


class Retainer:
    """When to look at ages and space, and what came of it."""

    def __init__(self, engine: Engine, components: Components) -> None:
        self._engine = engine
        self._components = components
        self._last = float("-inf")
        self._critical = False
        self.next = 0.0
        """Monotonic time of the next pass."""
        self.usage: DirectoryStatus | None = None
        """The directory after the newest pass."""

    def published(self, now: float) -> None:
        """Segments came: the next pass is soon."""
        self.next = min(self.next, max(now, self._last + RETAIN_SOON))

    def retain(self, now: float, coming: int = 0) -> list[Stream]:
        """One pass; the streams of which something went.

        No segment goes for the sake of the `coming` bytes, which sealing gives back in the next moments.
        """
        self.next, self._last = now + RETAIN_EVERY, now
        usage = report.directory(self._engine)
        items = self._engine.shelves.surplus(usage.total_bytes - coming)
        if not self._engine.survey.swept:
            items = []  # a stream that was not looked at yet only seems to be gone
        if items:
            self._engine.shelves.clear(items)
            usage = report.directory(self._engine)
            for stream, item in items:
                _log.info("retired", stream=stream.name, segment=item.segment.name, reason=item.reason)
        self._tell_critical(usage)
        self.usage = usage
        return [stream for stream, _ in items]

    def _tell_critical(self, usage: DirectoryStatus) -> None:
        if usage.critical != self._critical:
            self._critical = usage.critical
            text = "; ".join(usage.problems) or "the directory is below its critical size again"
            (_log.error if usage.critical else _log.info)("directory size", total=usage.total_bytes, why=text)
            self._engine.audit.write("error" if usage.critical else "recovered", reason="critical_total", why=text)
        state: State = "degraded" if usage.critical else "ok"
        hint = (
            "lower the limits in [rotation] and [retention], or give the directory more room" if usage.critical else ""
        )
        self._components.report("directory", state, usage.problems[0] if usage.critical else "", hint)
