"""A live file that left its path: renamed by its writer, or by us where the method is `rename`.

It is finished into its stream first, then the stream goes on with the file that stands at the path by then: positions
stay in order, nothing is sealed twice. Nobody may have it open any more when its end counts as its end.
"""

from __future__ import annotations

import os
from contextlib import suppress

from agent.kit import linux, log
from agent.kit.steps import reach
from agent.streams import names
from agent.streams.asides import in_the_way, line_up
from agent.streams.catalog import Stream
from agent.streams.incarnation import Incarnation
from agent.streams.live import Live, irregular
from agent.streams.position import Identity
from agent.streams.recognise import accept, begin, find_inode, open_live, recognise
from agent.streams.seal import Sealer
from agent.streams.tombs import Tombs
from agent.streams.tools import Tools

_log = log.get("engine")

IDLE = 10.0
"""Seconds without growth after which a renamed file counts as finished although somebody has it open."""

LONG_IDLE = 60.0
"""The same where a lease says nothing about other machines, or where the last line has no end yet."""


class Departures:
    """Finishes files that left their path; one thread uses it."""

    def __init__(self, tools: Tools, sealer: Sealer, tombs: Tombs) -> None:
        self._tools = tools
        self._sealer = sealer
        self._tombs = tombs
        self._quiet: dict[Stream, tuple[int, float]] = {}
        """Size of a departed file, and the monotonic time since when it has it."""
        self._told: set[Stream] = set()
        """Those of which it was told that their writers don't let go."""

    def rename_away(self, stream: Stream) -> bool:
        """Method `rename`: move the live file aside; its writer has to reopen. Raises OSError, RefusedError.

        False where nothing in it tells yet that it is a log: somebody's document stays where it is.
        """
        home, aside = stream.place.home, names.aside_name(stream.leaf)
        with open_live(stream) as live:
            if recognise(self._tools, stream, live) == "other_file" and stream.departed:
                return True  # its writer was faster: the old file is finished first
            if not self._a_log(stream, live):
                return False
            try:
                home.displace(stream.leaf, aside)
            except FileExistsError:
                raise in_the_way(stream.place, aside) from None
            reach("tomb.renamed")
            moved = home.stat(aside)
            if moved.st_ino != live.identity.inode:  # it is open: no other file can have its inode
                self._unknown(stream, aside, moved)
                return True
        stream.departed = aside
        stream.facts.grew = self._tools.clock.monotonic()
        self._tools.audit.write("tomb", stream=stream.name, reason="renamed aside", file=aside)
        return True

    def _a_log(self, stream: Stream, live: Live) -> bool:
        """True for one of which something was sealed, or can be. Raises RefusedError for what is none."""
        if stream.incarnation and stream.incarnation.sealed:
            return True
        first = live.first_byte(0, self._tools.breathe)
        return first is not None and accept(stream, live, first)

    def _unknown(self, stream: Stream, aside: str, moved: os.stat_result) -> None:
        """The writer was faster than the renaming, which took the file that came next: that one's turn comes later."""
        self._tools.audit.write("tomb", stream=stream.name, reason="not the file that was looked at", file=aside)
        with suppress(OSError):  # yet another one stands at the path, or it cannot be undone
            stream.place.home.publish(aside, stream.leaf)
            return
        if irregular(moved) or not line_up(self._tools, stream, aside, Identity(moved.st_ino, None)):
            raise in_the_way(stream.place, aside)

    def gone(self, stream: Stream) -> None:
        """Nothing stands at the path: the file was renamed and is finished first, or it was deleted."""
        life = stream.incarnation
        if life is None or life.identity.inode == 0:
            return
        name = find_inode(stream.place.home, life.identity)
        if name == stream.leaf:
            return  # it came back meanwhile
        if name:
            stream.departed = name
        elif not self._next_departed(stream):
            begin(self._tools, stream, Identity(0, None), "deleted")

    def finish(self, stream: Stream) -> bool:
        """Seal the rest of a departed file once nobody writes to it; True when the stream goes on without it."""
        life = stream.incarnation
        if life is None:
            return False
        ours = stream.departed is not None and names.is_aside(stream.departed)
        try:
            written = self._written(stream) if ours else False
            with open_live(stream, update=True) as live:
                if recognise(self._tools, stream, live) != "same":
                    return False  # emptied before it was renamed: its new life is found under its new name
                idle = self._idle(stream, live.size())
                local = stream.place.filesystem in linux.LOCAL
                held = local and linux.take_write_lease(live.fd)
                if self._tombs.holds(stream):
                    if not self._drained(stream, live, held=held):
                        return False
                    self._follow(stream)
                    return True
                ended = live.size() <= life.sealed or live.read(live.size() - 1, 1) == b"\n"
                if not held and idle < (IDLE if local and ended and written is not None else LONG_IDLE):
                    return False
                if written:
                    self._tell_written(stream)
                    return False
                self._seal_rest(stream, live)
                if stream.incarnation is not life:
                    return False  # emptied meanwhile: its new life comes next
                if stream.facts.nul_since is not None:
                    return False  # NULs stand before its last records, which a writer may still fill (attack C9)
                left = self._left(stream, live, life)
                if ours and stream.departed:
                    if left:
                        return False
                    stream.place.settle()
                    stream.place.home.remove(stream.departed)
                    stream.place.removed = True
                    reach("tomb.removed")
        except FileNotFoundError:
            pass
        self._follow(stream)
        return True

    def _written(self, stream: Stream) -> bool | None:
        """True when a writer still has the file open, however long it rests: nobody would read what it adds later.

        None where nobody can tell.
        """
        if stream.place.filesystem not in linux.LOCAL:
            return None
        with open_live(stream) as live:
            return linux.has_writers(live.fd)

    def _tell_written(self, stream: Stream) -> None:
        if stream not in self._told:
            self._told.add(stream)
            why = "a program still has it open for writing: let rotation.post tell it to open its file again"
            self._tools.audit.write("tomb", stream=stream.name, reason="kept", file=stream.departed, why=why)
            _log.warning("a renamed file is kept", stream=stream.name, hint=why)

    def _drained(self, stream: Stream, live: Live, *, held: bool) -> bool:
        """True when the tomb is empty and gone; else it waits, or the file is back at its path."""
        life = stream.incarnation
        if life is None or ((not held or live.size() > life.sealed) and self._tombs.give_back(stream)):
            return False
        if not held:
            return False
        self._seal_rest(stream, live)
        return live.size() == life.sealed and self._tombs.remove(stream, live.size())

    def _seal_rest(self, stream: Stream, live: Live) -> None:
        life = stream.incarnation
        while life and live.size() > life.sealed and self._sealer.seal_open(stream, live, "rename", whole=True):
            pass

    def _left(self, stream: Stream, live: Live, life: Incarnation) -> bool:
        """True where the file is not just what was sealed of it.

        One that was allocated ahead ends in NULs that nobody will fill any more: they are no rest, and no loss.
        """
        if live.size() <= life.sealed or live.first_byte(life.sealed, self._tools.breathe) is not None:
            return live.size() != life.sealed
        life.largest = life.known = life.sealed
        self._tools.remember(stream)  # before the file goes: a start could not tell any more
        return False

    def _idle(self, stream: Stream, size: int) -> float:
        """Seconds since the departed file grew; the facts are those of the file at the path (attack H6)."""
        now = self._tools.clock.monotonic()
        before, since = self._quiet.get(stream, (-1, now))
        self._quiet[stream] = (size, since if size == before else now)
        return now - self._quiet[stream][1]

    def _follow(self, stream: Stream) -> None:
        """Go on with the file that came next: it stands at the path, or was renamed as well meanwhile."""
        stream.departed = None
        stream.not_before, stream.fruitless = 0.0, 0
        self._quiet.pop(stream, None)
        self._told.discard(stream)
        if self._next_departed(stream):
            return
        try:
            with open_live(stream) as live:
                begin(self._tools, stream, live.identity, "replaced", live.size(), live=live)
                stream.facts.size = live.size()
        except FileNotFoundError:
            begin(self._tools, stream, Identity(0, None), "renamed")

    def _next_departed(self, stream: Stream) -> bool:
        """Begin with the first of the files that wait and are not at the path; False when there is none."""
        while stream.successors:
            identity, *waiting = stream.successors
            stream.successors = tuple(waiting)
            name = find_inode(stream.place.home, identity)
            if name and name != stream.leaf:
                begin(self._tools, stream, identity, "replaced")
                stream.departed, stream.successors = name, tuple(waiting)
                return True
        return False
