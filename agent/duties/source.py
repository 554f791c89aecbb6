"""Where a consumer gets its batches from: which stream is next, from which position, how much of it.

Invariants: the bounds of a batch that was under way at the last end are read again exactly, before anything new of its
stream; batches of a stream begin in order and leave nothing out but what cannot be read, which is told. Steps of one
thread at a time, but for `notice`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from operator import itemgetter

from agent.config import Forward
from agent.duties.parcel import Parcel, Records, Refused, beginning, cut, lines, pack
from agent.kit.errors import AgentError, CorruptError, printable
from agent.otlp.process import Chain
from agent.streams import reader
from agent.streams.cursors import Bounds, Cursors
from agent.streams.reader import Run
from agent.streams.views import View, Views

MEMBER = 1 << 20
"""Segments are read by the member, of about this size: a batch of one is asked for with so much room at its end."""

IN_A_ROW = 16
"""Batches of a stream, at most, that go before others because they were read with the one before."""

AGAIN = 2.0
"""Seconds until a stream that could not be read is tried again, unless it grows."""


class Source:
    """Reads for one consumer. `ceiling`: bytes of the longest record, and batch, that memory will ever allow.

    `skipped(view, start, count, why)` is told of bytes that cannot be read, `corrupt(error)` of a cursor that is wrong.
    """

    def __init__(
        self, forward: Forward, views: Views, cursors: Cursors,
        skipped: Callable[[View, int, int, str], None], corrupt: Callable[[CorruptError], None],
        ceiling: int, process: Chain | None = None,
    ) -> None:  # fmt: skip
        self._forward = forward
        self._process = process
        self._ceiling = ceiling
        self._max_record = min(ceiling, forward.max_record)
        self._most = 0
        self._turn = ""
        """The stream that is waiting for what it wants: nobody goes before it."""
        self.wanted = 0
        """Bytes that must be allowed before that stream can go on; 0: nothing in particular."""
        self._views = views
        self._cursors = cursors
        self._skipped = skipped
        self._corrupt = corrupt
        self._fresh: dict[str, float] = {}
        """Streams with something to read, and since when that is known; any thread may add."""
        self._later: dict[str, float] = {}
        """Streams that could not be read for now, and when to try again."""
        self._met: set[str] = set()
        self._resend: dict[str, deque[Bounds]] = {}
        self._rest: tuple[str, int, bytes] | None = None
        """Records read and not yet taken: stream id, position, bytes."""
        self._row = ("", 0)
        """Whose the last batches were, and how many in a row."""
        self.unread: dict[str, tuple[str, Exception]] = {}
        """Streams that cannot be read: name and reason by id. Each is tried again, and holds up no other."""
        self._skip_old = not cursors.known and forward.start == "latest"
        self._old: frozenset[str] | None = None
        self._now = 0.0

    def notice(self, view: View, now: float) -> bool:
        """A stream changed. True when that is news; from any thread."""
        if view.stream_id in self._fresh or not self._forward.selects(view.name):
            return False
        self._fresh[view.stream_id] = now
        return True

    def reset(self, view: View) -> None:
        """Go on from where the cursor was set."""
        self._resend.pop(view.stream_id, None)
        self._rest = None
        self.wanted = 0
        self._met.add(view.stream_id)

    def find(self, now: float, most: int) -> tuple[Parcel | None, float | None]:
        """The next batch, begun, of at most `most` bytes; or the time at which one may be due, None: nothing waits.

        Where what comes next is longer and cannot be divided, `wanted` says how long it is.
        """
        due: float | None = None
        self._now = now
        self._most, self.wanted = most, 0
        if not self._views.ready:
            return None, None
        if self._old is None:
            self._begin()
        self._try_again(now)
        for stream_id, since in sorted(self._fresh.items(), key=self._order):
            # Out before its view is looked at: what grows from now on is news again.
            self._fresh.pop(stream_id, None)
            view = self._views.get(stream_id)
            if view is None or (view.document and not view.segments):
                self.unread.pop(stream_id, None)
                continue
            try:
                position = self._meet(view)
                at = since + float(self._forward.batch.max_delay)
                enough = view.readable - position >= self._forward.batch.max_bytes or stream_id in self._resend
                enough = enough or self._has_rest(stream_id)
                if not enough and now < at:
                    due = at if due is None else min(due, at)
                    self._fresh[stream_id] = since
                    continue
                parcel = self._take(view, position)
            except (OSError, AgentError) as error:
                self._later[stream_id] = now + AGAIN
                self.unread[stream_id] = printable(view.name), error
                continue
            self._later.pop(stream_id, None)
            self.unread.pop(stream_id, None)
            self._turn = stream_id if self.wanted else ""
            if self.wanted:
                self._fresh.setdefault(stream_id, 0.0)
                return None, now
            if parcel is not None:
                self._row = (stream_id, self._row[1] + 1 if self._row[0] == stream_id else 1)
                self._fresh.setdefault(stream_id, now)
                return parcel, None
            if view.readable > position or stream_id in self._resend:
                # Half a record, or a file that is leased for a moment: growth is noticed, the end of a lease is not.
                self._later[stream_id] = now + AGAIN
        times = [*([] if due is None else [due]), *self._later.values()]
        return None, min(times, default=None)

    def _begin(self) -> None:
        """Note where every stream of a first run begins, in one save, before anything is read."""
        old = [view for view in self._views.all() if self._forward.selects(view.name)] if self._skip_old else []
        self._old = frozenset(view.stream_id for view in old)
        for view in old:
            self._meet(view)
        self._cursors.remember()

    def _order(self, one: tuple[str, float]) -> tuple[bool, bool]:
        """Who waits for memory first, then the stream of which more was read than was taken: it is not read twice."""
        return one[0] != self._turn, not self._has_rest(one[0]) or self._row[1] >= IN_A_ROW

    def _has_rest(self, stream_id: str) -> bool:
        return self._rest is not None and self._rest[0] == stream_id

    def _try_again(self, now: float) -> None:
        for stream_id in [one for one, at in self._later.items() if at <= now]:
            del self._later[stream_id]
            self._fresh.setdefault(stream_id, 0.0)

    def _meet(self, view: View) -> int:
        """The position at which the next batch begins; on the first meeting the cursor is looked at."""
        known = self._cursors.get(view.stream_id)
        if view.stream_id not in self._met:
            if known is None:
                self._cursors.reset(view.name, view.stream_id, self._first(view))
            elif error := self._cursors.confine(view.stream_id, view.end):
                self._corrupt(error)
            known = self._cursors.get(view.stream_id)
            unsettled = deque(one for one in known.inflight if not one.settled) if known else deque()
            if unsettled:
                self._resend[view.stream_id] = unsettled
            self._met.add(view.stream_id)
        if known is None:
            return 0
        return known.inflight[-1].end if known.inflight else known.position

    def _first(self, view: View) -> int:
        if view.stream_id in (self._old or ()):
            end = max(view.sealed, view.end)
            with suppress(OSError, CorruptError):
                end = reader.record_start(view, end)
            return end
        for one in view.damaged:
            # Behind the first kept record the reader finds these gaps itself.
            if one.start < view.first:
                self._skipped(view, one.start, min(one.end, view.first) - one.start, "damaged: no readable index")
        return view.first

    def _take(self, view: View, position: int) -> Parcel | None:
        if waiting := self._resend.get(view.stream_id):
            size = waiting[0].end - waiting[0].start
            if size > self._ceiling:
                if self._under_way(view) != waiting[0]:
                    # The cursor may pass no batch that is still under way.
                    self._fresh.setdefault(view.stream_id, self._now)
                    return None
                # Memory was larger when this batch was made. It is sent again, but not as the same batch.
                del self._resend[view.stream_id]
                self._cursors.reset(view.name, view.stream_id, waiting[0].start)
                return self._take(view, waiting[0].start)
            if self._lacks(size):
                return None
            found = self._again(view, waiting[0])
            if found is not None:
                waiting.popleft()
                if not waiting:
                    del self._resend[view.stream_id]
            return found
        position, run = self._go_on(view, position)
        if run is None:
            return None
        taken, refused = self._records(run)
        end = run.end
        if not run.cut:
            taken = self._fitting(run, taken)
            end = taken.bounds[1]
            if len(taken.lines) == 1 and self._lacks(end - run.start):
                return None  # what waits for memory takes none: it is read again
        if run.skipped:
            self._skipped(view, position, run.skipped, run.why)
        if end < run.end:
            self._rest = (view.stream_id, end, run.read[end - run.start : run.end - run.start])
        parcel = self._pack(view, run.start, end, taken, refused)
        self._cursors.begin(view.name, view.stream_id, run.start, end)
        return parcel

    def _under_way(self, view: View) -> Bounds | None:
        """The first batch that the cursor waits for."""
        known = self._cursors.get(view.stream_id)
        return known.inflight[0] if known and known.inflight else None

    def _fitting(self, run: Run, found: Records) -> Records:
        """As much of what was read as fits into a batch."""
        taken = cut(found, min(self._most, self._forward.batch.max_bytes), self._forward.batch.max_records)
        size = taken.bounds[1] - run.start
        # A small batch must not keep in memory, for as long as it is under way, all that was read beside it.
        return lines(run.start, run.read[:size]) if 2 * size < len(run.read) else taken

    def _lacks(self, size: int) -> bool:
        """True when so many bytes, which cannot be divided, must be allowed first."""
        if size <= self._most:
            return False
        self.wanted = size
        return True

    def _go_on(self, view: View, position: int) -> tuple[int, Run | None]:
        """What can be read next, and from where, behind what cannot be; None: nothing for now."""
        run = self._read(view, position)
        while run is not None and run.skipped and not run.read:
            if not self._pass(view, position, run):
                return position, None
            position = run.end
            run = self._read(view, position)
        return position, run

    def _pass(self, view: View, position: int, run: Run) -> bool:
        """Nothing is left to read up to there. The cursor follows at once, or when the batches before are settled."""
        if self._under_way(view):
            self._fresh.setdefault(view.stream_id, self._now)
            return False
        self._skipped(view, position, run.skipped, run.why)
        self._cursors.reset(view.name, view.stream_id, run.end)
        return True

    def _again(self, view: View, bounds: Bounds) -> Parcel | None:
        """The batch with exactly these bounds, as far as it can still be read."""
        records, places, refused = list[bytes](), list[tuple[int, int]](), list[Refused]()
        at = bounds.start
        while at < bounds.end:
            run = self._read(view, at, bounds.end - at)
            if run is None:
                return None
            if run.skipped:
                self._skipped(view, at, min(run.skipped, bounds.end - at), run.why)
            found, long = self._records(run)
            count = bisect_left(found.places, bounds.end, key=itemgetter(0))
            records += found.lines[:count]
            places += found.places[:count]
            refused += [one for one in long if one.start < bounds.end]
            at = run.end
        return self._pack(view, bounds.start, bounds.end, Records(records, places), refused)

    def _records(self, run: Run) -> tuple[Records, list[Refused]]:
        if run.cut:
            return Records([], []), [beginning(run.start, run.end, run.data, self._max_record)]
        return lines(run.start, run.read, run.end), []

    def _read(self, view: View, position: int, size: int = 0) -> Run | None:
        rest, self._rest = self._rest, None
        if rest is not None and rest[:2] == (view.stream_id, position):
            return Run(position, position + len(rest[2]), rest[2])
        room = MEMBER if position < view.sealed else 0
        limit = size or max(1, min(self._most, self._forward.batch.max_bytes) - room)
        return reader.read(view, position, lambda: self._views.get(view.stream_id) or view, limit,
                           self._max_record)  # fmt: skip

    def _pack(self, view: View, start: int, end: int, records: Records, refused: list[Refused]) -> Parcel:
        otlp = self._forward.kind == "otlp"
        return pack(view.name, view.stream_id, records, start, end, otlp=otlp, max_record=self._max_record,
                    process=self._process, refused=refused)  # fmt: skip
