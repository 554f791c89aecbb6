"""Looking at managed directories and at those below them, so that every stream is what the catalogue says it is."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass

from agent.kit.errors import AgentError, StoppingError
from agent.streams.catalog import Catalog, Place, Stream
from agent.streams.departure import Departures
from agent.streams.examine import acquaint, examine
from agent.streams.grounds import Grounds
from agent.streams.load import Loader
from agent.streams.survey import Looked, Survey
from agent.streams.tools import Tools


@dataclass(slots=True)
class Lookout:
    """Looks, and examines what is no longer what it was; one thread uses it."""

    tools: Tools
    catalog: Catalog
    grounds: Grounds
    survey: Survey
    departures: Departures
    loader: Loader
    observed: bool
    """True when somebody reads the streams, and so has live files looked into before they are due."""
    _left: bool = False
    """True when directories were left since the hints were read."""

    def look(self, relative: str, leaves: Collection[str] | None) -> Looked:
        """Look at files of a managed directory, or at all of it, and recognise what is no longer what it was."""
        place = self.catalog.places.get(relative)
        if place is None:
            return Looked()
        looked = self._see(place, leaves)
        if leaves is None:
            if self.catalog.config.files.recursive:
                self._descend(place, looked)
            self.survey.swept = self.survey.swept or relative == ""
            if self.tools.forgetful.why:
                self.tools.remember_owed(self.catalog.all())
        return looked

    def look_everywhere(self) -> None:
        """Look at every managed directory."""
        for relative in list(self.catalog.places):
            self.look(relative, None)

    def _see(self, place: Place, leaves: Collection[str] | None) -> Looked:
        """Look at files of one directory, or at all of them, and at none below."""
        if leaves is None and place.relative and not self.grounds.stands(place):
            self._leave(place)
            return Looked(self.tools.clock.monotonic())
        if place.unsynced or place.outlived:
            self.loader.finish(place)
        self.loader.asides.look(place, leaves)
        looked = self.survey.list(place) if leaves is None else self.survey.names(place, leaves)
        for stream in looked.suspects:
            examine(self.tools, self.departures, stream)
        if self.observed:
            for stream in (*looked.touched, *looked.suspects):
                acquaint(self.tools, stream)
                self.tools.changed(stream)
        return looked

    def _descend(self, place: Place, looked: Looked) -> None:
        """Take up what is new below, however deep it is; what is found there is found by this look."""
        new = self._take_up(place, looked.directories)
        while new:
            below = new.pop()
            inside = self._see(below, None)
            looked.touched += inside.touched
            looked.suspects += inside.suspects
            new += self._take_up(below, inside.directories)

    def _take_up(self, place: Place, directories: list[str]) -> list[Place]:
        """The new ones among the directories in this one, in whose order the last comes first."""
        for name in directories:
            known = self.catalog.places.get(place.stream_name(name))
            if known and not self.grounds.stands(known):
                self._leave(known)
        found = [below for name in directories if (below := self.grounds.below(place, name))]
        if found and self._left:
            self.loader.recovery.hints, self._left = self.tools.hints.load(), False
        return [one for one in found if self._loaded(one)][::-1]

    def _leave(self, place: Place) -> None:
        """The directory was removed, or has another name: what is in it is taken up where it is found again."""
        inside = [one for one in self.catalog.places.values() if one.relative.startswith(f"{place.relative}/")]
        for one in sorted(inside, key=lambda below: -below.relative.count("/")):
            self._leave_one(one)
        self._leave_one(place)

    def _leave_one(self, place: Place) -> None:
        for stream in self.survey.list(place).suspects:
            examine(self.tools, self.departures, stream)
        removed = os.fstat(place.home.fd).st_nlink == 0
        for stream in [one for one in self.catalog.all() if one.place is place]:
            if not removed:
                stream.name = ""  # it may be found elsewhere, by its id: what gets its name is another stream
            self.tools.remember(stream)
        self._forget(place)
        self.grounds.leave_place(place, self.tools.clock.monotonic())

    def _loaded(self, place: Place) -> bool:
        """Read what is in a new directory. False where that failed: without its segments its files would begin anew."""
        try:
            self.loader.load(place)
        except (OSError, AgentError) as error:
            if isinstance(error, StoppingError):
                raise
            self._forget(place)
            self.grounds.give_up(place, error)
            return False
        return True

    def _forget(self, place: Place) -> None:
        """Take a directory's streams out of the catalogue."""
        for name, stream in [(name, one) for name, one in self.catalog.streams.items() if one.place is place]:
            del self.catalog.streams[name]
            self._nothing(stream)
        for stream in [one for one in self.catalog.orphans if one.place is place]:
            self.catalog.orphans.remove(stream)
            self._nothing(stream)
        self._left = True

    def _nothing(self, stream: Stream) -> None:
        self.loader.rounds.drop(stream)
        stream.facts.there, stream.departed, stream.pending, stream.segments = False, None, (), []
