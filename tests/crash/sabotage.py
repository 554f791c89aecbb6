"""Agents that are broken on purpose, so that the harness is seen to notice."""

from __future__ import annotations

from collections.abc import Callable

from agent.kit import disk
from agent.kit.disk import Directory
from agent.streams import load
from agent.streams.candidate import Draft
from agent.streams.seal import Sealer
from agent.streams.segment import Segment


def _nothing(*_: object) -> None:
    """Stands for what is left undone."""


def _punch() -> None:
    """Punch farther than was compared."""
    real = disk.punch
    disk.punch = lambda fd, start, end: real(fd, start, end + (64 << 10))


def _forget() -> None:
    """Know nothing after a start of what is sealed."""
    load.restore = _nothing  # type: ignore[attr-defined]  # that is the sabotage


def _drop() -> None:
    """Move S over bytes that nobody sealed."""
    advance = Sealer._advance

    def too_far(self: Sealer, draft: Draft, held: Segment) -> None:
        advance(self, draft, held)
        if draft.stream.incarnation and draft.live.size() > held.source.end + 400:
            draft.stream.incarnation.sealed += 400

    Sealer._advance = too_far  # type: ignore[method-assign]  # that is the sabotage


def _early() -> None:
    """Call durable what was never synced."""
    disk.sync_file = _nothing  # type: ignore[assignment]  # that is the sabotage
    Directory.sync = _nothing  # type: ignore[method-assign, assignment]  # that is the sabotage


HOW: dict[str, Callable[[], None]] = {"punch": _punch, "forget": _forget, "drop": _drop, "early": _early}


def commit(how: str) -> None:
    """Break the agent of this process for good; nothing where `how` is empty."""
    if how:
        HOW[how]()
