"""Files that were renamed aside and that no stream knows: each goes back to the stream whose file it was.

A hint tells where method `rename` moved a file to, until something of it is sealed. An agent that was killed in between
and lost its state finds the file by the name alone. Which of the stream's lives it is, its identity and the segments
tell: it comes behind what is sealed, and before the file that stands at the path.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial

from agent.kit import log
from agent.kit.clock import booted_at
from agent.kit.errors import AgentError, CorruptError, RefusedError, printable
from agent.streams import names, segment
from agent.streams.catalog import Catalog, Place, Stream, content
from agent.streams.incarnation import Incarnation, guard_holds, kept_prefix
from agent.streams.live import GUARD, NO_LOG, Live, irregular
from agent.streams.position import Identity
from agent.streams.recognise import Inodes, begin, find_inode, inodes, is_log
from agent.streams.segment import Segment
from agent.streams.tools import Tools

_log = log.get("engine")

_AWAY = "move it away, or its file cannot be renamed there"
_ELSEWHERE = "give it a name that files.include selects: then it is sealed as a stream of its own"
_NOT_TWICE = "under another name its records would be sealed twice"
_WHY = {
    "symlink": f"it is a symbolic link; {_AWAY}",
    "special": f"it is no regular file; {_AWAY}",
    "hardlink": "it has a second name, which could be somebody else's file; remove that one",
    "cut": f"no file of that name is known: it is taken up when its file comes again, or {_ELSEWHERE}",
    "no_log": f"it is no line log; {_AWAY}",
    "begun": f"its stream went on without it; {_ELSEWHERE}",
    "sealed": f"all of it lies in segments already: remove it; {_NOT_TWICE}",
    "partly": "its stream went on without it, and its beginning lies in segments: take out of it what follows; "
    f"{_NOT_TWICE}",
    "method": 'rotation.method is not "rename", and no segment tells that it was when the file got this name; '
    f"if it holds telemetry, {_ELSEWHERE}",
    "unreadable": "it cannot be read now, or not by the agent's user; it is asked again",
}


@dataclass(slots=True)
class Asides:
    """Takes them up; one thread uses it. Nothing on disk changes here."""

    tools: Tools
    catalog: Catalog
    relevant: Callable[[str], bool]
    """True for a path below the watched directory that can be a stream's."""
    reading: bool
    """True where somebody only looks: whoever seals tells what is left alone."""

    def look(self, place: Place, leaves: Collection[str] | None) -> None:
        """Ask again about what was left alone: somebody may have put it right, or its file has come."""
        if place.strays and (leaves is None or any(self._comes(place, leaf) for leaf in leaves)):
            self.take_up(place)

    def _comes(self, place: Place, leaf: str) -> bool:
        """True for a new file, not looked at yet, whose name aside is taken."""
        return place.stream_name(leaf) not in self.catalog.streams and names.aside_name(leaf) in place.strays

    def take_up(self, place: Place) -> None:
        """Give every file aside that nobody knows to its stream; what cannot be given is left alone, and told."""
        told: dict[str, str] = {}
        known = {one.departed for one in self.catalog.all() if one.place is place}
        there = place.home.names()
        wanted = sorted(name for name in there if names.is_aside(name) and name not in known)
        if not wanted:
            place.strays = {}
            return
        inside = inodes(place.home)
        leaves = [*there, *(one.leaf for one in self.catalog.streams.values() if one.place is place)]
        cut = {names.aside_name(leaf): leaf for leaf in leaves if names.shortened(leaf) != leaf}
        for name in wanted:
            self.tools.breathe()
            leaf = cut.get(name) or names.leaf_of_aside(name)
            if leaf and not self.relevant(place.stream_name(leaf)):
                continue
            if why := self._take(place, name, leaf, inside) if leaf else "cut":
                told[name] = f"{printable(place.stream_name(name))} is left alone: {_WHY[why]}"
                self._tell(place, name, told[name])
        place.strays = told

    def _tell(self, place: Place, name: str, why: str) -> None:
        if why != place.strays.get(name) and not self.reading:
            self.tools.audit.write("tomb", reason="left alone", file=place.stream_name(name), why=why)
            _log.warning("a file in the place of a renamed one is left alone", hint=why)

    def _take(self, place: Place, name: str, leaf: str, inside: Inodes) -> str:
        """Give the file to its stream. Why not, as a key of `_WHY`, where that cannot be."""
        try:
            info = place.home.stat(name)
            if reason := irregular(info):
                return reason
            with _opened(place, name) as live:
                return self._claim(place, name, leaf, live, info, inside)
        except FileNotFoundError:
            return ""
        except OSError:
            return "unreadable"

    def _claim(
        self, place: Place, name: str, leaf: str, live: Live | None, info: os.stat_result, inside: Inodes
    ) -> str:  # fmt: skip
        identity = live.identity if live else Identity(info.st_ino, None)
        stream = self.catalog.streams.get(place.stream_name(leaf))
        life = stream.incarnation if stream else None
        if stream and any(one.same_file(identity) for one in stream.successors):
            return ""
        if stream and life and life.identity.same_file(identity):
            stream.departed = name
        elif not self._may_be_ours(place, leaf, stream, identity):
            return "method"
        elif live is None and stream and (life or stream.segments):
            return "unreadable"  # nobody knows what of it lies in segments
        elif live and not _may_be_log(leaf, live, behind=bool(stream and stream.end)):
            return "no_log"
        else:
            stream = stream or self._new(place, leaf, info.st_size)
            kept = _sealed_before(self.tools, stream, live) if live else None
            if not line_up(self.tools, stream, name, identity, live, kept or 0, inside):
                return "sealed" if live and kept == live.size() else "partly" if kept else "begun"
        stream.facts.grew = self.tools.clock.monotonic()
        self.tools.audit.write("tomb", stream=stream.name, reason="taken up", file=name, size=info.st_size)
        return ""

    def _may_be_ours(self, place: Place, leaf: str, stream: Stream | None, identity: Identity) -> bool:
        """True where the agent renames files now, or a segment says that it had this one."""
        rotation, _ = self.catalog.config.rules_for(place.stream_name(leaf))
        sealed = stream.segments if stream else ()
        return rotation.method == "rename" or any(one.identity.same_file(identity) for one in sealed)

    def _new(self, place: Place, leaf: str, size: int) -> Stream:
        stream = self.catalog.stream(place, leaf)
        self.tools.audit.write("stream", stream=stream.name, id=stream.id, size=size)
        return stream


def line_up(
    tools: Tools, stream: Stream, name: str, identity: Identity, live: Live | None = None, kept: int = 0,
    inside: Inodes | None = None,
) -> bool:  # fmt: skip
    """Let a file aside that nobody knows be what comes after the stream's present life, whose file is finished first.

    Its first `kept` bytes lie in segments. False where that life goes on at the path: nothing comes before it then.
    """
    life, home = stream.incarnation, stream.place.home
    if life is not None and _goes_on(stream, life):
        return False
    where = find_inode(home, life.identity, inside) if life else None
    if where and kept:
        return False  # what waits, or comes to the path's turn, is sealed from its beginning on
    if where and where not in (name, stream.leaf):
        stream.departed, stream.successors = where, (identity, *stream.successors)
        return True
    begin(tools, stream, identity, "replaced", live.size() if live else 0, kept, live)
    stream.departed = name
    return True


def in_the_way(place: Place, name: str) -> AgentError:
    """The error of a rotation that finds another file at the name which it gives; the next looks ask about that one."""
    why = place.strays.setdefault(name, "")
    return AgentError(
        "the file cannot be renamed aside, another one stands there: nothing is lost, but nothing is rotated",
        path=os.path.join(place.home.path, name),
        hint=why or "`status` tells after the next look what it is; if nothing of the agent's, move it away",
    )


def _goes_on(stream: Stream, life: Incarnation) -> bool:
    """True when the file at the path is the one of that life, though its writer may have emptied it.

    Where a birth is not known, another file may have its inode: then the guard tells.
    """
    home = stream.place.home
    try:
        with Live.open(home, stream.leaf) as live:
            if not life.identity.same_file(live.identity):
                return False
            if None not in (life.identity.birth, live.identity.birth):
                return True
            if live.size() < life.sealed:
                return False
            life.learn_guard(live)
            return guard_holds(life, live)
    except FileNotFoundError:
        return False
    except (OSError, RefusedError):
        with suppress(FileNotFoundError):
            return home.stat(stream.leaf).st_ino == life.identity.inode
        return False


def _opened(place: Place, name: str) -> AbstractContextManager[Live | None]:
    """The file, or None where somebody holds a lease on it, or we may not read it. Raises FileNotFoundError."""
    try:
        return Live.open(place.home, name)
    except FileNotFoundError:
        raise
    except (OSError, RefusedError):
        return nullcontext()


def _sealed_before(tools: Tools, stream: Stream, live: Live) -> int | None:
    """Up to where the file lies in older segments already: its removal did not outlast a loss of power.

    None where it never was in any, or they are gone. It may be shorter after that, or end in NULs: then all of it is
    compared, where its birth says that it is the same file and no other that has its inode.
    """
    found = _last_life(stream, live.identity)
    if not found:
        return None
    with suppress(FileNotFoundError, CorruptError):
        size, end, guard = live.size(), found[-1].source.end, segment.tail(found[-1], GUARD)
        if live.read(end - len(guard), len(guard)) == guard:
            return end
        if None not in (live.identity.birth, found[-1].identity.birth) and found[-1].boot != tools.boot:
            untouched = live.changed() < booted_at()
            return kept_prefix(live, min(size, end), partial(content, found), untouched=untouched)
    return None


def _last_life(stream: Stream, identity: Identity) -> list[Segment]:
    """The segments of the last life of a file, whose physical offsets only grow."""
    found: list[Segment] = []
    for one in reversed(stream.segments):
        if one.marker or not one.identity.same_file(identity):
            continue
        if found and one.source.end > found[-1].source.start:
            break
        found.append(one)
    return found[::-1]


def _may_be_log(leaf: str, live: Live, *, behind: bool) -> bool:
    first = live.first_byte(0)
    try:
        if first is not None:
            is_log(leaf, live, first, live.name, behind=behind or first > 0)
    except RefusedError as error:
        return error.reason not in NO_LOG
    return True
