"""Every stream the agent knows, with its segments in order: the one truth for sealing, retention and status.

Only the keeper's thread changes a catalogue. Order and extent come from the indexes inside the segments.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from agent.config import Config, Retention, Rotation
from agent.kit import log
from agent.kit.disk import Directory
from agent.kit.errors import RefusedError, UnknownError, printable
from agent.streams import names, segment
from agent.streams.incarnation import Incarnation
from agent.streams.position import Extent, Identity
from agent.streams.segment import Segment
from agent.streams.trouble import Trouble

_log = log.get("engine")

_NEVER = (float("-inf"), 0)


@dataclass(slots=True)
class Place:
    """A managed directory and where its segments go. `relative` is "" for the watched directory itself."""

    relative: str
    home: Directory
    archive: Directory
    filesystem: str = ""
    largest: int | None = None
    """The size that no file here can pass; None where that is not known (attack H5)."""
    unsynced: bool = False
    """True while a segment's name may not be durable, though it could not be taken back."""
    removed: bool = False
    """True while the removal of a file that was finished may not be durable: with the power gone it would be back."""
    outlived: dict[Stream, None] = field(default_factory=dict)
    """Streams whose open part may still lie beside the segment that it became."""
    strays: dict[str, str] = field(default_factory=dict)
    """What stands at a name that method `rename` gives, and is no stream's: each with a sentence that says why."""
    trouble: Trouble = field(
        default_factory=lambda: Trouble(
            "what was sealed cannot be made final in its directory; nothing of it is given back",
            "what was sealed is final in its directory",
        )
    )

    def settle(self) -> None:
        """Make every segment's name durable before what it holds is released. Raises OSError."""
        if self.unsynced:
            self.archive.sync()
            self.unsynced = False

    def sync_removals(self) -> None:
        """Make removals durable before what follows is, and before segments of removed files go. Raises OSError.

        The newest segment would be another file's then, and one that is back would be sealed once more.
        """
        if self.removed:
            self.home.sync()
            self.removed = False

    def stream_name(self, leaf: str) -> str:
        """The stream's name: its path below the watched directory."""
        return f"{self.relative}/{leaf}" if self.relative else leaf


class Facts(msgspec.Struct, gc=False):
    """What the last look saw of a live file; sizes in bytes, `since` monotonic and wall time in seconds."""

    there: bool = False
    size: int = 0
    allocated: int = 0
    changed: float = 0.0
    """mtime. Releases change it too, so it is a reason to look into a file, and never an answer (attack M3)."""
    status: float = 0.0
    """ctime: a change of owner, mode or flags shows in it."""
    looked: float = 0.0
    grew: float = 0.0
    """Monotonic time of the last growth."""
    begun: float | None = None
    """Monotonic time of the first look since the file was empty: what the long-time growth is measured by."""
    begun_size: int = 0
    """The size at that look."""
    since: float | None = None
    """Monotonic time at which the oldest unsealed byte was noticed."""
    since_wall: float = 0.0
    rate: float = 0.0
    """Bytes a second, smoothed."""
    nul_since: float | None = None
    """Monotonic time since when a NUL run stands at S."""
    scheduled: float | None = None
    """Wall time of the next scheduled rotation."""


class Stream:
    """One telemetry file by its path, through all its incarnations."""

    __slots__ = (
        "accepted", "captured", "closing", "damaged", "departed", "facts", "failure", "fruitless", "id", "incarnation",
        "last_stamp", "leaf", "lost", "name", "next_reset", "not_before", "part_since", "pending", "place", "refused",
        "retention", "rewrites", "rotation", "seals", "segments", "successors", "synced",
    )  # fmt: skip

    def __init__(self, name: str, leaf: str, place: Place, stream_id: str, rules: tuple[Rotation, Retention]) -> None:
        self.name = name
        self.leaf = leaf
        self.place = place
        self.id = stream_id
        """Random, in hexadecimal: the same text in hints, status and cursors, so that many streams share one each."""
        self.rotation, self.retention = rules
        self.segments: list[Segment] = []
        """By position. The last one may be the open part: it is a segment that is not published yet."""
        self.damaged: tuple[Extent, ...] = ()
        """What segments without a readable index held when the archive was read: nobody can read it."""
        self.incarnation: Incarnation | None = None
        self.pending: tuple[Segment, ...] = ()
        """Segments of this incarnation whose release is not complete, oldest first."""
        self.captured = _NEVER
        """Monotonic time of the last capture, and the live file's size at it; -1 where it has to be done again."""
        self.part_since: float | None = None
        """Monotonic time at which the oldest byte of the open part was noticed."""
        self.closing = False
        """True when the open part takes no more members."""
        self.facts = Facts()
        self.refused: RefusedError | None = None
        self.failure = ""
        self.successors: tuple[Identity, ...] = ()
        """The files that were seen at the path while an earlier one is finished, in order."""
        self.departed: str | None = None
        """Where the old file lies while it is finished after the path got another inode."""
        self.accepted = False
        """True once the live file was recognised as a line log in this incarnation."""
        self.seals = 0
        self.lost = 0
        self.last_stamp = (0, 0)
        self.next_reset = 0.0
        self.synced = 0
        """Physical offset up to which releases are known to be durable (fsync of the live file)."""
        self.rewrites = 0
        self.not_before = 0.0
        """Monotonic time before which sealing is not tried again."""
        self.fruitless = 0
        """Tries in a row that sealed nothing."""

    @property
    def raw_id(self) -> bytes:
        """The id as members carry it."""
        return bytes.fromhex(self.id)

    @property
    def end(self) -> int:
        """Position up to which the stream is sealed."""
        if self.incarnation is not None:
            return self.incarnation.position
        return self.segments[-1].extent.end if self.segments else 0

    @property
    def first(self) -> int:
        """Position at which the oldest kept record lies."""
        return self.segments[0].extent.start if self.segments else self.end

    @property
    def live_bytes(self) -> int:
        """Apparent bytes beyond S; the true live size is asked of the file when it matters."""
        if not self.facts.there:
            return 0
        sealed = self.incarnation.sealed if self.incarnation else 0
        return max(0, self.facts.size - sealed) if sealed else self.facts.size

    @property
    def open_part(self) -> Segment | None:
        """What was captured since the last rotation."""
        return self.segments[-1] if self.segments and self.segments[-1].open else None

    @property
    def published(self) -> list[Segment]:
        """The segments without the open part."""
        return self.segments[:-1] if self.open_part else self.segments

    @property
    def rotating_bytes(self) -> int:
        """What the rules of rotation count: live bytes, and those that were captured."""
        part = self.open_part
        return self.live_bytes + (part.extent.length if part else 0)

    def continues(self, part: Segment) -> bool:
        """True while what comes next at S may go on in the open part: same life, no gap between."""
        life = self.incarnation
        return (
            not self.closing
            and life is not None
            and part.identity.same_file(life.identity)
            and part.source.end == life.sealed
            and part.extent.end == life.position
        )

    def grow(self, part: Segment) -> None:
        """The open part holds more than before, and that is to be released."""
        if self.open_part:
            self.segments[-1] = part
        else:
            self.segments.append(part)
        waiting = self.pending[:-1] if self.pending and self.pending[-1].open else self.pending
        self.pending = (*waiting, part)

    def settle(self, published: Segment) -> None:
        """A published segment takes the open part's place."""
        if self.open_part:
            self.segments[-1] = published
        if self.pending and self.pending[-1].open:
            self.pending = (*self.pending[:-1], published)
        self.closing, self.part_since = False, None

    def next_stamp(self, now: float) -> tuple[int, int]:
        """Second and number of the next segment's name: never below its predecessor's (attack M1)."""
        second, number = self.last_stamp
        wanted = min(int(now), names.LAST_SECOND)
        self.last_stamp = (wanted, 0) if wanted > second else (second, number + 1)
        return self.last_stamp

    def sealed_bytes(self, start: int, end: int) -> bytes | None:
        """The sealed content of a physical range of this incarnation; None where no segment has it any more.

        What somebody removed is not there: what the live file still has of it is sealed anew. Raises CorruptError where
        a segment is damaged.
        """
        try:
            return content(self.mine(), start, end)
        except FileNotFoundError as error:
            _log.error("a segment is gone; what the live file has of it is sealed anew", stream=self.name, error=error)
            return None

    @property
    def kept_from(self) -> int:
        """Physical offset from which on every segment of this incarnation is kept; S when none is.

        Whoever deletes by hand, or a deletion that failed, may leave older ones in front of a hole.
        """
        start, position = (self.incarnation.sealed, self.incarnation.position) if self.incarnation else (0, 0)
        for one in reversed(list(self.mine())):
            if one.extent.end != position:
                break
            start, position = one.source.start, one.extent.start - one.gap_before
        return start

    def mine(self) -> Iterator[Segment]:
        """The kept segments that came from the present incarnation."""
        life = self.incarnation
        if life is None:
            return
        for one in self.segments:
            same_life = life.base - life.skipped <= one.base <= life.base
            if one.identity.same_file(life.identity) and same_life and not one.marker:
                yield one

    def __repr__(self) -> str:
        return f"<Stream {self.name!r} sealed={self.end} segments={len(self.segments)}>"


def content(segments: Iterable[Segment], start: int, end: int) -> bytes | None:
    """The content of a physical range of one life, whose segments these are; None where none has it."""
    pieces: list[bytes] = []
    at = start
    within = False
    for one in segments:
        if one.source.end <= at:
            within = True
            continue
        if at >= end or (one.source.start > at and not (within or pieces)):
            break
        if one.source.start > at:
            pieces.append(bytes(min(end, one.source.start) - at))  # a gap between two segments is one of NULs
            at = min(end, one.source.start)
        stop = min(end, one.source.end)
        with segment.SegmentReader(one) as reader:
            pieces.append(reader.range(one.base + at, one.base + stop))
        at = stop
    return b"".join(pieces) if at == end else None


@dataclass(slots=True)
class Catalog:
    """The streams by name, and the places they live in."""

    config: Config
    places: dict[str, Place] = field(default_factory=dict)
    streams: dict[str, Stream] = field(default_factory=dict)
    orphans: list[Stream] = field(default_factory=list)
    """Earlier streams of a name that begins anew: only their segments are left."""

    def stream(self, place: Place, leaf: str, stream_id: str = "") -> Stream:
        """The stream of a live file, made where it is new."""
        name = place.stream_name(leaf)
        found = self.streams.get(name)
        if found is None:
            found = Stream(name, leaf, place, stream_id or secrets.token_hex(16), self.config.rules_for(name))
            self.streams[name] = found
        return found

    def all(self) -> Iterator[Stream]:
        """Every stream, orphans last."""
        yield from self.streams.values()
        yield from self.orphans

    def configure(self, config: Config) -> None:
        """Take new rules into force, for every stream; what only a start can change stays."""
        self.config = config
        for one in self.all():
            one.rotation, one.retention = config.rules_for(one.name)
            one.refused = None
            one.facts.scheduled = None

    def find(self, wanted: Sequence[str]) -> list[Stream]:
        """The streams of these printable names. Raises UnknownError, which names some, where one is not there."""
        by_name = {printable(name): stream for name, stream in self.streams.items()}
        unknown = [name for name in wanted if name not in by_name]
        if unknown:
            raise UnknownError(
                f"no stream is called {', '.join(map(repr, unknown))}",
                path=self.config.files.directory,
                hint=f"there are: {', '.join(sorted(by_name)[:10]) or 'none yet'}",
            )
        return [by_name[name] for name in wanted]
