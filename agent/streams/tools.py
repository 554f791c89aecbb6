"""What every step of the engine is handed: time, the trail, the counters, and a place to breathe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent.audit import Audit
from agent.kit.clock import Clock
from agent.metrics import Metrics
from agent.streams.catalog import Stream
from agent.streams.hints import Hint, Hints


@dataclass(frozen=True, slots=True)
class Tools:
    """Passed to whoever acts on streams."""

    clock: Clock
    audit: Audit
    metrics: Metrics
    hints: Hints
    boot: str
    breathe: Callable[[], None]
    """Called between bounded pieces of work; raises StoppingError when the agent has to leave."""
    changed: Callable[[Stream], None]
    """Called as soon as a stream's positions moved: before anything is punched or truncated, so that a reader in
    another thread, which looks at the newest view after each read, never takes a hole for data."""

    def lost(self, stream: Stream, reason: str, count: int, **details: object) -> None:
        """Count and tell of bytes that are gone though nobody decided so; `count` is a lower bound."""
        stream.lost += count
        self.metrics.lost_bytes.labels(reason).inc(count)
        self.audit.write("loss", stream=stream.name, reason=reason, bytes=count, **details)

    def remember(self, stream: Stream, *, resetting: bool = False) -> None:
        """Note where a stream stands."""
        life = stream.incarnation
        self.hints.note(
            Hint(
                stream=stream.name,
                id=stream.id,
                inode=life.identity.inode if life else 0,
                birth=life.identity.birth if life else None,
                base=life.base if life else stream.end,
                sealed=life.sealed if life else 0,
                largest=life.largest if life else 0,
                hollow=life.hollow if life else 0,
                released=life.released if life and life.clean else 0,
                boot=self.boot if life and life.clean else "",
                settled=not stream.pending,
                since=stream.facts.since_wall,
                resetting=resetting or (life is not None and life.guard_may_be_gone),
                changed=stream.facts.changed,
            )
        )
