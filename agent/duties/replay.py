"""Dead letters sent again: one by one, processed anew, and gone as soon as they are taken.

Invariant: a letter is removed only after every part of it was taken; one that is refused again stays as it was.
"""

from __future__ import annotations

import anyio.to_thread

from agent.control import Replayed
from agent.duties.parcel import Part, Records, pack
from agent.duties.shipper import Consumer
from agent.sinks.base import ErrorClass, Reject, Retry
from agent.streams.deadletters import Letter, pick


async def alone(consumer: Consumer, ids: list[str]) -> Replayed:
    """As `replay`, by a consumer that nobody runs."""
    try:
        return await replay(consumer, ids)
    finally:
        await consumer.aclose()


async def replay(consumer: Consumer, ids: list[str]) -> Replayed:
    """Send letters one by one; what is taken is removed at once, so nothing is sent twice without need."""
    chosen = await anyio.to_thread.run_sync(lambda: pick(consumer.letters.all(), ids))
    sent, why = 0, ""
    for one in chosen:
        if one.truncated:
            why = f"{one.id}: only its beginning was kept"
            continue
        try:
            for part in _parts(consumer, one):
                await consumer.sender.replay(part)
        except Reject as error:
            why = f"{one.id}: {error.what}"
            continue
        except Retry as error:
            why = f"{one.id}: {error.what}"
            break
        await anyio.to_thread.run_sync(consumer.letters.remove, {one.id})
        sent += 1
    return Replayed(sent=sent, kept=len(chosen) - sent, message=why)


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
