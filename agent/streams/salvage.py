"""What lies in an open part behind its last sound member, and what of the stream is lost with it.

A kill leaves the beginning of a member there: S never moved over it, so the live file has every byte of it. Damage
looks much alike; but where S had moved, the live file has a hole in that place, and the part was the only copy.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from agent.kit.errors import AgentError
from agent.streams import index as indexes
from agent.streams import member as members
from agent.streams import names
from agent.streams.catalog import Stream
from agent.streams.hints import Hint
from agent.streams.incarnation import equal_or_nul
from agent.streams.live import GUARD, Live
from agent.streams.member import Member
from agent.streams.part import content, walk
from agent.streams.position import Identity
from agent.streams.recognise import find_inode

_MAGIC = b"\x1f\x8b\x08\x04"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Rest:
    """What follows the sound members."""

    size: int
    torn: bool
    """True when it is what a kill or a power cut leaves: nothing, the beginning of a member, an index, or NULs."""
    begun: Member | None
    """The member that is begun in it, by its header: the live file had its bytes."""
    last: Member | None
    """The last whole member in it, by its header."""


@dataclass(frozen=True, slots=True)
class Gone:
    """Physical bytes of one life that were in the part alone; none where that is only not to be ruled out."""

    identity: Identity
    base: int
    start: int
    end: int


NOTHING = Gone(Identity(0, None), 0, 0, 0)


def rest(fd: int, offset: int, size: int) -> Rest:
    """What lies in a part from `offset` on, where its sound members end."""
    last = next(iter(deque(_whole(fd, offset, size), maxlen=1)), None)
    head = os.pread(fd, members.HEADER_SIZE, offset)
    begun = members.decode_header(head, offset)
    cut = begun is not None or (len(head) < members.HEADER_SIZE and members.begins(head))
    torn = last is None and (cut or indexes.begins(head) or not head.strip(b"\0"))
    return Rest(size - offset, torn, begun, last)


def gone(stream: Stream, fd: int, before: Member | None, behind: Rest, hint: Hint | None) -> Gone | None:
    """What is lost with the rest behind the member `before`; None where the live file has every byte of it."""
    life = _life(stream, before or behind.begun or behind.last, hint)
    if life is None:
        return None if behind.torn else NOTHING
    identity, base = life
    published = stream.published[-1].extent.end if stream.published else 0
    end = before.physical + before.length if before else 0
    if behind.torn and before and published >= base + end:
        return None  # it is in segments, and may have outlived the life that it is of
    start = max(end, published - base)
    known = max(start, *(_sealed_at_least(identity, base, behind.last, hint)))
    doubt = None if behind.torn and known == start else Gone(identity, base, start, known)
    try:
        with _open(stream, identity, search=doubt is not None) as live:
            guard = content(fd, before)[-GUARD:] if before and start == end else b""
            same = identity.same_file(live.identity) and live.size() >= known
            if not same or not equal_or_nul(live.read(start - len(guard), len(guard)), guard):
                return doubt  # another life has begun: what was sealed of this one is nowhere else
            return _punched(live, Gone(identity, base, start, known), behind)
    except (OSError, AgentError):
        return doubt


def but_for_merge(stream: Stream, one: Gone) -> Gone:
    """A kill may have left sound members of it that were just written anew: they are no loss, and the stream's next."""
    with suppress(OSError):
        fd = stream.place.archive.open_read(names.merge_name(stream.leaf))
        try:
            first = next((member for member, _ in walk(fd, os.fstat(fd).st_size)), None)
        finally:
            os.close(fd)
        if first and first.identity == one.identity and one.start <= first.position - one.base <= one.end:
            return replace(one, end=first.position - one.base)
    return one


def _punched(live: Live, one: Gone, behind: Rest) -> Gone | None:
    """The hole where S moved over the rest, up to the first record that is whole behind it."""
    first = live.first_byte(one.start)
    if (live.size() if first is None else first) == one.start:
        return None
    # A hole of ours ends with a block; another one was left by a writer that truncated, and a record begins behind it.
    ours = first is None or first % live.block == 0
    if behind.torn and not ours:
        return None
    was_data = one.end > one.start or behind.begun or (one.start > 0 and live.read(one.start - 1, 1) == b"\0")
    if not was_data:
        # It may be a run of NULs that the writer left: S never moved, for all we know.
        return None if behind.torn else one
    if first is None:
        end = live.size()
    else:
        end = first if first == one.end or not ours else first + live.read(first, _CHUNK).find(b"\n") + 1
    return Gone(one.identity, one.base, one.start, end)


def _life(stream: Stream, member: Member | None, hint: Hint | None) -> tuple[Identity, int] | None:
    """Which file the part was made of, and the position of its first byte."""
    if member is not None:
        return member.identity, member.position - member.physical
    if hint is not None and hint.inode:
        return Identity(hint.inode, hint.birth), hint.base
    if stream.published:
        return stream.published[-1].identity, stream.published[-1].base
    return None


def _sealed_at_least(identity: Identity, base: int, last: Member | None, hint: Hint | None) -> Iterator[int]:
    """Physical offsets over which S had moved, by what is left of the part and by the hint."""
    yield 0
    if last is not None and last.identity == identity and last.position - last.physical == base:
        yield last.physical + last.length
    if hint is not None and (hint.inode, hint.base) == (identity.inode, base):
        yield hint.sealed


def _open(stream: Stream, identity: Identity, *, search: bool) -> Live:
    """The file of that life: at its path, or where its writer renamed it to."""
    live = Live.open(stream.place.home, stream.leaf)
    if identity.same_file(live.identity) or not search:
        return live
    live.close()
    return Live.open(stream.place.home, find_inode(stream.place.home, identity) or stream.leaf)


def _whole(fd: int, at: int, size: int) -> Iterator[Member]:
    """The members behind a bad one that are whole by their headers, wherever they begin."""
    while at + members.HEADER_SIZE <= size:
        member = members.decode_header(os.pread(fd, members.HEADER_SIZE, at), at)
        if member is not None and at + member.size <= size:
            yield member
            at += member.size
        else:
            at = _next(fd, at + 1, size)


def _next(fd: int, at: int, size: int) -> int:
    """Where another member may begin."""
    while at < size:
        found = os.pread(fd, _CHUNK + len(_MAGIC) - 1, at).find(_MAGIC)
        if found >= 0:
            return at + found
        at += _CHUNK
    return size
