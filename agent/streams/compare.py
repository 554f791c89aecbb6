"""Comparing a part, as read back, with the live file, before anything of it is believed.

What was whole before a change is kept: when the writer truncated meanwhile, the part is the only copy (attack C6).
"""

from __future__ import annotations

import os

from agent.kit import disk
from agent.kit.errors import CorruptError
from agent.kit.steps import reach
from agent.streams import member as members
from agent.streams.candidate import Draft
from agent.streams.incarnation import guard_holds
from agent.streams.live import refusal
from agent.streams.part import Part
from agent.streams.tools import Tools

_CACHE_DROP = 1 << 16
_SAMPLE_EVERY = 8


def compare(tools: Tools, draft: Draft, scratch: memoryview) -> bool:
    """Compare every member that was copied; False when members had to be given up. Raises CorruptError, OSError.

    The live file is read through `scratch`, which the processor's cache holds.
    """
    part = draft.part
    drop_cache(part)
    for number in range(len(part.members)):
        tools.breathe()
        if not _same(draft, number, scratch, inflate=thorough(draft, number)):
            return _differs(draft, number)
        reach("verify.member")
    return True


def drop_cache(part: Part) -> None:
    """Have what was written read back from the medium, where it is worth the reading."""
    first = part.members[0].offset
    if part.size - first >= _CACHE_DROP:
        disk.forget_cache(part.fd, first)


def thorough(one: Draft, number: int) -> bool:
    """True for a member that is inflated; of the others the compressed bytes' checksums are compared."""
    return one.stream.rotation.verify == "full" or number % _SAMPLE_EVERY == 0


def _differs(draft: Draft, number: int) -> bool:
    """The live file is not what the part holds: its writer truncated it, or writes over what it wrote."""
    stream, part = draft.stream, draft.part
    life = stream.incarnation
    cut = draft.live.size() < part.source_end or draft.live.read(draft.first, len(draft.head)) != draft.head
    if cut or (life is not None and not guard_holds(life, draft.live)):
        for one in range(number, len(part.members)):
            part.content(one)  # the only copy now: at least it must be whole
        draft.truncated = True
        return True
    stream.rewrites += 1
    part.trim(number)
    if not part.members:
        if stream.rewrites > 1:
            raise refusal("rewritten", os.path.join(stream.place.home.path, draft.live.name))
        raise CorruptError("the writer changed bytes while they were sealed", path=draft.live.name)
    draft.tail = b""
    return False


def _same(draft: Draft, number: int, scratch: memoryview, *, inflate: bool) -> bool:
    """Compare one member with the live file; CorruptError when the part itself is not what was written."""
    part, member = draft.part, draft.part.members[number]
    if inflate:
        return draft.live.equals(member.physical, part.content(number), scratch)
    check_raw(part, number)
    return draft.live.crc(member.physical, member.length, scratch) == member.crc


def check_raw(part: Part, number: int) -> None:
    """CorruptError when a member does not read back as it was written."""
    if members.crc32(part.raw(number)) != part.checks[number]:
        raise CorruptError(
            "the part does not read back as it was written", path=part.name, position=part.members[number].position
        )
