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
from agent.streams.shelves import Cleared

_log = log.get("keeper")

RETAIN_SOON = 0.5
"""Seconds between two passes of retention while segments are being published."""

RETAIN_EVERY = 10.0
"""Seconds between two looks at ages and space."""

TELL_AGAIN = 300.0
"""Seconds until it is told once more that segments of a stream cannot be deleted."""


class Retainer:
    """When to look at ages and space, and what came of it."""

    def __init__(self, engine: Engine, components: Components) -> None:
        self._engine = engine
        self._components = components
        self._last = float("-inf")
        self._critical = False
        self._told: dict[str, float] = {}
        """Monotonic time at which was told that segments of a stream cannot be deleted."""
        self.next = 0.0
        """Monotonic time of the next pass."""
        self.usage: DirectoryStatus | None = None
        """The directory after the newest pass."""

    def published(self, now: float) -> None:
        """Segments came: the next pass is soon."""
        self.next = min(self.next, max(now, self._last + RETAIN_SOON))

    def retain(self, now: float, coming: int = 0) -> list[Stream]:
        """One pass; the streams of which something went, or should have.

        No segment goes for the sake of the `coming` bytes, which sealing gives back in the next moments.
        """
        self.next, self._last = now + RETAIN_EVERY, now
        usage = report.directory(self._engine)
        items = self._engine.shelves.surplus(usage.total_bytes - coming)
        if not self._engine.survey.swept:
            items = []  # a stream that was not looked at yet only seems to be gone
        if items:
            cleared = self._engine.shelves.clear(items)
            usage = report.directory(self._engine)
            self._tell(now, cleared)
        self._engine.shelves.tidy()
        self._tell_critical(usage)
        self.usage = usage
        return [stream for stream, _ in items]

    def _tell(self, now: float, cleared: list[Cleared]) -> None:
        """What went, and now and then what did not."""
        self._told = {name: at for name, at in self._told.items() if now - at < TELL_AGAIN}
        failures: dict[str, list[Cleared]] = {}
        for one in cleared:
            if one.error is None:
                _log.info("retired", stream=one.stream.name, segment=one.item.segment.name, reason=one.item.reason)
            elif one.stream.name not in self._told and not isinstance(one.error, BlockingIOError):
                failures.setdefault(one.stream.name, []).append(one)
        for name, failed in failures.items():
            self._told[name] = now
            _log.error(
                "segments cannot be deleted", stream=name, segment=failed[0].item.segment.name, count=len(failed),
                error=failed[0].error,
            )  # fmt: skip

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
