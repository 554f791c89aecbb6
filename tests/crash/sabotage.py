"""Agents that are broken on purpose, so that the harness is seen to notice.

Where it takes a writer's bytes to do harm, the broken agent waits for them: no load on the machine spares a record.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from agent.kit import disk
from agent.kit.disk import Directory
from agent.streams import load
from agent.streams.candidate import Draft
from agent.streams.seal import Sealer
from agent.streams.segment import Segment

PATIENCE = 30.0
"""Seconds to wait for the writer."""
_FEW = 8192
"""Bytes of many records."""


def _wait_for(size: Callable[[], int], wanted: int) -> None:
    """Wait until the live file has that size. RuntimeError when nobody writes."""
    until = time.monotonic() + PATIENCE
    while size() < wanted:
        if time.monotonic() > until:
            raise RuntimeError("nobody writes, so nothing can be broken")
        time.sleep(0.001)


def _nothing(*_: object) -> None:
    """Stands for what is left undone."""


def _punch() -> None:
    """Punch farther than was compared: also what came since, which nobody can have sealed."""
    real = disk.punch

    def farther(fd: int, start: int, _: int) -> None:
        def size() -> int:
            return os.fstat(fd).st_size

        _wait_for(size, size() + _FEW)
        real(fd, start, size())

    disk.punch = farther


def _forget() -> None:
    """Know nothing after a start of what is sealed."""
    load.restore = _nothing  # type: ignore[attr-defined]  # that is the sabotage


def _drop() -> None:
    """Move S over bytes that nobody sealed."""
    advance = Sealer._advance

    def too_far(self: Sealer, draft: Draft, held: Segment) -> None:
        advance(self, draft, held)
        _wait_for(draft.live.size, held.source.end + _FEW)
        if draft.stream.incarnation:
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
