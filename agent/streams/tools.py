"""What every step of the engine is handed: time, the trail, the counters, and a place to breathe."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from agent.audit import Audit
from agent.kit.clock import Clock
from agent.metrics import Metrics
from agent.streams.catalog import Stream
from agent.streams.hints import Hint, Hints
from agent.streams.trouble import Trouble


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
    forgetful: Trouble = field(
        default_factory=lambda: Trouble(
            "where streams stand cannot be noted; a start would compare more, and might count a loss too low",
            "where streams stand is noted again",
        )
    )
    reading: bool = False
    """Nothing on disk may be changed."""

    def lost(self, stream: Stream, reason: str, count: int, **details: object) -> None:
        """Count and tell of bytes that are gone though nobody decided so; `count` is a lower bound."""
        stream.lost += count
        self.metrics.lost_bytes.labels(reason).inc(count)
        self.audit.write("loss", stream=stream.name, reason=reason, bytes=count, **details)

    def remember(self, stream: Stream, *, resetting: bool = False) -> None:
        """Note where a stream stands. A disk that takes nothing is no reason to stop."""
        try:
            self.hints.note(self._hint(stream, resetting=resetting))
        except OSError as error:
            self.forgetful.begins(self.audit, error)

    def remember_owed(self, streams: Iterable[Stream]) -> None:
        """Note what the disk did not take, as it is now; the first that it does not take again is the last tried."""
        for stream in streams:
            if stream.id in self.hints.owed:
                self.remember(stream)
                if stream.id in self.hints.owed:
                    return
        self.forgetful.ends(self.audit)

    def _hint(self, stream: Stream, *, resetting: bool) -> Hint:
        life = stream.incarnation
        return Hint(
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
            settled=not (stream.pending or (life and life.spared)),
            since=stream.facts.since_wall,
            resetting=resetting or (life is not None and life.guard_may_be_gone),
            changed=stream.facts.changed,
        )
