"""Named places between two actions, so that a test can stop, fail or kill the process exactly there.

In production `reach` is one comparison. The names are listed in STEPS; a crash test takes its kill points from
that list, and reaching a name that is not on it is an error in tests.
"""

from __future__ import annotations

from collections.abc import Callable

STEPS = (
    "seal.opened",
    "copy.created",
    "copy.member",
    "copy.written",
    "copy.synced",
    "verify.member",
    "verify.done",
    "publish.renamed",
    "publish.synced",
    "release.compared",
    "release.punched",
    "release.done",
    "reset.leased",
    "reset.sealed",
    "reset.hinted",
    "reset.punched",
    "reset.truncated",
    "reset.dropped",
    "capture.written",
    "capture.synced",
    "capture.named",
    "merge.written",
    "merge.synced",
    "merge.renamed",
    "merge.named",
    "merge.removed",
    "recover.adopted",
    "tomb.renamed",
    "tomb.drained",
    "tomb.removed",
    "retain.synced",
    "retain.marked",
    "retain.removed",
    "state.written",
    "state.synced",
    "state.renamed",
    "ship.begun",
    "ship.sending",
    "ship.answered",
    "ship.buried",
    "ship.settled",
    "ballast.dropped",
    "ballast.made",
)

_hook: Callable[[str], None] | None = None


def reach(name: str) -> None:
    """Say that the place `name` is reached."""
    if _hook is not None:
        _hook(name)


def watch(hook: Callable[[str], None] | None) -> None:
    """Call `hook` with the name of each place reached from now on; None ends it."""
    global _hook  # noqa: PLW0603 - one process has one set of places; a test owns it for its duration
    _hook = hook
