"""Releasing: sealed bytes' disk space goes back without disturbing the writer.

A piece is punched only right after its live bytes were compared with the segment once more; whatever differs stays.
Bytes below S that no segment has any more (a counted gap, a segment that somebody removed) go with their neighbours.
Those that a damaged segment cannot be compared with stay, and hold up nothing: they may be the only good copy.
Every action is idempotent, so a release that was interrupted is simply done again. Whole blocks below floor(S)
only: the guard is never punched, except in a reset, where nobody has the file open and it becomes empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from agent.kit import disk, linux, log
from agent.kit.errors import CorruptError, printable
from agent.kit.steps import reach
from agent.streams.catalog import Stream
from agent.streams.incarnation import Incarnation, equal_or_nul
from agent.streams.live import SCRATCH, Live
from agent.streams.member import Member
from agent.streams.recognise import begin, open_live, recognise
from agent.streams.seal import Sealer
from agent.streams.segment import Segment, SegmentReader
from agent.streams.tools import Tools

_log = log.get("engine")

PIECE = 8 << 20
"""Most bytes punched by one call: a larger hole stalls the writer for tens of milliseconds (measured on ext4)."""

RESET_REST = 256 << 10
"""Most unsealed bytes that are sealed while openers wait for our lease."""

UNTERMINATED_IDLE = 60.0
"""Seconds without growth after which a last line without its end counts as a record."""

RESET_EVERY = 1.0
"""Seconds between two lease tests of one stream: an opener waits while a lease is held."""

RESET_BACKOFF = 30.0
"""Seconds until the next lease test after somebody had the file open."""


@dataclass(slots=True)
class Piece:
    """Neighbouring members, of one segment or of several, that were compared and are punched together."""

    start: int = 0
    """First physical offset."""
    end: int = 0
    """Physical offset after the last byte."""
    whole: int = 0
    """How many of the pending segments end within it."""
    removed: set[str] = field(default_factory=set)
    """Those of them that somebody took away."""

    @property
    def length(self) -> int:
        """Bytes from its first to its last."""
        return self.end - self.start

    def add(self, one: Member | Unreadable) -> None:
        """Let it reach over the next member."""
        if not self.length:
            self.start = one.physical
        self.end = one.physical + one.length


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Where a member lies in the live file whose header is damaged."""

    physical: int
    length: int
    error: CorruptError


class Releaser:
    """Gives sealed space back; one thread uses it."""

    def __init__(self, tools: Tools, sealer: Sealer) -> None:
        self._tools = tools
        self._sealer = sealer
        self._scratch = memoryview(bytearray(SCRATCH))

    def release(self, stream: Stream, budget: int) -> int:
        """Compare and punch up to about `budget` bytes of what is pending; how many bytes were handled.

        Raises RefusedError without write permission, BlockingIOError while a lease is held, OSError.
        """
        done = 0
        stream.place.settle()
        with open_live(stream, update=True) as live:
            if recognise(self._tools, stream, live) != "same":
                return 0
            while stream.pending and done < budget:
                piece = self._compared(stream, live)
                if piece is None or not self._punched(stream, live, piece):
                    break
                done += piece.length
                ended, stream.pending = stream.pending[: piece.whole], stream.pending[piece.whole :]
                for one in ended:
                    self._finished(stream, one, "segment removed" if one.name in piece.removed else "sealed")
            self._mark(stream, live)
            stream.facts.allocated = live.allocated()
        return done

    def _compared(self, stream: Stream, live: Live) -> Piece | None:
        """The next piece, whose live bytes are those that were sealed; None where they differ.

        It reaches over as many segments as it has room for: each punch makes the writer wait, a large one no longer
        than a small one.
        """
        life = stream.incarnation
        assert life is not None  # noqa: S101 - recognise has said "same"
        piece, floor = Piece(), live.floor(life.sealed)
        for one in stream.pending:
            self._tools.breathe()
            try:
                opened = SegmentReader(one)
            except FileNotFoundError:
                # Whoever moved it away has these bytes; there is nothing left that they could be compared with.
                self._tools.audit.write("error", stream=stream.name, reason="segment removed", segment=one.name)
                piece.whole += 1
                piece.removed.add(one.name)
                continue
            with opened as reader:
                for member in _members(reader, one.base + max(life.compared, one.source.start)):
                    if piece.length and member.physical + member.length - piece.start > PIECE:
                        return piece
                    try:
                        unchanged = _unchanged(live, reader, member, floor, self._scratch)
                    except CorruptError as error:
                        if piece.length:
                            return piece  # the next one begins with what stays
                        self._spare(stream, life, one, member, error)
                        continue
                    if not unchanged:
                        if piece.length:
                            return piece  # the next one begins with what differs
                        self._differs(stream, life, member)
                        return None
                    piece.add(member)
            piece.whole += 1
        return piece

    def _differs(self, stream: Stream, life: Incarnation, member: Member | Unreadable) -> None:
        """The writer truncated and wrote again, or writes over sealed bytes; the next look decides which."""
        physical = [member.physical, member.physical + member.length]
        self._tools.audit.write("error", stream=stream.name, reason="release_mismatch", physical=physical)
        stream.pending = ()
        life.clean = False

    def _spare(
        self, stream: Stream, life: Incarnation, one: Segment, member: Member | Unreadable, error: CorruptError
    ) -> None:
        """What is sealed of these bytes cannot be read: the live file may hold the only good copy, and keeps it."""
        life.spared = life.compared = member.physical + member.length
        physical, why = [member.physical, life.spared], printable(str(error))
        self._tools.audit.write(
            "error", stream=stream.name, reason="segment damaged", segment=one.name, physical=physical, why=why
        )
        _log.error("a segment is damaged; the live file keeps its bytes", stream=stream.name, error=error)

    def _punched(self, stream: Stream, live: Live, piece: Piece) -> bool:
        """Give the piece's blocks back; False where the writer truncated meanwhile."""
        life = stream.incarnation
        assert life is not None  # noqa: S101 - recognise has said "same"
        if not piece.length:
            return True
        reach("release.compared")
        start = _punch_from(life, piece, live.block)
        end = min(piece.end // live.block * live.block, live.floor(life.sealed))
        disk.punch(live.fd, start, end)
        reach("release.punched")
        if live.size() < life.sealed:
            # Truncated between the comparison and the punch: at most this piece of what came after is gone.
            at_most = max(0, min(live.size(), end) - start)
            self._tools.audit.write(
                "release",
                stream=stream.name,
                reason="window",
                physical=[start, end],
                positions=[max(0, life.base + start), max(0, life.base + end)],
                bytes=max(0, end - start),
                at_most=at_most,
            )
            begin(self._tools, stream, live.identity, "shrunk", live.size(), live=live)
            return False
        life.compared = piece.end
        gained = end - (start if life.spared else life.released)
        if gained > 0:
            self._tools.metrics.releases.inc()
            self._tools.metrics.released_bytes.inc(gained)
            life.released = life.released if life.spared else end
        return True

    def _finished(self, stream: Stream, one: Segment, reason: str) -> None:
        reach("release.done")
        if one.open:
            return  # told once, with the segment that it becomes
        self._tools.audit.write(
            "release",
            stream=stream.name,
            reason=reason,
            segment=one.name,
            physical=[one.source.start, one.source.end],
            positions=[one.extent.start, one.extent.end],
            bytes=one.extent.length,
        )

    def _mark(self, stream: Stream, live: Live) -> None:
        """When nothing is pending any more, everything below `released` is a hole that this boot made."""
        life = stream.incarnation
        if life is not None and not stream.pending and not life.clean and life.identity.same_file(live.identity):
            life.clean = True
            life.guard_may_be_gone = live.read(life.sealed - len(life.guard), len(life.guard)) != life.guard
            self._tools.remember(stream)

    # -- copytruncate

    def cut(self, stream: Stream) -> int:
        """Method `copytruncate`: empty a file that was just sealed. What came since is lost, and counted.

        What a writer adds between the last look at the size and the truncation cannot be counted: the count is a
        lower bound, and that is why the method must be asked for by name.
        """
        life = stream.incarnation
        if life is None or stream.departed:
            return 0
        stream.place.settle()
        with open_live(stream, update=True) as live:
            if recognise(self._tools, stream, live) != "same":
                return 0
            size = live.size()
            disk.truncate(live.fd, 0)
            reach("reset.truncated")
            life.largest = max(life.largest, size)
            stream.pending = ()
            begin(self._tools, stream, live.identity, "copytruncate")
            stream.facts.size = stream.facts.allocated = 0
        self._tools.metrics.released_bytes.inc(size)
        return size

    # -- reset

    def reset(self, stream: Stream) -> bool:
        """Set the live file back to size 0 when nobody has it open (attack C1); True when that was done.

        Under the write lease an opener waits, so nothing can be written between the seal of the rest and the
        truncation; it then sees an empty file of the same inode, owner and mode.
        """
        life, now = stream.incarnation, self._tools.clock.monotonic()
        if life is None or life.sealed == 0 or stream.pending or now < stream.next_reset or stream.departed:
            return False
        if life.spared:
            return False  # bytes that no segment can give back are in it
        if stream.open_part:
            return False  # a reset ends the life, and with it the part: not before the next rotation
        if stream.place.filesystem not in linux.LOCAL:
            return False
        stream.next_reset = now + RESET_EVERY
        stream.place.settle()
        with open_live(stream, update=True) as live:
            if recognise(self._tools, stream, live) != "same" or live.size() - life.sealed > RESET_REST:
                return False
            if not linux.take_write_lease(live.fd):
                stream.next_reset = now + RESET_BACKOFF
                return False
            try:
                reach("reset.leased")
                return self._reset_leased(stream, live, life)
            finally:
                linux.drop_lease(live.fd)
                reach("reset.dropped")

    def _reset_leased(self, stream: Stream, live: Live, life: Incarnation) -> bool:
        if live.size() > life.sealed and not self._seal_rest(stream, live):
            return False
        reach("reset.sealed")
        if stream.incarnation is not life or live.size() != life.sealed:
            return False
        sealed = life.sealed
        self._tools.remember(stream, resetting=True)
        reach("reset.hinted")
        life.guard_may_be_gone = True
        disk.punch(live.fd, 0, sealed)
        reach("reset.punched")
        if not linux.holds_write_lease(live.fd):
            # Somebody opens it right now: leave the holes, the guard is known to be gone.
            life.released = live.floor(sealed)
            stream.pending = ()
            return False
        disk.truncate(live.fd, 0)
        reach("reset.truncated")
        stream.pending = ()
        stream.incarnation = life.next(live.identity)
        stream.facts.size = stream.facts.allocated = 0
        stream.synced = 0
        self._tools.metrics.resets.inc()
        self._tools.metrics.released_bytes.inc(max(0, sealed - life.released))
        self._tools.audit.write(
            "reset",
            stream=stream.name,
            base=stream.incarnation.base,
            physical=[0, sealed],
            positions=[max(0, life.base), life.base + sealed],
            bytes=sealed,
        )
        self._tools.remember(stream)
        self._tools.changed(stream)
        return True

    def _seal_rest(self, stream: Stream, live: Live) -> bool:
        """Seal the short rest through the leased descriptor; an unterminated line only after a long idle time."""
        ended = live.read(live.size() - 1, 1) == b"\n"
        idle = self._tools.clock.monotonic() - stream.facts.grew
        if not ended and idle < UNTERMINATED_IDLE:
            return False
        return self._sealer.seal_open(stream, live, "reset", whole=not ended) is not None


def _punch_from(life: Incarnation, piece: Piece, block: int) -> int:
    """Where the hole of a piece begins: bytes before it that no segment has go with it, those that are spared don't."""
    if life.spared:
        return max(-(-life.spared // block) * block, piece.start // block * block)
    return min(life.released, piece.start) // block * block


def _members(reader: SegmentReader, position: int) -> Iterator[Member | Unreadable]:
    """The members from the one that holds `position` on; a damaged header hides none but its own."""
    one, end = reader.segment, position
    while end < one.extent.end:
        try:
            for member in reader.members(end):
                yield member
                end = member.position + member.length
            return
        except CorruptError as error:
            start = end if error.position is None else error.position
            end = min((at for at in reader.starts() if at > start), default=one.extent.end)
            yield Unreadable(start - one.base, end - start, error)


def _unchanged(live: Live, reader: SegmentReader, one: Member | Unreadable, floor: int, scratch: memoryview) -> bool:
    """True when every live byte of the member equals what was sealed, or is NUL because it was punched before.

    Raises CorruptError where neither is so and the segment cannot tell what was sealed.
    """
    if isinstance(one, Member) and live.crc(one.physical, one.length, scratch) == one.crc:
        return True
    there = live.read(one.physical, one.length)
    if len(there) != one.length:
        return False
    if not there[: max(0, floor - one.physical)].strip(b"\0"):
        return True  # a hole needs no segment to be told from data, so a damaged old one stops nothing
    if isinstance(one, Unreadable):
        raise one.error
    return equal_or_nul(there, reader.content(one))
