"""Looking at managed directories and at those below them, so that every stream is what the catalogue says it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agent.streams.catalog import Catalog, Place
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

    def look(self, relative: str, leaves: Iterable[str] | None) -> Looked:
        """Look at files of a managed directory, or at all of it, and recognise what is no longer what it was."""
        place = self.catalog.places.get(relative)
        if place is None:
            return Looked()
        if place.unsynced or place.outlived:
            self.loader.finish(place)
        looked = self.survey.list(place) if leaves is None else self.survey.names(place, leaves)
        for stream in looked.suspects:
            examine(self.tools, self.departures, stream)
        if self.observed:
            for stream in (*looked.touched, *looked.suspects):
                acquaint(self.tools, stream)
                self.tools.changed(stream)
        if leaves is None:
            if self.catalog.config.files.recursive:
                self._descend(place, looked.directories)
            self.survey.swept = self.survey.swept or relative == ""
            if self.tools.forgetful.why:
                self.tools.remember_owed(self.catalog.all())
        return looked

    def look_everywhere(self) -> None:
        """Look at every managed directory."""
        for relative in list(self.catalog.places):
            self.look(relative, None)

    def _descend(self, place: Place, names: Iterable[str]) -> None:
        for name in names:
            below = self.grounds.below(place, name)
            if below:
                self.loader.load(below)
                self.look(below.relative, None)
