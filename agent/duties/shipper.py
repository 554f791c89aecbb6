"""The shipping loop, written once: read, check, pack, write the bounds down, send, advance the cursor.

Invariants:

- Only the network is awaited; each action on files is one step in a worker thread, and one step runs at a time.
- Nothing is sent whose bounds are not durable, and a cursor moves only over what a destination took, what was put into
  the dead letters durably, or what nobody can read any more. So a crash anywhere sends at most the batches in flight
  again, as the same bytes.
- Backpressure is not reading: while every place for a batch is taken, nothing is read, and nothing piles up in memory.
- What is read fits into the agent's memory (`agent.duties.budget`); what does not, waits on disk.
- Whatever a destination does, the other consumers, and the keeper, do not notice.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import anyio
import anyio.to_thread

from agent.audit import Event
from agent.config import Forward
from agent.duties.budget import WEIGHTS, Ask, Budget, Grant, Weight
from agent.duties.ledger import Book
from agent.duties.parcel import Parcel, Part, Refused
from agent.duties.source import Source
from agent.kit import log
from agent.kit.clock import Clock
from agent.kit.errors import AgentError, CorruptError
from agent.kit.loops import Failures, Waker
from agent.kit.priority import WORK
from agent.kit.retry import Backoff, Failover, Lease
from agent.kit.steps import reach
from agent.otlp.process import Chain
from agent.sinks.base import ErrorClass, Outcome, Reject, Retry, Sink, TooLarge
from agent.streams.cursors import Cursors
from agent.streams.deadletters import DeadLetters, Letter, letter
from agent.streams.views import View, Views

_log = log.get("shipper")

MEMORY_WAIT = 0.25
"""Seconds after which a consumer asks for memory again; the end of one of its own batches comes before."""

Result = TypeVar("Result")


class Trail(Protocol):
    """Who tells people: the component's state and the audit trail. Called from any thread; must not block."""

    def state(self, ok: bool, message: str = "", hint: str = "") -> None:
        """The consumer works, or does not."""
        ...

    def audit(self, event: Event, **details: Any) -> None:
        """Something happened to data."""
        ...


class StoppedError(Exception):
    """The agent is leaving; the batch stays unsettled and is sent again by the next start."""


def weight(forward: Forward, *, processed: bool = False) -> Weight:
    """What the batches of a forward take of memory: encoding as protobuf takes the most."""
    encodings = {forward.encoding, forward.traces.encoding, forward.logs.encoding, forward.metrics.encoding}
    found = WEIGHTS["protobuf" if forward.kind == "otlp" and encodings & {"protobuf", "grpc"} else "json"]
    more = WEIGHTS["processed"]
    return Weight(max(found.read, more.read), max(found.send, more.send)) if processed else found


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
        self.failover = Failover(
            sinks, clock, failures=forward.breaker.failures, recovery=float(forward.breaker.recovery)
        )
        self._sinks = sinks
        self.cursors = cursors
        self._clock = clock
        self._trail = trail
        self._backoff = Backoff(
            initial=float(forward.retry.initial), maximum=float(forward.retry.maximum),
            multiplier=forward.retry.multiplier, jitter=forward.retry.spread,
            attempts=forward.retry.max_attempts or None,
        )  # fmt: skip
        # Lines of two batches at once would mix in a file or on a terminal.
        self._places = forward.batch.in_flight if forward.kind == "otlp" else 1
        self._lock = threading.Lock()
        self._limiter = anyio.CapacityLimiter(1)
        self._waker = Waker()
        self._budget = budget or Budget(clock)
        self.process = process
        self._weight = weight(forward, processed=process is not None)
        self._ceiling = self._budget.longest(self._weight, sys.maxsize)
        self._source = Source(forward, views, cursors, self._skipped, self._corrupt, self._ceiling, process)
        self._under_way = 0
        self._outage = Failures()
        self._refusals = Failures()
        self._prepared: list[Parcel] = []
        """Begun batches whose bounds are not durable yet."""
        self.stopping = False
        self._change = anyio.Event()
        views.listen(self._noticed, self._waker.wake)

    def __repr__(self) -> str:
        return f"<Consumer {self.name} {self._sinks[self.failover.current].destination}>"

    # -- the loop

    async def run(self) -> None:
        """Deliver until `stop`, or until cancelled. What is under way when it is cancelled is sent again later."""
        try:
            await self._work()
        finally:
            with anyio.CancelScope(shield=True):
                await self._final_save()
                await self.aclose()

    async def aclose(self) -> None:
        """Close the sinks; a second call does nothing."""
        for sink in self._sinks:
            await sink.aclose()

    def stop(self) -> None:
        """Begin nothing new, give up waiting, finish what a destination is just answering. In the loop's thread."""
        self.stopping = True
        self._nudge()
        self._waker.wake()

    async def _work(self) -> None:
        places = anyio.Semaphore(self._places)
        failures = Failures(longest=30.0)
        async with anyio.create_task_group() as group:
            while not self.stopping:
                await places.acquire()
                places.release()
                try:
                    parcels, due = await self._step(partial(self._next, places.value))
                except (OSError, AgentError) as error:
                    await self._trouble(failures, "delivery stands", error)
                    continue
                self._over(failures, "delivery goes on")
                for parcel in parcels:
                    places.acquire_nowait()
                    self.book.began(parcel)
                    self._under_way += 1
                    group.start_soon(self._carry, parcel, places)
                if not parcels and not self.stopping:
                    await self._waker.sleep(None if due is None else max(0.0, due - self._clock.monotonic()))

    async def _carry(self, parcel: Parcel, places: anyio.Semaphore) -> None:
        """Bring one batch to its end."""
        if parcel.refused:
            self._tell_refused(parcel, len(parcel.refused), parcel.refused[0].kind, parcel.refused[0].reason)
        try:
            for part in parcel.parts:
                await self._offer(part, parcel)
            await self._conclude(parcel)
        except StoppedError:
            pass
        finally:
            self.book.left()
            self._under_way -= 1
            if parcel.grant:
                parcel.grant.end()
            places.release()
            self._waker.wake()

    async def _offer(self, part: Part, parcel: Parcel) -> None:
        """Send a part, in halves where it is too large for the destination; what is refused is noted."""
        queue = deque([part])
        while queue:
            one = queue.popleft()
            began = self._clock.monotonic()
            try:
                outcome = await self._send(one)
            except TooLarge as error:
                if len(one.places) > 1:
                    queue.extendleft(reversed(one.halves()))
                    continue
                self._refused(one, parcel, error, began)
            except Reject as error:
                self._refused(one, parcel, error, began)
            else:
                self.book.took(one, outcome, self._clock.monotonic() - began)
                parcel.state = outcome.state if outcome.state is not None else parcel.state
                self._trail.state(True)
                ended, told = self._outage.succeeded()
                if told:
                    _log.info("delivery works again", forward=self.name, failures=ended)
                if outcome.rejected or outcome.message:
                    _log.warning("partial success", forward=self.name, rejected=outcome.rejected, said=outcome.message)

    async def _send(self, part: Part) -> Outcome:
        """Try until a destination has taken the part. Raises Reject when none will, StoppedError at the end."""
        failures, waiting = 0, False
        while True:
            lease = self.failover.pick()
            if lease is None:
                if not waiting:
                    self.book.waited()
                waiting = True
                await self._pause(self.failover.wait(), until_change=True)
                continue
            try:
                outcome = await self._try(lease, part)
            except Retry as error:
                failures += 1
                elsewhere = self.failover.failed(lease)
                await self._tell_failure(error, lease)
                wait = self._backoff.wait(failures, error.after)
                if wait is None:
                    reason = f"{failures} tries: {error.what}"
                    raise Reject(reason, ErrorClass.EXHAUSTED, hint=error.hint) from error
                if not elsewhere:
                    # A server's own Retry-After is kept; our guess ends with what made it.
                    await self._pause(wait, until_change=error.after is None)
                continue
            return outcome

    async def _try(self, lease: Lease[Sink], part: Part) -> Outcome:
        if self.stopping:
            raise StoppedError
        reach("ship.sending")
        try:
            outcome = await lease.target.send(part.batch)
        except Reject:
            self._answered(lease)
            raise
        except Retry:
            raise
        except Exception as error:
            # One bad batch must neither end the agent nor be lost.
            _log.exception("a defect of the sink; the batch goes to the dead letters", forward=self.name)
            self._answered(lease)
            raise Reject(f"{type(error).__name__}: {error}", ErrorClass.DEFECT) from error
        reach("ship.answered")
        self._answered(lease)
        return outcome

    def _answered(self, lease: Lease[Sink]) -> None:
        closed = self.failover.breakers[lease.index].state == "closed"
        self.failover.succeeded(lease)
        if not closed:
            self._nudge()

    async def _tell_failure(self, error: Retry, lease: Lease[Sink]) -> None:
        self.book.failed(error.kind, error.what)
        state = self.failover.breakers[lease.index].state
        hint = error.hint or "see whether it runs and can be reached; records wait on disk meanwhile"
        self._trail.state(False, f"{error.what} (circuit {state})", hint)
        if self._outage.failed(self._clock.monotonic())[1]:
            _log.warning(
                "delivery fails, it is tried again", forward=self.name, error_class=error.kind.value, error=error.what,
                circuit=state, hint=hint,
            )  # fmt: skip

    def _refused(self, part: Part, parcel: Parcel, error: Reject, began: float) -> None:
        self.book.refused(part, error.kind, error.what, self._clock.monotonic() - began)
        parcel.refused += part.refused(error.kind, error.what)
        self._tell_refused(parcel, len(part.places), error.kind, str(error))

    def _tell_refused(self, parcel: Parcel, records: int, kind: ErrorClass, why: str) -> None:
        """One line in some minutes at most: a stream of useless lines must not become a stream of log lines."""
        if self._refusals.failed(self._clock.monotonic())[1]:
            _log.error(
                "records refused for good; they are in the dead letters", forward=self.name, records=records,
                stream=parcel.stream, error_class=kind.value, error=why,
            )  # fmt: skip

    async def _conclude(self, parcel: Parcel) -> None:
        """Put the refused records away and settle the batch; a disk that takes nothing is waited for."""
        failures = Failures(longest=30.0)
        while True:
            try:
                dropped = await self._step(lambda: self._settle(parcel))
            except OSError as error:
                await self._trouble(failures, "dead letters and positions cannot be written", error)
                if self.stopping:
                    raise StoppedError from error
                continue
            self._over(failures, "dead letters and positions are written again")
            self.book.settled(parcel, dropped)
            return

    async def _trouble(self, failures: Failures, what: str, error: Exception) -> None:
        wait, say = failures.failed(self._clock.monotonic())
        said = getattr(error, "strerror", None) or str(error)
        self._trail.state(False, f"{what}: {said}", "is the state directory full or read-only?")
        if say:
            _log.error(what, forward=self.name, error=error, retry_seconds=wait)
        if not self.stopping:
            with anyio.move_on_after(wait):
                await self._changed()

    def _over(self, failures: Failures, what: str) -> None:
        """What `_trouble` told of has passed."""
        ended, told = failures.succeeded()
        if ended and not self._outage.count:
            self._trail.state(True)
        if told:
            _log.info(what, forward=self.name, failures=ended)

    async def _pause(self, seconds: float, *, until_change: bool = False) -> None:
        """Wait; with `until_change` only until an endpoint works again. Raises StoppedError when the agent leaves."""
        until = self._clock.monotonic() + seconds
        while (left := until - self._clock.monotonic()) > 0 and not self.stopping:
            with anyio.move_on_after(left):
                await self._changed()
                if until_change:
                    break
        if self.stopping:
            raise StoppedError

    async def _changed(self) -> None:
        """Until something happens that ends a wait."""
        await self._change.wait()

    def _nudge(self) -> None:
        self._change.set()
        self._change = anyio.Event()

    # -- steps, in worker threads

    async def _step(self, act: Callable[[], Result]) -> Result:
        def locked() -> Result:
            WORK.lower()
            with self._lock:
                return act()

        return await anyio.to_thread.run_sync(locked, limiter=self._limiter)

    def _next(self, places: int) -> tuple[list[Parcel], float | None]:
        """Batches whose bounds are durable, or the monotonic time at which one is due, None: when woken.

        As many small ones as there are places share a write of their bounds: what they wait for is the disk.
        """
        due = None
        while self._has_room(places):
            now = self._clock.monotonic()
            grant = self._budget.ask(self._wish())
            if grant is None:
                due = now + MEMORY_WAIT
                break
            try:
                parcel, due = self._find(grant, now)
            except (OSError, AgentError):
                if not self._prepared:
                    raise
                break  # it is tried again, and told then
            if parcel is None:
                break
            self._prepared.append(parcel)
        reach("ship.begun")
        self.cursors.save()
        parcels, self._prepared = self._prepared, []
        return parcels, due

    def _has_room(self, places: int) -> bool:
        size = sum(one.end - one.start for one in self._prepared)
        return not self._prepared or (len(self._prepared) < places and size < self.forward.batch.max_bytes // 2)

    def _wish(self) -> Ask:
        busy = self._under_way + len(self._prepared) > 0
        if self._source.wanted:
            return Ask(self._source.wanted, self._weight, busy, whole=True)
        return Ask(min(self._ceiling, self.forward.batch.max_bytes), self._weight, busy)

    def _find(self, grant: Grant, now: float) -> tuple[Parcel | None, float | None]:
        """What the source has within the grant, which goes with the batch; without one it is given back."""
        parcel = None
        try:
            parcel, due = self._source.find(now, grant.bytes)
        finally:
            if parcel is None:
                grant.end()
        if parcel is not None:
            grant.read(parcel.end - parcel.start)
            parcel.grant = grant
        return parcel, due

    def _settle(self, parcel: Parcel) -> int:
        now = self._clock.now()
        gone = self.letters.append(self._letter(one, parcel, now) for one in parcel.refused)
        reach("ship.buried")
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
        if self._source.notice(view, self._clock.monotonic()):
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
        """Go on from `position` of a stream; durable on return. From any thread. Raises OSError."""
        with self._lock:
            for one in self._prepared:
                if one.stream_id == view.stream_id and one.grant:
                    one.grant.end()
            self._prepared = [one for one in self._prepared if one.stream_id != view.stream_id]
            self._source.reset(view, position)
            self.cursors.save()
        self._noticed(view)
        self._waker.wake()

    async def replay(self, part: Part) -> None:
        """Send one part once, outside the order. Raises Retry or Reject."""
        lease = self.failover.pick()
        if lease is None:
            raise Retry("every endpoint's circuit is open", ErrorClass.UNAVAILABLE)
        try:
            await lease.target.send(part.batch)
        except Retry:
            self.failover.failed(lease)
            raise
        except Reject:
            self._answered(lease)
            raise
        self._answered(lease)
