"""Rewriting an open part before it is published: small members become large ones, and the ratio that of one pass.

The result is a file of its own. The part stays, and readers read it, until the new file is durable under its final
name; a crash in between leaves both, and recovery finds the same bytes in the segment.
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.kit.steps import reach
from agent.streams import names
from agent.streams.catalog import Stream
from agent.streams.compare import check_raw
from agent.streams.copying import Copier
from agent.streams.member import Member
from agent.streams.part import Part
from agent.streams.segment import Segment, SegmentReader
from agent.streams.tools import Tools


def merge(tools: Tools, copier: Copier, stream: Stream, one: Segment) -> Part:
    """Write the open part anew. Raises OSError, CorruptError; nothing of the new file is left then."""
    name = names.merge_name(stream.leaf)
    one.directory.remove(name)  # what an earlier attempt left: its bytes are in the part
    part = Part.create(one.directory, name, stream.id, one.identity)
    compress = copier.compressor(stream.rotation.level)
    try:
        with SegmentReader(one) as reader:
            for group in _groups(reader.members(), copier.member_size):
                tools.breathe()
                if len(group) == 1:
                    part.take(group[0], reader.raw(group[0]))
                    continue
                data = memoryview(b"".join(reader.content(member) for member in group))
                part.append(
                    data, position=group[0].position, physical=group[0].physical, seen=group[-1].seen,
                    compress=compress, records=sum(member.records for member in group),
                )  # fmt: skip
    except BaseException:
        part.discard()
        raise
    reach("merge.written")
    return part


def verify(tools: Tools, part: Part, *, full: bool) -> None:
    """Read the new file back. What is in it was compared with the live file when it was captured.

    Raises CorruptError, OSError.
    """
    for number in range(len(part.members)):
        tools.breathe()
        if full:
            part.content(number)
        else:
            check_raw(part, number)


def _groups(found: Iterator[Member], target: int) -> Iterator[list[Member]]:
    """Neighbouring members that together have up to `target` bytes."""
    group: list[Member] = []
    size = 0
    for one in found:
        if group and size + one.length > target:
            yield group
            group, size = [], 0
        group.append(one)
        size += one.length
    if group:
        yield group
