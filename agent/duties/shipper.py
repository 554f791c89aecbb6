"""The shipping loop, written once: read, check, pack, write the bounds down, encode, send, advance the cursor.

Reading batches is `agent.duties.intake`; sending one until it is taken or refused, `agent.duties.sender`.

Invariants:

- Only the network is awaited; each action on files is one step in a worker thread, and one step runs at a time.
- Nothing is sent whose bounds are not durable, and a cursor moves only over what a destination took, what was put into
  the dead letters durably, or what nobody can read any more. So a crash anywhere sends at most the batches in flight
  again, as the same bytes.
- Backpressure is not reading: while every place for a batch is taken, nothing is read, and nothing piles up in memory.
- Whatever a destination does, the other consumers, and the keeper, do not notice.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread

from agent.config import Forward
from agent.duties.budget import Budget
from agent.duties.intake import Intake
from agent.duties.ledger import Book
from agent.duties.parcel import Parcel, Refused
from agent.duties.sender import Sender, StoppedError, Trail, Work
from agent.kit import log
from agent.kit.clock import Clock
from agent.kit.errors import AgentError, CorruptError
from agent.kit.loops import Failures, Waker
from agent.kit.priority import WORK
from agent.kit.steps import reach
from agent.otlp.process import Chain
from agent.sinks.base import Sink
from agent.streams.cursors import Cursors
from agent.streams.deadletters import DeadLetters, Letter, letter
from agent.streams.lag import lag
from agent.streams.views import View, Views

_log = log.get("shipper")

Result = TypeVar("Result")


class Consumer:
    """One destination with its cursors. Construct it anywhere, `run` it in one event loop."""

    def __init__(
        self, forward: Forward, sinks: Sequence[Sink], views: Views, cursors: Cursors, letters: DeadLetters,
        clock: Clock, trail: Trail, budget: Budget | None = None, process: Chain | None = None,
    ) -> None:  # fmt: skip
        """Without a `budget` memory has no limit; without `process` records travel as they are."""
        self.forward = forward
        self.name = forward.name
        self.book = Book(clock)
        self.letters = letters
        self.cursors = cursors
        self._clock = clock
        self._trail = trail
        self.sender = Sender(forward, sinks, clock, self.book, trail)
        """Also tells, for the whole consumer, whether the agent is leaving."""
        # Lines of two batches at once would mix in a file or on a terminal.
        self._places = forward.batch.in_flight if forward.kind == "otlp" else 1
        self._lock = threading.Lock()
        self._limiter = anyio.CapacityLimiter(1)
        self._waker = Waker()
        self.process = process
        self._intake = Intake(
            forward, views, cursors, clock, budget or Budget(clock), process, self._skipped, self._corrupt
        )
        self._under_way: set[Parcel] = set()
        self._unread = Failures()
        self._loop: asyncio.AbstractEventLoop | None = None
        for problem in cursors.problems:
            self._corrupt(problem)
        views.listen(self._noticed, self._waker.wake)

    def __repr__(self) -> str:
        return f"<Consumer {self.name} {self.sender.destination}>"

    # -- the loop

    async def run(self) -> None:
        """Deliver until `stop`, or until cancelled. What is under way when it is cancelled is sent again later."""
        self._loop = asyncio.get_running_loop()
        try:
            await self._work()
        finally:
            with anyio.CancelScope(shield=True):
                await self._final_save()
                await self.aclose()

    async def aclose(self) -> None:
        """Close the sinks; a second call does nothing."""
        await self.sender.aclose()

    def stop(self) -> None:
        """Begin nothing new, give up waiting, finish what a destination is just answering. In the loop's thread."""
        self.sender.stop()
        self._waker.wake()

    async def _work(self) -> None:
        places = anyio.Semaphore(self._places)
        failures = Failures(longest=30.0)
        async with anyio.create_task_group() as group:
            while not self.sender.stopping:
                await places.acquire()
                places.release()
                try:
                    parcels, due = await self._step(partial(self._next, places.value))
                except (OSError, AgentError) as error:
                    await self._trouble(failures, "delivery stands", error, "reading")
                    continue
                self._over(failures, "delivery goes on", "reading")
                self._tell_unread()
                for parcel in parcels:
                    places.acquire_nowait()
                    self.book.began(parcel)
                    group.start_soon(self._carry, parcel, places)
                if not parcels and not self.sender.stopping:
                    await self._waker.sleep(None if due is None else max(0.0, due - self._clock.monotonic()))

    async def _carry(self, parcel: Parcel, places: anyio.Semaphore) -> None:
        """Bring one batch to its end."""
        try:
            await self.sender.send(parcel)
            await self._conclude(parcel)
        except StoppedError:
            pass
        finally:
            self.book.left()
            self._under_way.remove(parcel)
            if parcel.grant:
                parcel.grant.end()
            places.release()
            self._waker.wake()

    async def _conclude(self, parcel: Parcel) -> None:
        """Put the refused records away and settle the batch; a disk that takes nothing is waited for."""
        failures = Failures(longest=30.0)
        while True:
            try:
                dropped = await self._step(lambda: self._settle(parcel))
            except OSError as error:
                await self._trouble(failures, "dead letters and positions cannot be written", error, "saving")
                if self.sender.stopping:
                    raise StoppedError from error
                continue
            self._over(failures, "dead letters and positions are written again", "saving")
            self.book.settled(parcel, dropped)
            return

    async def _trouble(self, failures: Failures, what: str, error: Exception, work: Work) -> None:
        wait, say = failures.failed(self._clock.monotonic())
        self._trail.state(False, f"{what}: {_said(error)}", "is the state directory full or read-only?", of=work)
        if say:
            _log.error(what, forward=self.name, error=error, retry_seconds=wait)
        if not self.sender.stopping:
            await self.sender.wait(wait)

    def _over(self, failures: Failures, what: str, work: Work) -> None:
        """What `_trouble` told of has passed."""
        ended, told = failures.succeeded()
        if ended:
            self._trail.state(True, of=work)
        if told:
            _log.info(what, forward=self.name, failures=ended)

    def _tell_unread(self) -> None:
        """Streams that cannot be read hold up nobody but themselves."""
        unread = self._intake.source.unread
        if not unread:
            self._over(self._unread, "every stream can be read again", "reading")
            return
        stream, error = next(iter(unread.values()))
        more = f", and {len(unread) - 1} more streams" if len(unread) > 1 else ""
        hint = getattr(error, "hint", "") or "see that the agent's user may read it; it is tried again every 2 s"
        self._trail.state(False, f"{stream} cannot be read: {_said(error)}{more}", hint, of="reading")
        if self._unread.failed(self._clock.monotonic())[1]:
            _log.error("a stream cannot be read", forward=self.name, stream=stream, error=error, streams=len(unread))

    # -- steps, in worker threads

    async def _step(self, act: Callable[[], Result]) -> Result:
        def locked() -> Result:
            WORK.lower()
            with self._lock:
                return act()

        return await anyio.to_thread.run_sync(locked, limiter=self._limiter)

    def _next(self, places: int) -> tuple[list[Parcel], float | None]:
        parcels, due = self._intake.next(places, busy=bool(self._under_way))
        for one in parcels:
            self.sender.encode(one)
        self._under_way.update(parcels)
        return parcels, due

    def _settle(self, parcel: Parcel) -> int:
        now = self._clock.now()
        gone = self.letters.append(self._letter(one, parcel, now) for one in parcel.refused)
        if gone:
            self._trail.audit("loss", reason="dead_letters", forward=self.name, records=gone)
            _log.warning("dead letters had to go for want of room", forward=self.name, letters=gone,
                         hint="replay or drop them in time, or give them more space: forward.dead_letters")  # fmt: skip
        reach("ship.buried")
        if not parcel.given_up:
            self.cursors.settle(parcel.stream_id, parcel.start, parcel.end, parcel.state)
        reach("ship.settled")
        return gone

    def _letter(self, one: Refused, parcel: Parcel, now: float) -> Letter:
        return letter(
            time=round(now, 3), stream=parcel.stream, stream_id=parcel.stream_id, start=one.start, end=one.end,
            signal=one.signal, kind=one.kind, reason=one.reason, record=one.line, truncated=one.cut,
        )  # fmt: skip

    async def _final_save(self) -> None:
        try:
            await self._step(self.cursors.save)
        except OSError as error:
            _log.error("the last positions could not be saved; some records are sent twice", forward=self.name,
                       error=error)  # fmt: skip

    # -- from other threads

    def _noticed(self, view: View) -> None:
        """A stream changed; in the engine's thread."""
        if self._intake.notice(view):
            self._waker.wake()

    def _skipped(self, view: View, start: int, count: int, why: str) -> None:
        self.book.unreadable(why, count)
        self._trail.audit(
            "loss", stream=view.name, reason="unread", forward=self.name, positions=[start, start + count], why=why
        )

    def _corrupt(self, error: CorruptError) -> None:
        self._trail.audit("error", reason="cursor", forward=self.name, why=str(error))
        _log.error("a cursor is wrong", forward=self.name, error=error)

    def reset(self, view: View, position: int) -> None:
        """Go on from `position` of a stream; durable on return. From any thread. Raises OSError: nothing is changed.

        Batches of the stream that are under way are given up: what is just being sent may still arrive.
        """
        with self._lock:
            before = self.cursors.get(view.stream_id)
            self._intake.reset(view, position)
            for one in tuple(self._under_way):
                one.given_up = one.given_up or one.stream_id == view.stream_id
        self._tell_reset(view, before.position if before else view.first, position)
        self._noticed(view)
        self._waker.wake()
        if self._loop:
            with suppress(RuntimeError):  # it is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self.sender.nudge)

    def _tell_reset(self, view: View, before: int, after: int) -> None:
        """By an operator's word records are sent again, or never: what lies between the two places."""
        now = self._clock.now()
        left, new = lag(view, before, now).records, lag(view, after, now).records
        self._trail.audit(
            "command", stream=view.name, reason="cursors reset", forward=self.name, before=before, after=after,
            positions=sorted((before, after)), bytes=abs(after - before),
            records=None if left is None or new is None else abs(left - new),
        )  # fmt: skip


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
