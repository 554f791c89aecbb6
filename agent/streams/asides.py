"""Files that were renamed aside and that no stream knows: each goes back to the stream whose file it was.

A hint tells where method `rename` moved a file to, until something of it is sealed. An agent that was killed in between
and lost its state finds the file by the name alone. Which of the stream's lives it is, its identity and the segments
tell: it comes behind what is sealed, and before the file that stands at the path.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass

from agent.kit import log
from agent.kit.errors import AgentError, CorruptError, RefusedError, printable
from agent.streams import names, segment
from agent.streams.catalog import Catalog, Place, Stream
from agent.streams.incarnation import Incarnation, guard_holds
from agent.streams.live import GUARD, NO_LOG, Live, irregular
from agent.streams.position import Identity
from agent.streams.recognise import begin, find_inode, is_log
from agent.streams.tools import Tools

_log = log.get("engine")

_AWAY = "move it away, or its file cannot be renamed there"
_ELSEWHERE = "give it a name that files.include selects: then it is sealed as a stream of its own"
_WHY = {
    "symlink": f"it is a symbolic link; {_AWAY}",
    "special": f"it is no regular file; {_AWAY}",
    "hardlink": "it has a second name, which could be somebody else's file; remove that one",
    "cut": f"no file of that name is known: it is taken up when its file comes again, or {_ELSEWHERE}",
    "no_log": f"it is no line log; {_AWAY}",
    "begun": f"its stream went on without it; {_ELSEWHERE}",
}


@dataclass(slots=True)
class Asides:
    """Takes them up; one thread uses it. Nothing on disk changes here."""

    tools: Tools
    catalog: Catalog
    relevant: Callable[[str], bool]
    """True for a path below the watched directory that can be a stream's."""

    def look(self, place: Place, leaves: Collection[str] | None) -> None:
        """Ask again about what was left alone: somebody may have put it right, or its file has come."""
        if place.strays and (leaves is None or any(self._comes(place, leaf) for leaf in leaves)):
            self.take_up(place)

    def _comes(self, place: Place, leaf: str) -> bool:
        """True for a new file, not looked at yet, whose name aside is taken."""
        return place.stream_name(leaf) not in self.catalog.streams and names.aside_name(leaf) in place.strays

    def take_up(self, place: Place) -> None:
        """Give every file aside that nobody knows to its stream; what cannot be given is left alone, and told."""
        told, place.strays = place.strays, {}
        known = {one.departed for one in self.catalog.all() if one.place is place}
        there = place.home.names()
        wanted = sorted(name for name in there if names.is_aside(name) and name not in known)
        if not wanted:
            return
        leaves = [*there, *(one.leaf for one in self.catalog.streams.values() if one.place is place)]
        cut = {names.aside_name(leaf): leaf for leaf in leaves if names.shortened(leaf) != leaf}
        for name in wanted:
            leaf = cut.get(name) or names.leaf_of_aside(name)
            if leaf and not self.relevant(place.stream_name(leaf)):
                continue
            why = self._take(place, name, leaf) if leaf else "cut"
            if why:
                place.strays[name] = f"{printable(place.stream_name(name))} is left alone: {_WHY[why]}"
                self._tell(place, name, told.get(name))

    def _tell(self, place: Place, name: str, before: str | None) -> None:
        why = place.strays[name]
        if why != before:
            self.tools.audit.write("tomb", reason="left alone", file=place.stream_name(name), why=why)
            _log.warning("a file in the place of a renamed one is left alone", hint=why)

    def _take(self, place: Place, name: str, leaf: str) -> str:
        """Give the file to its stream. Why not, as a key of `_WHY`, where that cannot be."""
        try:
            info = place.home.stat(name)
        except FileNotFoundError:
            return ""
        if reason := irregular(info):
            return reason
        try:
            live = Live.open(place.home, name)
        except (OSError, RefusedError):
            # Somebody holds a lease, or we may not read it: that is told when it is to be sealed.
            return self._claim(place, name, leaf, None, info)
        with live:
            return self._claim(place, name, leaf, live, info)

    def _claim(self, place: Place, name: str, leaf: str, live: Live | None, info: os.stat_result) -> str:
        identity = live.identity if live else Identity(info.st_ino, None)
        stream = self.catalog.streams.get(place.stream_name(leaf))
        life = stream.incarnation if stream else None
        if stream and any(one.same_file(identity) for one in stream.successors):
            return ""
        if stream and life and life.identity.same_file(identity):
            stream.departed = name
        elif live and not _may_be_log(leaf, live, behind=bool(stream and stream.end)):
            return "no_log"
        else:
            stream = stream or self._new(place, leaf, info.st_size)
            if not line_up(self.tools, stream, name, identity, live):
                return "begun"
        stream.facts.grew = self.tools.clock.monotonic()
        self.tools.audit.write("tomb", stream=stream.name, reason="taken up", file=name, size=info.st_size)
        return ""

    def _new(self, place: Place, leaf: str, size: int) -> Stream:
        stream = self.catalog.stream(place, leaf)
        self.tools.audit.write("stream", stream=stream.name, id=stream.id, size=size)
        return stream


def line_up(tools: Tools, stream: Stream, name: str, identity: Identity, live: Live | None = None) -> bool:
    """Let a file aside that nobody knows be what comes after the stream's present life, whose file is finished first.

    False where that life goes on at the path: nothing can be put before it then.
    """
    life, home = stream.incarnation, stream.place.home
    if life is not None and _goes_on(stream, life):
        return False
    where = find_inode(home, life.identity) if life else None
    if where and where not in (name, stream.leaf):
        stream.departed, stream.successors = where, (identity, *stream.successors)
        return True
    kept = _sealed_before(stream, live) if live else 0
    begin(tools, stream, identity, "replaced", live.size() if live else 0, kept, live)
    stream.departed = name
    return True


def in_the_way(place: Place, name: str) -> AgentError:
    """The error of a rotation that finds another file at the name which it gives; the next looks ask about that one."""
    place.strays.setdefault(name, "")
    return AgentError(
        "the file cannot be renamed aside, another one stands there: nothing is lost, but nothing is rotated",
        path=os.path.join(place.home.path, name),
        hint=f"if that one holds telemetry, {_ELSEWHERE}; if not, move it away",
    )


def _goes_on(stream: Stream, life: Incarnation) -> bool:
    """True when the file at the path is the one of that life, and has not begun anew."""
    home = stream.place.home
    try:
        with Live.open(home, stream.leaf) as live:
            if not life.identity.same_file(live.identity) or live.size() < life.sealed:
                return False
            life.learn_guard(live)
            return guard_holds(life, live)
    except FileNotFoundError:
        return False
    except (OSError, RefusedError):
        with suppress(FileNotFoundError):
            return home.stat(stream.leaf).st_ino == life.identity.inode
        return False


def _sealed_before(stream: Stream, live: Live) -> int:
    """Up to where the file lies in older segments already: its removal did not outlast a loss of power."""
    found = [one for one in stream.segments if not one.marker and one.identity.same_file(live.identity)]
    if not found or live.size() < found[-1].source.end:
        return 0
    with suppress(OSError, CorruptError):
        end, guard = found[-1].source.end, segment.tail(found[-1], GUARD)
        return end if live.read(end - len(guard), len(guard)) == guard else 0
    return 0


def _may_be_log(leaf: str, live: Live, *, behind: bool) -> bool:
    first = live.first_byte(0)
    try:
        if first is not None:
            is_log(leaf, live, first, live.name, behind=behind or first > 0)
    except RefusedError as error:
        return error.reason not in NO_LOG
    return True
