"""Dead letters sent again: one by one, processed anew, and gone when they are taken.

Invariant: a letter is removed only after every part of it was taken; one that is refused again stays as it was.
"""

from __future__ import annotations

import anyio.to_thread

from agent.control import Replayed
from agent.duties.parcel import Part, Records, pack
from agent.duties.shipper import Consumer
from agent.kit import log
from agent.sinks.base import ErrorClass, Reject, Retry
from agent.streams.deadletters import Letter, pick

_log = log.get("shipper")

GROUP = 100
"""Letters that are removed together, and at least a sixteenth of them all: each removal writes what is left again."""


async def alone(consumer: Consumer, ids: list[str]) -> Replayed:
    """As `replay`, by a consumer that nobody runs."""
    try:
        return await replay(consumer, ids)
    finally:
        await consumer.aclose()


async def replay(consumer: Consumer, ids: list[str]) -> Replayed:
    """Send letters one by one; what is taken is removed, also where this is cancelled. A crash repeats a group.

    Raises LockedError while another call sends letters of this consumer, UnknownError.
    """
    with consumer.letters.alone():
        chosen = await anyio.to_thread.run_sync(lambda: pick(consumer.letters.all(), ids))
        done = await _replay(consumer, chosen)
    _log.info(
        "dead letters sent again", forward=consumer.name, sent=done.sent, kept=done.kept, rejected_items=done.rejected,
        why=done.message,
    )  # fmt: skip
    return done


async def _replay(consumer: Consumer, chosen: list[Letter]) -> Replayed:
    sent, rejected, why = 0, 0, ""
    group = max(GROUP, len(chosen) // 16)
    taken: set[str] = set()

    def settle() -> None:
        if ids := frozenset(taken):
            consumer.letters.remove(ids)
            taken.difference_update(ids)

    try:
        for one in chosen:
            if one.truncated:
                why = f"{one.id}: only its beginning was kept"
                continue
            try:
                rejected += await _send(consumer, one)
            except Reject as error:
                why = f"{one.id}: {error.what}"
                continue
            except Retry as error:
                why = f"{one.id}: {error.what}"
                break
            sent += 1
            taken.add(one.id)
            if len(taken) >= group:
                await anyio.to_thread.run_sync(settle)
        await anyio.to_thread.run_sync(settle)
    finally:
        # Where this is cancelled: an await here could be cut off too.
        settle()
    return Replayed(sent=sent, kept=len(chosen) - sent, rejected=rejected, message=why)


async def _send(consumer: Consumer, one: Letter) -> int:
    """Send every part; how many items a destination refused of one that it took. Raises Reject, Retry."""
    rejected = 0
    for part in _parts(consumer, one):
        outcome = await consumer.sender.replay(part)
        if 0 < part.items <= outcome.rejected:
            raise Reject(f"all its items were refused: {outcome.message or 'no reason given'}", ErrorClass.REJECTED)
        rejected += outcome.rejected
    consumer.book.rejected(rejected)
    return rejected


def _parts(consumer: Consumer, one: Letter) -> list[Part]:
    record = Records([one.content], [(one.start, one.end)])
    otlp = consumer.forward.kind == "otlp"
    parcel = pack(
        one.stream, one.stream_id, record, one.start, one.end, otlp=otlp, max_record=consumer.forward.max_record,
        process=consumer.process,
    )  # fmt: skip
    for bad in parcel.refused:
        raise Reject(bad.reason, bad.kind)
    for why in parcel.filtered:
        raise Reject(f"the forward's rules leave nothing of it ({why})", ErrorClass.PROCESSING)
    return parcel.parts
