"""A stream's life at a start: what its newest segment says, and what can be believed of a hint that says more."""

from __future__ import annotations

from base64 import b64decode
from contextlib import suppress
from functools import partial

from agent.kit.errors import CorruptError, RefusedError
from agent.streams import segment
from agent.streams.catalog import Stream
from agent.streams.hints import Hint
from agent.streams.incarnation import Incarnation
from agent.streams.live import Live
from agent.streams.position import Identity
from agent.streams.segment import Segment


def restore(stream: Stream, hint: Hint | None, boot: str) -> None:
    """Set the stream's life from its newest segment and the hint, and what has to be released once more."""
    life = _from_segments(stream, hint, boot)
    if hint and life and _doubtful(life, hint, boot) and not _nothing_left(stream, life):
        # What the hint tells may not have reached the medium: the file itself is asked whether that life began.
        life.skipped += hint.base - life.position
        life.base += hint.base - life.position
    elif hint and (_newer(life, hint, boot) if life else hint.inode or hint.base):
        life = Incarnation(
            Identity(hint.inode, hint.birth), base=hint.base, sealed=hint.sealed, largest=hint.largest,
            hollow=hint.hollow, released=min(hint.released, hint.sealed) if hint.boot == boot else 0,
        )  # fmt: skip
    stream.incarnation = life
    if life is None:
        return
    if hint:
        stream.facts.since_wall, stream.facts.changed = hint.since, hint.changed
    if not life.clean:
        stream.pending = tuple(stream.mine())


def _from_segments(stream: Stream, hint: Hint | None, boot: str) -> Incarnation | None:
    if not stream.segments:
        return None
    newest = stream.segments[-1]
    life = Incarnation(newest.identity, newest.base, newest.source.end, largest=newest.source.end, clean=False)
    if hint and (hint.inode, hint.sealed) == (newest.identity.inode, life.sealed) and hint.base > life.base:
        # The writer cut off bytes above S: their positions stay used.
        life.skipped = hint.base - life.base
        life.base = hint.base
    same = hint is not None and hint.inode == newest.identity.inode and hint.base == life.base
    if hint and same:
        life.largest = max(life.largest, hint.largest)
    # Without a word from this boot, power may have been lost, and with it the guard's last writes.
    life.guard_may_be_gone = hint is None or not same or hint.resetting or hint.boot != boot
    if newest.marker:
        life.guard = b64decode(newest.guard) if newest.guard else b""
    else:
        life.find_guard = partial(_guard, stream)
    if hint and same and hint.boot == boot != "" and not hint.resetting:
        life.released = min(hint.released, life.sealed)
        life.clean = hint.settled and hint.sealed == life.sealed
    return life


def _guard(stream: Stream, live: Live) -> bytes:
    """The bytes of [floor(S), S), which depend on the live file's block size.

    The segments are those of now: an open part may have been published since the start.
    """
    *others, newest = stream.segments
    wanted = newest.source.end - live.floor(newest.source.end)
    before = others[-1] if others else None
    try:
        found = segment.tail(newest, wanted)
        if len(found) < wanted and before and _continues(before, newest):
            found = (segment.tail(before, wanted) + found)[-wanted:]
    except (OSError, CorruptError):
        return b""  # a damaged segment gives none; `verify` tells of the damage
    return found


def _newer(life: Incarnation, hint: Hint, boot: str) -> bool:
    """True when the hint speaks of a life that began after the newest segment, or of what came behind that one.

    Whoever removed the segments in between: S stays where it was, or what is left of the guard would be sealed again.
    """
    if hint.sealed and hint.base == life.base:
        return hint.sealed > life.sealed and hint.inode == life.identity.inode
    if hint.sealed and hint.boot != boot:
        return False
    return hint.base + hint.sealed >= life.position and not hint.resetting


def _doubtful(life: Incarnation, hint: Hint, boot: str) -> bool:
    """True when the newest segment's file is said to have begun anew, and power may have been lost since."""
    same_file = hint.inode == life.identity.inode and hint.boot != boot
    return same_file and hint.sealed == 0 and hint.base >= life.position and not hint.resetting


def _continues(before: Segment, after: Segment) -> bool:
    """True when `after` begins in the same file where `before` ends."""
    return before.base == after.base and before.source.end == after.source.start


def _nothing_left(stream: Stream, life: Incarnation) -> bool:
    """True when the file below S is one hole: whatever its writer goes on with, it is another life that does."""
    with suppress(OSError, RefusedError), Live.open(stream.place.home, stream.leaf) as live:
        first = live.first_byte(0)
        return life.identity.same_file(live.identity) and (first is None or first >= life.sealed)
    return False
