"""Sealing: whole records from the live file into a published segment, and S moves only then.

The order is the promise (DESIGN section 2): copy, sync, compare what was written with the live file, publish under
a new name, sync the directory. Until the rename the live file has every byte; after it the segment has. A batch
runs each phase over all its streams, so that one sync serves many.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from agent import __version__
from agent.kit import disk
from agent.kit.errors import AgentError, CorruptError, RefusedError, StoppingError
from agent.kit.steps import reach
from agent.streams import member as members
from agent.streams import names, segment
from agent.streams.catalog import Place, Stream
from agent.streams.index import IncarnationKey, Index
from agent.streams.live import SCRATCH, Live, refusal
from agent.streams.owner import dress
from agent.streams.part import Part
from agent.streams.recognise import accept, begin, open_live, recognise
from agent.streams.segment import Segment
from agent.streams.tools import Tools

SEGMENT_LIMIT = 1 << 30
"""Uncompressed bytes at which a segment ends; a larger rest gives several segments."""

NUL_GRACE = 10.0
"""Seconds that a run of NULs may stand at S before it counts as a gap: a writer may still fill it (attack C9)."""

_PROBE = 4096
_CACHE_DROP = 1 << 16
_SAMPLE_EVERY = 8
_LINE_SAMPLE = 1 << 15
_LONG_LINE = 700


@dataclass(slots=True)
class Sealed:
    """What became of one stream in a batch."""

    stream: Stream
    reason: str
    segment: Segment | None = None
    bytes: int = 0
    records: int = 0
    more: bool = False
    """True when the segment ended at a limit and complete records are left."""
    error: Exception | None = None


@dataclass(slots=True)
class Draft:
    """A seal on its way: the open live file and the part."""

    stream: Stream
    reason: str
    live: Live
    part: Part
    owns_live: bool
    started: float
    first: int
    base: int
    """The position of physical offset 0."""
    tail: bytes = b""
    truncated: bool = False
    more: bool = False
    problem: Exception | None = None
    gap: int = 0
    index: Index | None = None
    published: Segment | None = None

    def close(self) -> None:
        """Let go of both files."""
        self.part.close()
        if self.owns_live:
            self.live.close()


class Sealer:
    """Seals streams, one batch at a time; one thread uses it."""

    def __init__(self, tools: Tools, *, member_size: int = members.TARGET) -> None:
        self._tools = tools
        self._buffer = bytearray(members.TARGET)
        self._compressors: dict[str, members.Compressor] = {}
        self.member_size = member_size

    def seal(self, batch: Sequence[tuple[Stream, str]]) -> list[Sealed]:
        """Seal what is whole in each stream; one that fails keeps its data live and carries its error."""
        outcomes = [Sealed(stream, reason) for stream, reason in batch]
        drafts = [draft for outcome in outcomes if (draft := self._guarded(outcome, self._copy_one))]
        try:
            self._sync(drafts)
            self._verify_all(drafts)
            self._publish_all(drafts)
        finally:
            for draft in drafts:
                draft.close()
        by_stream = {id(draft.stream): draft for draft in drafts}
        for outcome in outcomes:
            self._conclude(outcome, by_stream.get(id(outcome.stream)))
        return outcomes

    def seal_open(self, stream: Stream, live: Live, reason: str, *, whole: bool) -> Segment | None:
        """Seal through an open live file, whose lease may be held; with `whole` also an unterminated last line."""
        draft = self.copy(stream, reason, live=live, whole=whole)
        if draft is None:
            return None
        try:
            self._sync([draft])
            self._verify_all([draft])
            self._publish_all([draft])
        finally:
            draft.close()
        if draft.problem:
            raise draft.problem
        return draft.published

    # -- phases

    def _copy_one(self, outcome: Sealed) -> Draft | None:
        return self.copy(outcome.stream, outcome.reason)

    def copy(self, stream: Stream, reason: str, *, live: Live | None = None, whole: bool = False) -> Draft | None:
        """Copy whole records from S into a new part; None when there is nothing to seal.

        Raises RefusedError, OSError; the part is gone then and the live file is as it was.
        """
        started = self._tools.clock.monotonic()
        owned = live is None
        opened = live or open_live(stream)
        draft = None
        try:
            reach("seal.opened")
            if recognise(self._tools, stream, opened) == "other_file" and stream.departed:
                return None
            first = self._start(stream, opened)
            if first is None or not accept(stream, opened, first):
                return None
            draft = self._create(stream, reason, opened, first, owned, started)
            self._fill(draft, whole)
            if not draft.part.members:
                draft.part.discard()
                draft = None
                return None
            self._write_index(draft)
            ready = draft
        except BaseException:
            failed, draft = draft, None
            if failed:
                with suppress(OSError):  # what went wrong is told, not that its part stays behind
                    failed.part.discard()
            raise
        finally:
            if owned and draft is None:
                opened.close()
        return ready

    def _start(self, stream: Stream, live: Live) -> int | None:
        """Where to begin: S, or behind a run of NULs at S, or in the record at S, that outlived its grace."""
        life = stream.incarnation
        assert life is not None  # noqa: S101 - recognise has just set it
        first = live.first_byte(live.torn(life.sealed))
        facts = stream.facts
        if first is None or first == life.sealed:
            facts.nul_since = None
            return first
        now = self._tools.clock.monotonic()
        if facts.nul_since is None:
            facts.nul_since = now
        return first if now - facts.nul_since >= NUL_GRACE else None

    def _create(self, stream: Stream, reason: str, live: Live, first: int, owned: bool, started: float) -> Draft:
        place = stream.place
        part = Part.create(place.archive, names.part_name(stream.leaf), stream.id, live.identity)
        return Draft(stream, reason, live, part, owned, started, first, self._base(stream, first))

    def _base(self, stream: Stream, first: int) -> int:
        """The position of physical offset 0.

        A writer whose file was emptied under it goes on at its old offset: the NULs before are no loss of this life,
        what was lost was counted when the life before ended. So they take no positions.
        """
        life = stream.incarnation
        assert life is not None  # noqa: S101 - recognise has just set it
        return life.base - first if life.sealed == 0 < life.base else life.base

    def _fill(self, draft: Draft, whole: bool) -> None:
        live, part = draft.live, draft.part
        compress = self._compress(draft.stream.rotation.level)
        end = live.size()
        limit = min(end, draft.first + SEGMENT_LIMIT)
        view = memoryview(self._buffer)
        at = draft.first
        now = self._tools.clock.now()
        while at < limit and not part.full():
            self._tools.breathe()
            count = live.read_into(view[: min(self.member_size, limit - at)], at)
            stop, last = self._cut(count, at + count >= end, whole)
            if stop == 0:
                break
            data = view[:stop]
            if not _still_there(live, data, at):
                break  # what it was, a truncation or a rewrite, the comparison says
            lines = _count_lines(self._buffer, stop)
            part.append(data, position=draft.base + at, physical=at, seen=now, compress=compress, records=lines)
            draft.tail = (draft.tail + bytes(data[-2 * _PROBE :]))[-2 * _PROBE :]
            at += stop
            if last:
                break
        if not (whole and at >= end):
            part.trim()
            if part.members and part.source_end != at:
                draft.tail = b""
        draft.more = bool(part.members) and (at >= limit or part.full()) and at < end
        if not part.members and limit == draft.first + SEGMENT_LIMIT:
            raise refusal("no_newline", os.path.join(draft.stream.place.home.path, live.name))

    def _cut(self, count: int, at_end: bool, whole: bool) -> tuple[int, bool]:
        """How much of the buffer to take, and whether nothing may follow it: a NUL, or the file's end."""
        nul = self._buffer.find(b"\0", 0, count)
        stop = count if nul < 0 else nul
        newline = self._buffer.rfind(b"\n", 0, stop) + 1
        if whole and at_end and nul < 0:
            return stop, True
        if newline:
            return newline, nul >= 0
        # A record longer than a member goes on in the next one; before a NUL or the end it is not whole.
        return (stop, False) if nul < 0 and not at_end else (0, True)

    def _write_index(self, draft: Draft) -> None:
        stream, part = draft.stream, draft.part
        before = stream.segments[-1].extent.end if stream.segments else 0
        now = max(self._tools.clock.now(), float(stream.last_stamp[0]))
        draft.gap = max(0, part.start - before)
        draft.index = Index(
            stream=stream.name,
            stream_id=stream.id.hex(),
            incarnation=IncarnationKey(part.identity.inode, part.identity.birth),
            physical=(draft.first, part.source_end),
            logical=(part.start, part.end),
            records=part.records,
            seen=(stream.facts.since_wall or now, now),
            digest=part.digest(),
            reason=draft.reason,
            agent=__version__,
            gap_before=draft.gap,
            sealed_at=round(now, 3),
            boot=self._tools.boot,
            uptime=round(self._tools.clock.monotonic(), 3),
            members=part.table(),
        )
        part.finish(draft.index)
        dress(part.fd, draft.live, stream.rotation)

    def _sync(self, drafts: Sequence[Draft]) -> None:
        """One fsync for one part, one syncfs for many on one file system."""
        if len(drafts) <= 2:
            for draft in drafts:
                self._each(draft, lambda d: d.part.sync())
        else:
            for place in _places(drafts):
                of_place = [draft for draft in drafts if draft.stream.place is place]
                try:
                    disk.sync_filesystem(place.archive.fd)
                except OSError as error:
                    for draft in of_place:
                        self._give_up(draft, error)
        reach("copy.synced")

    def _verify_all(self, drafts: Iterable[Draft]) -> None:
        for draft in drafts:
            if draft.problem is None:
                self._each(draft, self._verify)
        reach("verify.done")

    def _verify(self, draft: Draft) -> None:
        """Compare the part, as read back, with the live file. What was whole before a change is kept (attack C6)."""
        part = draft.part
        full = draft.stream.rotation.verify == "full"
        scratch = memoryview(self._buffer)[:SCRATCH]
        if part.size >= _CACHE_DROP:
            disk.forget_cache(part.fd)
        for number in range(len(part.members)):
            self._tools.breathe()
            if not _same(draft, number, scratch, inflate=full or number % _SAMPLE_EVERY == 0):
                self._differs(draft, number)
                return
            reach("verify.member")

    def _differs(self, draft: Draft, number: int) -> None:
        """The live file is not what the part holds: its writer truncated it, or writes over what it wrote."""
        stream, part = draft.stream, draft.part
        member = part.members[0]
        life = stream.incarnation
        head = part.content(0)[:_PROBE]
        cut = draft.live.size() < part.source_end or draft.live.read(member.physical, len(head)) != head
        guard_gone = bool(life and life.guard) and (
            draft.live.read(life.sealed - len(life.guard), len(life.guard)) != life.guard if life else False
        )
        if cut or guard_gone:
            for one in range(number, len(part.members)):
                part.content(one)  # the only copy now: at least it must be whole
            draft.truncated = True
            return
        stream.rewrites += 1
        part.trim(number)
        if not part.members:
            if stream.rewrites > 1:
                raise refusal("rewritten", os.path.join(stream.place.home.path, draft.live.name))
            raise CorruptError("the writer changed bytes while they were sealed", path=draft.live.name)
        draft.tail = b""
        self._write_index(draft)
        part.sync()

    def _publish_all(self, drafts: Sequence[Draft]) -> None:
        for draft in drafts:
            if draft.problem is None:
                self._each(draft, self._publish)
        reach("publish.renamed")
        for place in _places([draft for draft in drafts if draft.published]):
            self._sync_names(place, [draft for draft in drafts if draft.published and draft.stream.place is place])
        reach("publish.synced")
        for draft in drafts:
            if draft.published:
                self._settle(draft, draft.published)

    def _publish(self, draft: Draft) -> None:
        stream, part = draft.stream, draft.part
        archive = stream.place.archive
        while True:
            name = names.segment_name(stream.leaf, *stream.next_stamp(self._tools.clock.now())).format()
            try:
                archive.publish(part.name, name)
                break
            except FileExistsError:
                continue
        assert draft.index is not None  # noqa: S101 - copy wrote it
        draft.published = segment.describe(archive, name, draft.index, os.fstat(part.fd))

    def _sync_names(self, place: Place, drafts: Sequence[Draft]) -> None:
        """Make names durable. One that may vanish is no publication: it is taken back."""
        try:
            place.archive.sync()
        except OSError as error:
            for draft in drafts:
                assert draft.published is not None  # noqa: S101 - the caller chose those
                try:
                    place.archive.remove(draft.published.name)
                except OSError:
                    # It stays, so S moves, or its records would be sealed twice; nothing is released meanwhile.
                    place.unsynced = True
                    continue
                draft.published = None
                self._give_up(draft, error)

    def _settle(self, draft: Draft, published: Segment) -> None:
        """The segment is durable: S moves."""
        stream, life = draft.stream, draft.stream.incarnation
        assert life is not None  # noqa: S101 - recognise has set it
        missing = published.extent.start - life.position
        if missing > 0:
            self._tools.lost(stream, "gap", missing, positions=[life.position, published.extent.start])
        wanted = published.source.end - draft.live.floor(published.source.end)
        tail = draft.tail
        if len(tail) < min(wanted, published.extent.length):
            tail = segment.tail(published, wanted)
        if len(tail) < wanted and draft.first == life.sealed:
            tail = life.guard + tail
        stream.segments.append(published)
        life.base, life.sealed = draft.base, published.source.end
        life.guard = tail[-wanted:] if wanted else b""
        life.guard_may_be_gone = life.guard_may_be_gone and published.extent.length < wanted
        life.largest = max(life.largest, life.sealed)
        stream.seals += 1
        stream.facts.nul_since = None
        if draft.truncated:
            begin(self._tools, stream, draft.live.identity, "shrunk", draft.live.size())
        else:
            stream.pending.append(published)
            self._tools.changed(stream)
        self._tell(draft, published)

    def _tell(self, draft: Draft, published: Segment) -> None:
        metrics = self._tools.metrics
        metrics.seals.labels(draft.reason).inc()
        metrics.sealed_bytes.inc(published.extent.length)
        metrics.sealed_records.inc(published.records)
        metrics.segment_written_bytes.inc(published.size)
        metrics.seal_duration_seconds.observe(max(0.0, self._tools.clock.monotonic() - draft.started))
        self._tools.audit.write(
            "seal",
            stream=draft.stream.name,
            reason=draft.reason,
            segment=published.name,
            positions=[published.extent.start, published.extent.end],
            bytes=published.extent.length,
            compressed=published.size,
            records=published.records,
            digest=draft.part.digest(),
        )

    # -- helpers

    def _compress(self, level: str) -> members.Compressor:
        if level not in self._compressors:
            self._compressors[level] = members.compressor(level)
        return self._compressors[level]

    def _each(self, draft: Draft, act: Callable[[Draft], None]) -> None:
        """Do one phase for one stream; its failure is its own."""
        try:
            act(draft)
        except StoppingError:
            draft.part.discard()
            raise
        except (OSError, AgentError) as error:
            self._give_up(draft, error)

    def _give_up(self, draft: Draft, error: OSError | AgentError) -> None:
        draft.problem = error
        with suppress(OSError):
            draft.part.discard()

    def _guarded(self, outcome: Sealed, act: Callable[[Sealed], Draft | None]) -> Draft | None:
        try:
            return act(outcome)
        except StoppingError:
            raise
        except (OSError, AgentError) as error:
            outcome.error = error
            return None

    def _conclude(self, outcome: Sealed, draft: Draft | None) -> None:
        if draft is not None:
            outcome.error = outcome.error or draft.problem
            outcome.segment = draft.published
            outcome.more = draft.more
        if outcome.segment:
            outcome.bytes = outcome.segment.extent.length
            outcome.records = outcome.segment.records
        if outcome.error is not None and not isinstance(outcome.error, (RefusedError, BlockingIOError)):
            self._tools.metrics.seal_failures.inc()


def _count_lines(buffer: bytearray, end: int) -> int:
    """Line ends in the first `end` bytes. Searching beats counting where lines are long (measured from 700 bytes)."""
    sample = min(end, _LINE_SAMPLE)
    if buffer.count(b"\n", 0, sample) * _LONG_LINE > sample:
        return buffer.count(b"\n", 0, end)
    count, at = 0, buffer.find(b"\n", 0, end)
    while at >= 0:
        count += 1
        at = buffer.find(b"\n", at + 1, end)
    return count


def _still_there(live: Live, data: memoryview, at: int) -> bool:
    """True when the file still begins and ends this range as it was read, so no truncation tore the read."""
    if live.size() < at + len(data):
        return False
    head = bytes(data[:_PROBE])
    if live.read(at, len(head)) != head:
        return False
    last = bytes(data[-_PROBE:])
    return live.read(at + len(data) - len(last), len(last)) == last


def _same(draft: Draft, number: int, scratch: memoryview, *, inflate: bool) -> bool:
    """Compare one member with the live file; CorruptError when the part itself is not what was written."""
    part, member = draft.part, draft.part.members[number]
    if inflate:
        return draft.live.equals(member.physical, part.content(number), scratch)
    if members.crc32(part.raw(number)) != part.checks[number]:
        raise CorruptError("the part does not read back as it was written", path=part.name, position=member.position)
    return draft.live.crc(member.physical, member.length, scratch) == member.crc


def _places(drafts: Iterable[Draft]) -> list[Place]:
    seen: dict[int, Place] = {id(draft.stream.place): draft.stream.place for draft in drafts}
    return list(seen.values())
