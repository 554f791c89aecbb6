"""Retention's view of a catalogue: what lies where, how old it is, who still wants it. Reads, and changes nothing."""

from __future__ import annotations

import os

from agent.config import Config
from agent.kit.units import Share
from agent.streams import plan
from agent.streams.ages import Ages
from agent.streams.catalog import Catalog, Stream
from agent.streams.holding import Holding


def plan_retention(
    catalog: Catalog, config: Config, ages: Ages, holding: Holding, total: int
) -> list[tuple[Stream, plan.Retire]]:
    """What retention would delete now; `total` is what the directory takes on disk."""
    shelves: list[plan.Shelf] = []
    owners: dict[str, Stream] = {}
    for stream in catalog.all():
        if stream.published:
            shelves.append(_shelf(stream, ages, holding))
            owners.update({one.name: stream for one in stream.published})
    items = plan.retire(shelves, _room(catalog, config, total))
    return [(owners[item.segment.name], item) for item in items]


def _shelf(stream: Stream, ages: Ages, holding: Holding) -> plan.Shelf:
    """The open part is on no shelf: it is no segment yet."""
    pending = {one.name for one in stream.pending}
    segments = stream.published
    claims = holding.claims(stream)
    end = stream.incarnation.end if stream.incarnation else stream.end
    rows = [
        plan.Shelved(
            stream.name, one.name, one.extent.end, age, one.allocated, one.marker, one is segments[-1],
            one.name not in pending, plan.hold(claims, one.extent.start, one.extent.end, age, end),
        )
        for one, age in zip(segments, ages.of(segments), strict=True)
    ]  # fmt: skip
    return plan.Shelf(stream.retention, rows, stream.facts.there)


def _room(catalog: Catalog, config: Config, total: int) -> plan.Room:
    info = os.fstatvfs(catalog.places[""].archive.fd)
    free, capacity = info.f_bavail * info.f_frsize, info.f_blocks * info.f_frsize
    wanted = config.retention.min_free
    least = capacity * float(wanted) if isinstance(wanted, Share) else wanted
    return plan.Room(total, free, capacity, config.retention.max_total, least)
