"""Looking at directories: which files are streams, how they grew, what is refused and why.

A look lists and stats, nothing more; files are opened when they are due. It never follows a symlink.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field

from agent.kit.errors import RefusedError, printable
from agent.streams import names
from agent.streams.catalog import Catalog, Facts, Place, Stream
from agent.streams.incarnation import Incarnation
from agent.streams.live import Live, irregular, refusal
from agent.streams.position import Identity
from agent.streams.tools import Tools

_SMOOTH = 0.5


@dataclass(slots=True)
class Looked:
    """What a look found: streams whose writer did something, and those that are not what they were."""

    at: float = 0.0
    """Monotonic time at which it began: one value that all its streams share."""
    grew: set[str] = field(default_factory=set)
    suspects: list[Stream] = field(default_factory=list)
    """Another file stands at the path, or none, or it is shorter: `recognise` has to see it."""
    touched: list[Stream] = field(default_factory=list)
    """Streams whose facts changed."""
    directories: list[str] = field(default_factory=list)


class Survey:
    """Looks at places and keeps the streams' facts."""

    def __init__(self, tools: Tools, catalog: Catalog) -> None:
        self._tools = tools
        self._catalog = catalog
        self.swept = False
        """True once everything was looked at: what is new from then on has appeared, and grows."""
        self.refused: dict[str, RefusedError] = {}
        """Matching entries that are no regular file, by stream name."""

    def relevant(self, path: str) -> bool:
        """True when the entry at `path`, below the watched directory, can be a stream."""
        leaf = path.rpartition("/")[2]
        return self._catalog.config.files.selects(path) and not names.is_part(leaf) and not _own_segment(leaf)

    def list(self, place: Place) -> Looked:
        """Look at everything in a place."""
        looked = Looked(self._tools.clock.monotonic())
        seen: set[str] = set()
        with place.home.entries() as entries:
            for entry in entries:
                name = place.stream_name(entry.name)
                if entry.is_dir(follow_symlinks=False):
                    looked.directories.append(entry.name)
                elif name in self._catalog.streams or self.relevant(name):
                    seen.add(name)
                    try:
                        self._see(place, entry.name, name, entry.stat(follow_symlinks=False), looked)
                    except FileNotFoundError:
                        seen.discard(name)
        for stream in self._catalog.streams.values():
            known = stream.facts.there or not stream.facts.looked  # what left while no agent ran is missed, too
            if stream.place is place and stream.name not in seen and known:
                self._vanished(stream, looked)
        self.refused = {name: why for name, why in self.refused.items() if name in seen or not _in_place(name, place)}
        return looked

    def names(self, place: Place, leaves: Iterable[str]) -> Looked:
        """Look at these files."""
        looked = Looked(self._tools.clock.monotonic())
        for leaf in leaves:
            name = place.stream_name(leaf)
            if name not in self._catalog.streams and not self.relevant(name):
                continue
            try:
                info = place.home.stat(leaf)
            except FileNotFoundError:
                found = self._catalog.streams.get(name)
                if found and found.facts.there:
                    self._vanished(found, looked)
                self.refused.pop(name, None)
                continue
            if not stat.S_ISDIR(info.st_mode):
                self._see(place, leaf, name, info, looked)
        return looked

    def _see(self, place: Place, leaf: str, name: str, info: os.stat_result, looked: Looked) -> None:
        self._tools.metrics.looks.inc()
        reason = irregular(info)
        if reason:
            self._refuse(place, leaf, name, reason)
            return
        readmitted = self.refused.pop(name, None) is not None
        stream = self._catalog.streams.get(name)
        if stream is None:
            stream = self._catalog.stream(place, leaf)
            self._tools.audit.write("stream", stream=name, id=stream.id, size=info.st_size)
        elif not self._catalog.config.files.selects(name):
            self._leave_alone(place, leaf, stream, info, looked)
            return
        if stream.incarnation is None:
            # From its first sight on: what its writer truncates before the first seal is counted too.
            stream.incarnation = Incarnation(Identity(info.st_ino, None), base=stream.end, largest=info.st_size)
            self._tools.remember(stream)
        self._update(stream, info, looked)
        if readmitted:
            looked.touched.append(stream)

    def _leave_alone(self, place: Place, leaf: str, stream: Stream, info: os.stat_result, looked: Looked) -> None:
        """The configuration selects it no longer: only what was sealed, or captured, of it is ours still."""
        _take_in(stream.facts, info, looked.at)
        if stream.refused is None or stream.refused.reason != "excluded":
            stream.refused = refusal("excluded", os.path.join(place.home.path, leaf))
            self._tools.audit.write("refuse", stream=stream.name, reason="excluded", why=printable(str(stream.refused)))
            self._tools.changed(stream)
            looked.touched.append(stream)

    def _update(self, stream: Stream, info: os.stat_result, looked: Looked) -> None:
        facts, life, now = stream.facts, stream.incarnation, looked.at
        new = not facts.there
        grown = info.st_size - (facts.size if facts.there else (life.largest if life else 0))
        changed = new or info.st_size != facts.size
        suspect = life is not None and (info.st_ino != life.identity.inode or info.st_size < life.largest)
        if life is not None and life.sealed == life.known == 0 < life.base:
            suspect = suspect or info.st_size > 0  # how much of it was ever written is seen before it may be cut again
        unknown = life is not None and _unknown(life, info, facts.changed)
        if grown > 0:
            self._tools.metrics.appended_bytes.inc(grown)
        if changed:
            _smooth(facts, grown, now, appeared=new and self.swept)
            facts.grew = now
            looked.touched.append(stream)
            if not new or facts.looked:
                looked.grew.add(stream.leaf)
        _take_in(facts, info, now)
        if suspect:
            _note_successor(stream, info.st_ino)
            looked.suspects.append(stream)
            return
        if unknown:
            looked.suspects.append(stream)
        elif life is not None:
            life.largest = max(life.largest, facts.size)
        if self._note_since(stream, info, now) and not changed:
            looked.touched.append(stream)  # its time is known only now: it was recognised after it changed
        if changed and stream.refused and stream.refused.reason not in ("permission", "filesystem", "rewritten"):
            stream.refused = None
        if facts.status == info.st_ctime:
            return
        facts.status = info.st_ctime
        if stream.refused and stream.refused.reason in ("permission", "hardlink"):
            stream.refused = None  # somebody may have put it right
            looked.touched.append(stream)

    def _note_since(self, stream: Stream, info: os.stat_result, now: float) -> bool:
        """When the oldest unsealed byte was noticed; for a file that was there before us, its last change.

        True when it was noticed just now.
        """
        facts = stream.facts
        if stream.live_bytes <= 0:
            facts.since, facts.since_wall = None, 0.0
            return False
        if facts.since is None:
            wall = self._tools.clock.now()
            if not facts.since_wall:
                facts.since_wall = min(wall, info.st_mtime)
            facts.since = now - max(0.0, wall - facts.since_wall)
            return True
        return False

    def _vanished(self, stream: Stream, looked: Looked) -> None:
        stream.facts.there, stream.facts.looked = False, self._tools.clock.monotonic()
        looked.suspects.append(stream)

    def _refuse(self, place: Place, leaf: str, name: str, reason: str) -> None:
        if name not in self.refused or self.refused[name].reason != reason:
            self.refused[name] = refusal(reason, os.path.join(place.home.path, leaf))
            self._tools.audit.write("refuse", stream=name, reason=reason, why=printable(str(self.refused[name])))


def _take_in(facts: Facts, info: os.stat_result, now: float) -> None:
    """Remember what was seen. What is equal stays the object that it is: the life and the status share it."""
    if facts.begun is None or info.st_size < facts.begun_size:
        facts.begun, facts.begun_size = now, info.st_size
    facts.there, facts.looked = True, now
    if facts.size != info.st_size:
        facts.size = info.st_size
    if facts.allocated != info.st_blocks * 512:
        facts.allocated = info.st_blocks * 512
    if facts.changed != info.st_mtime:
        facts.changed = info.st_mtime


def _smooth(facts: Facts, grown: int, now: float, *, appeared: bool) -> None:
    """Follow the growth; a look after a long pause counts with its whole time, a new file as grown in a second."""
    elapsed = now - facts.looked if facts.looked else float(appeared)
    if elapsed > 0 and grown >= 0:
        rate = grown / elapsed
        facts.rate = rate if facts.rate == 0 else facts.rate + _SMOOTH * (rate - facts.rate)


def _unknown(life: Incarnation, info: os.stat_result, changed: float) -> bool:
    """True when only the guard tells whether this is still the file of which something is sealed.

    What is beyond S at a start may be another life's, whose positions begin at S; and a file may be emptied and
    refilled to just S.
    """
    begun = info.st_size > life.sealed and life.known == 0
    return life.sealed > 0 and (begun or (info.st_size == life.sealed and info.st_mtime != changed))


def _note_successor(stream: Stream, inode: int) -> None:
    """Another file stands at the path: should its writer rename it too before its turn, it is found by this."""
    life = stream.incarnation
    if life is None or inode in (life.identity.inode, *(one.inode for one in stream.successors)):
        return
    try:
        with Live.open(stream.place.home, stream.leaf) as live:
            stream.successors += (live.identity,)
    except (OSError, RefusedError):
        return


def _own_segment(leaf: str) -> bool:
    return leaf.endswith(".gz") and names.parse(leaf) is not None


def _in_place(name: str, place: Place) -> bool:
    return name.rpartition("/")[0] == place.relative
