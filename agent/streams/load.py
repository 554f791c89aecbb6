"""Reading a place's archive, and dealing with what a crash, or a seal that failed, left in it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from agent.kit import log
from agent.streams import names
from agent.streams.ages import Ages
from agent.streams.archive import Leftovers, fill, read_archive
from agent.streams.asides import Asides
from agent.streams.catalog import Catalog, Place, Stream
from agent.streams.dues import idle_part
from agent.streams.failures import failed
from agent.streams.lives import restore
from agent.streams.recover import Recovery
from agent.streams.rounds import Rounds
from agent.streams.seal import Sealer
from agent.streams.tools import Tools

_log = log.get("engine")


@dataclass(slots=True)
class Loader:
    """Fills the catalogue, place by place; with `reading` nothing on disk changes."""

    tools: Tools
    catalog: Catalog
    ages: Ages
    recovery: Recovery
    sealer: Sealer
    rounds: Rounds
    asides: Asides
    reading: bool

    def load(self, place: Place) -> None:
        """Read a place's archive and deal with what a crash left."""
        segments, left = read_archive(place)
        # Whoever published them, or removed what is in them, may have been killed before that was durable.
        place.unsynced = place.removed = bool(segments) and not self.reading
        if copies := fill(self.catalog, place, segments):
            path, why = place.archive.path, f"{len(copies)} segments of other streams were copied here"
            self.tools.audit.write("error", reason="copied segments", path=path, why=why)
            _log.warning("segments are left alone", directory=path, why=why)
        self.ages.witness(segments)
        for one in left.damaged:
            self.tools.audit.write("error", reason="damaged segment", path=os.path.join(place.archive.path, one.name))
            _log.warning("a segment cannot be read", error=one.error)
        if self.reading:
            self.recovery.peek_all(place, left)
        else:
            self.recovery.parts(place, left)
        self.recovery.expect(place)
        for stream in self.catalog.all():
            if stream.place is place:
                stream.damaged = tuple(one.extent for one in left.damaged if one.stream_id == stream.id)
                self._restore(stream)
        if not self.reading:
            self._publish_found(place)
        self.asides.take_up(place)

    def _publish_found(self, place: Place) -> None:
        """Open parts that nobody goes on with: capture is off, or their stream has ended."""
        found = [one for one in self.catalog.all() if one.place is place and one.open_part]
        orphans = set(self.catalog.orphans)
        for outcome in self.sealer.seal([(one, "recovered") for one in found if idle_part(one) or one in orphans]):
            if outcome.error is not None:
                failed(self.tools, outcome.stream, outcome.error)

    def _restore(self, stream: Stream) -> None:
        """Set the stream's life, and go on with its release where that was interrupted."""
        hint = self.recovery.hints.get(stream.id)
        if hint:
            self.tools.hints.keep(stream.id)
        restore(stream, hint, self.tools.boot)
        if stream.pending:
            self.rounds.add(stream)

    def unblock(self, stream: Stream) -> None:
        """A part that could not be removed when its seal failed is in the way: deal with it as at a start."""
        try:
            self._clear(stream)
        except OSError as error:
            failed(self.tools, stream, error)

    def finish(self, place: Place) -> None:
        """Do what a sync or a removal that failed left undone: names become durable, and parts that are segments go."""
        try:
            place.settle()
            for stream in list(place.outlived):
                self._clear(stream)
                del place.outlived[stream]
        except OSError as error:
            place.trouble.begins(self.tools.audit, error)
        else:
            place.trouble.ends(self.tools.audit)

    def _clear(self, stream: Stream) -> None:
        """Deal with the stream's hidden files as at a start. Raises OSError."""
        before = len(stream.segments)
        try:
            there = [name for name in names.hidden_names(stream.leaf) if stream.place.archive.exists(name)]
            self.recovery.parts(stream.place, Leftovers(there))
        finally:
            if len(stream.segments) > before:
                self._restore(stream)
