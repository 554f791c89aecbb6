"""Removing live files that have long been empty and unopened, where that is asked for (`rotation.unlink_idle`).

A writer may have resolved the path just before it goes, and open it just after: what it then writes would be lost with
the file (attack C1). So the file is renamed first, to a tomb, and removed only when two lease tests a grace apart say
that nobody has it open, at unchanged size. Whoever came in between gets the file back at its path; where another one
stands there by then, the tomb is finished into the stream first, as any renamed file is.
"""

from __future__ import annotations

from agent.kit import linux
from agent.kit.steps import reach
from agent.streams.catalog import Stream
from agent.streams.names import shortened
from agent.streams.recognise import open_live, recognise
from agent.streams.release import RESET_BACKOFF
from agent.streams.tools import Tools

GRACE = 10.0
"""Seconds between the two lease tests: an open() that had resolved the path is over by then."""

_MARK = ".tomb"


class Tombs:
    """Buries, and removes what stayed quiet; one thread uses it."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._quiet: dict[Stream, tuple[int, float]] = {}
        """The tomb's size at the last lease that was granted, and since when it was so."""

    def due(self, stream: Stream) -> bool:
        """True for a live file that has been empty for long, as far as the last look tells."""
        return not stream.facts.size and self._rests(stream)

    def wants_reset(self, stream: Stream) -> bool:
        """True for one whose bytes have long been sealed: while somebody had it open it could not be emptied."""
        return stream.facts.size > 0 and stream.live_bytes == 0 and self._rests(stream)

    def _rests(self, stream: Stream) -> bool:
        facts, idle, now = stream.facts, stream.rotation.unlink_idle, self._tools.clock.monotonic()
        if idle is None or not facts.there or stream.refused or stream.departed:
            return False
        if stream.pending or stream.open_part or stream.place.filesystem not in linux.LOCAL:
            return False
        return now - facts.grew >= idle and now >= stream.next_reset

    def bury(self, stream: Stream) -> bool:
        """Rename the empty file to a tomb, unless somebody has it open; True when that was done. Raises OSError."""
        with open_live(stream, update=True) as live:
            if recognise(self._tools, stream, live) != "same" or live.size():
                return False
            stream.next_reset = self._tools.clock.monotonic() + RESET_BACKOFF
            if not linux.take_write_lease(live.fd):
                return False
            try:
                tomb = f".{shortened(stream.leaf)}{_MARK}"
                stream.place.home.displace(stream.leaf, tomb)
                reach("tomb.renamed")
            finally:
                linux.drop_lease(live.fd)
        stream.departed = tomb
        self._tools.audit.write("tomb", stream=stream.name, reason="empty and unopened", file=tomb)
        return True

    def holds(self, stream: Stream) -> bool:
        """True while the stream's old file lies in a tomb."""
        return stream.departed is not None and stream.departed.endswith(_MARK)

    def give_back(self, stream: Stream) -> bool:
        """Somebody came in between: the file goes back to its path; False when another one stands there."""
        assert stream.departed is not None  # noqa: S101 - `holds` was asked
        self._quiet.pop(stream, None)
        try:
            stream.place.home.publish(stream.departed, stream.leaf)
        except FileExistsError:
            return False
        stream.departed = None
        return True

    def remove(self, stream: Stream, size: int) -> bool:
        """The write lease was granted, and all `size` bytes are sealed: remove the tomb if it was so a grace ago."""
        assert stream.departed is not None  # noqa: S101 - `holds` was asked
        now = self._tools.clock.monotonic()
        before, since = self._quiet.get(stream, (-1, now))
        if before != size:
            self._quiet[stream] = (size, now)
            return False
        if now - since < GRACE:
            return False
        reach("tomb.drained")
        stream.place.home.remove(stream.departed)
        reach("tomb.removed")
        del self._quiet[stream]
        self._tools.audit.write("tomb", stream=stream.name, reason="removed", file=stream.departed)
        return True
