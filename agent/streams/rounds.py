"""Rounds over what was sealed: space goes back piece by piece, and files that nobody has open become empty, or go.

Each round does a bounded piece for every stream that waits, so that no stream waits for another's end.
"""

from __future__ import annotations

import sys

from agent.kit.errors import AgentError
from agent.streams.catalog import Catalog, Stream
from agent.streams.departure import Departures
from agent.streams.examine import examine
from agent.streams.failures import failed, over
from agent.streams.release import PIECE, Releaser
from agent.streams.tombs import Tombs
from agent.streams.tools import Tools


class Rounds:
    """The streams that wait to be released, reset or buried; one thread uses it."""

    def __init__(
        self, tools: Tools, catalog: Catalog, releaser: Releaser, departures: Departures, tombs: Tombs
    ) -> None:
        self._tools = tools
        self._catalog = catalog
        self._releaser = releaser
        self._departures = departures
        self._tombs = tombs
        self._releasing: dict[Stream, None] = {}
        self.stuck: set[Stream] = set()
        """Streams whose last release failed: they wait for the next step, but ask for none."""
        self.resting: dict[Stream, None] = {}
        """Streams that may be set back to size 0, in the order in which they came to rest."""

    @property
    def coming(self) -> int:
        """Bytes on disk that are in segments already and are about to be given back."""
        waiting = (one for one in self._releasing if not one.refused and one not in self.stuck)
        return sum(min(one.facts.allocated, sum(part.source.length for part in one.pending)) for one in waiting)

    def add(self, stream: Stream) -> None:
        """Something of the stream was sealed: give it back, or where nothing is pending, let the file rest."""
        (self._releasing if stream.pending else self.resting)[stream] = None

    def drop(self, stream: Stream) -> None:
        """Nothing of the stream is ours to give back any more."""
        self._releasing.pop(stream, None)
        self.resting.pop(stream, None)
        self.stuck.discard(stream)

    def release(self, *, paced: bool = True) -> tuple[int, bool]:
        """Give back a piece of each stream, or without `paced` everything.

        Returns the most bytes that one stream gave back, and whether more is pending. A stream whose writer fills
        faster than the pace empties is released at once: space goes before smoothness.
        """
        most = 0
        for stream in list(self._releasing):
            self._tools.breathe()
            if stream.refused:
                continue
            try:
                most = max(most, self._releaser.release(stream, _budget(stream) if paced else sys.maxsize))
            except BlockingIOError:
                continue
            except FileNotFoundError:
                examine(self._tools, self._departures, stream)
            except (OSError, AgentError) as error:
                failed(self._tools, stream, error)
                self.stuck.add(stream)
            else:
                if stream in self.stuck:
                    self.stuck.discard(stream)
                    over(self._tools, stream)
            if not stream.pending:
                del self._releasing[stream]
                self.stuck.discard(stream)
                self.resting[stream] = None
        return most, any(not one.refused and one not in self.stuck for one in self._releasing)

    def reset(self, most: int = 200) -> list[Stream]:
        """Set back to size 0 what rests and nobody has open, `most` files at a time; the streams of those that were."""
        emptied = []
        for stream in list(self.resting)[:most]:
            self._tools.breathe()
            del self.resting[stream]
            if stream.refused:
                continue
            try:
                if self._releaser.reset(stream):
                    emptied.append(stream)
            except FileNotFoundError:
                continue
            except (OSError, AgentError) as error:
                failed(self._tools, stream, error)
        return emptied

    def bury(self) -> list[Stream]:
        """Put into tombs what has long been empty and unopened, where that is asked for; the streams of those files.

        What is sealed but was not emptied, because somebody had it open, comes to rest once more.
        """
        buried = []
        self.resting.update(dict.fromkeys(filter(self._tombs.wants_reset, self._catalog.streams.values())))
        for stream in filter(self._tombs.due, list(self._catalog.streams.values())):
            self._tools.breathe()
            try:
                if self._tombs.bury(stream):
                    buried.append(stream)
            except (FileNotFoundError, FileExistsError):
                continue
            except (OSError, AgentError) as error:
                failed(self._tools, stream, error)
        return buried


def _budget(stream: Stream) -> int:
    backlog = sum(one.source.length for one in stream.pending)
    return PIECE if backlog <= 2 * max(PIECE, stream.rotation.max_size or 0) else backlog
