"""Sealing: whole records from the live file into a segment, and S moves only when they are durable there.

The order is the promise: copy, sync, compare what was written with the live file, make the name
durable. Until then the live file has every byte; after it the segment, or the open part, has. A batch runs each phase
over all its streams, so that one sync serves many.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from agent.kit.errors import RefusedError
from agent.kit.steps import reach
from agent.streams import segment
from agent.streams.candidate import Candidate, Draft, each
from agent.streams.catalog import Stream
from agent.streams.compare import compare
from agent.streams.copying import SEGMENT_LIMIT, Copier
from agent.streams.live import SCRATCH, Live
from agent.streams.merge import Merger
from agent.streams.openpart import grown
from agent.streams.outcome import Sealed
from agent.streams.publish import Publisher
from agent.streams.recognise import begin
from agent.streams.segment import Segment
from agent.streams.tools import Tools


class Sealer:
    """Seals streams, one batch at a time; one thread uses it."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._publisher = Publisher(tools)
        self.copier = Copier(tools)
        self._scratch = memoryview(bytearray(SCRATCH))
        self._merger = Merger(tools, self.copier, self._publisher)

    def seal(self, batch: Sequence[tuple[Stream, str]]) -> list[Sealed]:
        """Seal what is whole in each stream; one that fails keeps its data live and carries its error.

        Where there is an open part, the rest is captured into it, and it is published.
        """
        outcomes = [Sealed(stream, reason) for stream, reason in batch]
        rotating = [one for one in outcomes if one.stream.open_part]
        plain = [one for one in outcomes if not one.stream.open_part]
        self._capture([one for one in rotating if _goes_on(one.stream)])
        self._merger.close([one for one in rotating if one.error is None or one.stream.closing])
        pairs = [(one, draft) for one in plain if (draft := one.attempt(self._copy_one))]
        try:
            self._publish([draft for _, draft in pairs])
        finally:
            for _, draft in pairs:
                draft.close()
        for one, draft in pairs:
            one.conclude(draft)
            one.more = draft.more
        self._count_failures(outcomes)
        return outcomes

    def seal_open(self, stream: Stream, live: Live, reason: str, *, whole: bool) -> Segment | None:
        """Seal through an open live file, whose lease may be held; with `whole` also an unterminated last line."""
        draft = self.copier.copy(stream, reason, live=live, whole=whole)
        if draft is None:
            return None
        try:
            self._publish([draft])
        finally:
            draft.close()
        if draft.problem:
            raise draft.problem
        return draft.published

    def capture(self, streams: Iterable[Stream], most: int = SEGMENT_LIMIT) -> list[Sealed]:
        """Move S over what is whole in each stream, about `most` bytes of it, into its open part."""
        outcomes = [Sealed(stream, "capture") for stream in streams]
        self._capture(outcomes, most)
        self._count_failures(outcomes)
        return outcomes

    # -- into a segment of its own

    def _copy_one(self, outcome: Sealed) -> Draft | None:
        return self.copier.copy(outcome.stream, outcome.reason)

    def _publish(self, drafts: Sequence[Draft]) -> None:
        if not drafts:
            return
        each(drafts, self._publisher.index)
        self._publisher.sync(drafts)
        reach("copy.synced")
        each(drafts, self._verify)
        reach("verify.done")
        each(drafts, self._publisher.name)
        reach("publish.renamed")
        self._publisher.sync_names([one for one in drafts if one.published], self._publisher.take_back)
        reach("publish.synced")
        for draft in drafts:
            if draft.published:
                draft.stream.segments.append(draft.published)
                draft.stream.pending += (draft.published,)
                self._advance(draft, draft.published)
                self._publisher.tell(draft, draft.published)

    def _verify(self, draft: Draft) -> None:
        if not compare(self._tools, draft, self._scratch):
            self._publisher.index(draft)
            draft.part.sync()

    # -- into the open part

    def _capture(self, outcomes: Sequence[Sealed], most: int = SEGMENT_LIMIT) -> None:
        now = self._tools.clock.monotonic()
        for one in outcomes:
            one.stream.captured = (now, one.stream.facts.size)  # whoever finds that it is not takes that back
        pairs = [(one, draft) for one in outcomes if (draft := one.attempt(partial(self._capture_one, most)))]
        try:
            self._hold([draft for _, draft in pairs])
        finally:
            for _, draft in pairs:
                draft.close()
        for one, draft in pairs:
            one.error, one.more = draft.problem, draft.more
            if draft.problem is None:
                one.bytes, one.records = draft.part.end - draft.part.start, draft.part.records
        for one in outcomes:
            if one.error is not None or one.stream.closing or one.more:
                one.stream.captured = (now, -1)

    def _capture_one(self, most: int, outcome: Sealed) -> Draft | None:
        return self.copier.capture(outcome.stream, most)

    def _hold(self, drafts: Sequence[Draft]) -> None:
        """Make captured members durable and move S over them."""
        if not drafts:
            return
        reach("capture.written")
        self._publisher.sync(drafts)
        reach("capture.synced")
        each(drafts, self._verify_captured)
        new = [one for one in drafts if one.problem is None and not one.part.before]
        self._publisher.sync_names(new, Candidate.give_up)
        reach("capture.named")
        for draft in drafts:
            stream = draft.stream
            if draft.problem is not None:
                stream.closing = stream.closing or bool(draft.part.before)  # a failed sync is not tried again (H8)
                continue
            if stream.part_since is None:
                stream.part_since = stream.facts.since
            held = grown(stream, draft.part, draft.seen)
            stream.grow(held)
            self._advance(draft, held)
            self._tools.metrics.captures.inc()

    def _verify_captured(self, draft: Draft) -> None:
        if not compare(self._tools, draft, self._scratch):
            draft.part.sync()

    def _advance(self, draft: Draft, held: Segment) -> None:
        """The draft's bytes are durable in `held`: S moves."""
        stream, part, life = draft.stream, draft.part, draft.stream.incarnation
        assert life is not None  # noqa: S101 - recognise has set it
        if part.start > life.position:
            positions = [life.position, part.start]
            self._tools.lost(stream, "gap", part.start - life.position, positions=positions)
        length = part.end - part.start
        wanted = part.source_end - draft.live.floor(part.source_end)
        tail = draft.tail
        if len(tail) < min(wanted, length):
            tail = segment.tail(held, min(wanted, length))
        if len(tail) < wanted and draft.first == life.sealed:
            tail = life.guard + tail
        life.base, life.sealed = draft.base, part.source_end
        life.guard = tail[-wanted:] if wanted else b""
        life.guard_may_be_gone = life.guard_may_be_gone and length < wanted
        life.largest = max(life.largest, life.sealed)
        stream.facts.nul_since = None
        self._tools.metrics.sealed_bytes.inc(length)
        self._tools.metrics.sealed_records.inc(part.records)
        if draft.truncated:
            begin(self._tools, stream, draft.live.identity, "shrunk", draft.live.size(), live=draft.live)
        else:
            self._tools.changed(stream)

    def _count_failures(self, outcomes: Iterable[Sealed]) -> None:
        for one in outcomes:
            if one.error is not None and not isinstance(one.error, (RefusedError, BlockingIOError)):
                self._tools.metrics.seal_failures.inc()


def _goes_on(stream: Stream) -> bool:
    """True when there may be more for the open part."""
    one = stream.open_part
    there = stream.facts.there or stream.departed is not None
    return one is not None and there and stream.continues(one) and not stream.refused
