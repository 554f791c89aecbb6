"""What lies in an archive directory: segments, which fill a catalogue, and what a crash left beside them."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from typing import NamedTuple

from agent.kit.disk import Directory
from agent.kit.errors import CorruptError
from agent.streams import names, segment
from agent.streams.catalog import Catalog, Place, Stream
from agent.streams.member import Member
from agent.streams.part import headers
from agent.streams.position import Extent
from agent.streams.segment import Segment


class Damaged(NamedTuple):
    """A segment without a readable index."""

    name: str
    error: CorruptError
    stream_id: str = ""
    extent: Extent = Extent(0, 0)
    """What its members say that it holds, as far as their headers can be read."""


@dataclass(slots=True)
class Leftovers:
    """What lies in an archive directory beside segments."""

    parts: list[str] = field(default_factory=list)
    damaged: list[Damaged] = field(default_factory=list)


def read_archive(place: Place) -> tuple[list[Segment], Leftovers]:
    """All segments in a place's archive, in no order. Foreign files are left out, damaged ones are listed."""
    found: list[Segment] = []
    left = Leftovers()
    with place.archive.entries() as entries:
        for entry in entries:
            name = entry.name
            if names.is_part(name):
                if entry.is_file(follow_symlinks=False):
                    left.parts.append(name)
            elif name.endswith(".gz") and names.parse(name) and entry.is_file(follow_symlinks=False):
                try:
                    found.append(segment.load(place.archive, name))
                except CorruptError as error:
                    left.damaged.append(_damaged(place.archive, name, error))
                except OSError as error:
                    what = f"cannot be read: {error.strerror}"
                    left.damaged.append(Damaged(name, CorruptError(what, path=entry.path)))
    return found, left


def _damaged(archive: Directory, name: str, error: CorruptError) -> Damaged:
    """What the members' headers of a segment without an index still tell."""
    found: list[Member] = []
    with suppress(OSError):
        fd = archive.open_read(name)
        try:
            found = list(headers(fd, os.fstat(fd).st_size))
        finally:
            os.close(fd)
    if not found:
        return Damaged(name, error)
    extent = Extent(found[0].position, found[-1].position + found[-1].length)
    return Damaged(name, error, found[0].stream_id.hex(), extent)


def fill(catalog: Catalog, place: Place, segments: list[Segment]) -> list[Segment]:
    """Put a place's segments into their streams; of a name's several ids the one sealed last goes on.

    A directory that was renamed keeps its streams, under their new names. Segments that somebody copied here are his
    own: they are left out, and returned.
    """
    groups: dict[tuple[str, str], list[Segment]] = {}
    for one in segments:
        groups.setdefault((place.stream_name(os.path.basename(one.stream)), one.stream_id), []).append(one)
    known = {stream.id: stream for stream in catalog.all()}
    elsewhere = cache(partial(_ids, catalog))
    copies = [key for key, group in groups.items() if _copied(catalog, known.get(key[1]), key[0], group[0], elsewhere)]
    left_out = [one for key in copies for one in groups.pop(key)]
    for (name, stream_id), group in sorted(groups.items(), key=lambda item: -max(s.sealed_at for s in item[1])):
        group.sort(key=lambda one: (one.extent.start, one.extent.end, one.sealed_at))
        stream = Stream(name, os.path.basename(name), place, stream_id, catalog.config.rules_for(name))
        if name in catalog.streams:
            catalog.orphans.append(stream)
        else:
            catalog.streams[name] = stream
        stream.segments = group
        last = names.parse(group[-1].name)
        if last:
            stream.last_stamp = (last.time, last.n)
    return left_out


def _copied(
    catalog: Catalog, known: Stream | None, name: str, one: Segment, elsewhere: Callable[[str], set[str]]
) -> bool:
    """True when a segment's stream is `known` elsewhere, or when the directory that it names still has some of it."""
    if known is not None and not known.segments and not known.facts.looked:
        del catalog.streams[known.name]  # a hint alone said that it is there
        return False
    return known is not None or (one.stream != name and one.stream_id in elsewhere(os.path.dirname(one.stream)))


def _ids(catalog: Catalog, relative: str) -> set[str]:
    """The ids of the streams that have segments in a directory: read once, however many were moved or copied."""
    found: set[str] = set()
    with suppress(OSError), Directory.open(os.path.join(catalog.places[""].archive.path, relative)) as there:
        for name in there.names():
            if name.endswith(".gz") and names.parse(name):
                with suppress(OSError, CorruptError):
                    found.add(segment.load(there, name).stream_id)
    return found
