"""What lies in an archive directory: segments, which fill a catalogue, and what a crash left beside them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from agent.kit.errors import CorruptError
from agent.streams import names, segment
from agent.streams.catalog import Catalog, Place, Stream
from agent.streams.segment import Segment


@dataclass(slots=True)
class Leftovers:
    """What lies in an archive directory beside segments."""

    parts: list[str] = field(default_factory=list)
    damaged: list[tuple[str, CorruptError]] = field(default_factory=list)


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
                    left.damaged.append((name, error))
                except OSError as error:
                    left.damaged.append((name, CorruptError(f"cannot be read: {error.strerror}", path=entry.path)))
    return found, left


def fill(catalog: Catalog, place: Place, segments: list[Segment]) -> None:
    """Put a place's segments into their streams; of a name's several ids the one sealed last goes on."""
    groups: dict[tuple[str, str], list[Segment]] = {}
    for one in segments:
        groups.setdefault((one.stream, one.stream_id), []).append(one)
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
