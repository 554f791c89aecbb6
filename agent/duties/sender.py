"""The sending of one consumer's batches: each part is tried until a destination takes it, or refuses it for good.

Invariants:

- A part ends in one of two ways: a destination took it, or its records are noted as refused in its parcel. Until then
  it is tried again, as the same bytes, unless the agent leaves (`StoppedError`) or somebody set the cursor elsewhere
  meanwhile: then it is given up, and its records are noted as left out.
- Only a part that is too large, or that the sink cannot encode, is divided; its halves are other requests, sent in
  order.
- A refusal is an answer: it neither opens a circuit nor asks the next endpoint. What cannot be encoded was never asked.
- A part is encoded once for an endpoint, in a worker thread; all else here belongs to one event loop.
- It knows no file, cursor or dead letter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal, Protocol

import anyio
import anyio.to_thread

from agent.audit import Event
from agent.config import Forward
from agent.duties.ledger import Book
from agent.duties.parcel import Parcel, Part
from agent.kit import log
from agent.kit.clock import Clock
from agent.kit.loops import Failures
from agent.kit.priority import WORK
from agent.kit.retry import Backoff, Failover, Lease
from agent.kit.steps import reach
from agent.kit.words import count
from agent.sinks.base import ErrorClass, Outcome, Reject, Retry, Sink, TooLarge
from agent.streams.batch import Batch

_log = log.get("shipper")

_LOOK = "see `telemetry-agent dead-letters list` and the destination's log"


Work = Literal["sending", "reading", "saving"]
"""What a consumer does: each goes well, or not, for itself."""


class Trail(Protocol):
    """Who tells people: the component's state and the audit trail. Called from any thread; must not block."""

    def state(self, ok: bool, message: str = "", hint: str = "", *, of: Work = "sending") -> None:
        """Some of the consumer's work goes on, or does not."""
        ...

    def audit(self, event: Event, **details: Any) -> None:
        """Something happened to data."""
        ...


class StoppedError(Exception):
    """The agent is leaving; the batch stays unsettled and is sent again by the next start."""


class _NotAskedError(Reject):
    """The sink cannot put the part into its format, or it is too large for it; no destination was asked."""


class _GivenUpError(Exception):
    """The cursor was set elsewhere while the part waited."""


class Sender:
    """One consumer's endpoints, each behind its circuit breaker, and the waits between two tries."""

    def __init__(self, forward: Forward, sinks: Sequence[Sink], clock: Clock, book: Book, trail: Trail) -> None:
        rules = (forward, forward.traces, forward.logs, forward.metrics)
        self.failover = Failover(
            sinks, clock, failures=forward.breaker.failures, recovery=float(forward.breaker.recovery),
            patience=max(60.0, *(float(one.timeout) for one in rules)),
        )  # fmt: skip
        self._name = forward.name
        self._clock = clock
        self._book = book
        self._trail = trail
        self._backoff = Backoff(
            initial=float(forward.retry.initial), maximum=float(forward.retry.maximum),
            multiplier=forward.retry.multiplier, jitter=forward.retry.spread,
            attempts=forward.retry.max_attempts or None,
        )  # fmt: skip
        self._outage = Failures()
        self._refusals = Failures()
        self._partials = Failures()
        self._change = anyio.Event()
        self.stopping = False

    @property
    def destination(self) -> str:
        """Where the last try went, for people."""
        return self.failover.targets[self.failover.current].destination

    @property
    def failing(self) -> bool:
        """True while tries fail."""
        return self._outage.count > 0

    def stop(self) -> None:
        """Give up waiting and try nothing more; what a destination is just answering is heard."""
        self.stopping = True
        self.nudge()

    def nudge(self) -> None:
        """Let every wait see whether its reason still holds; in the loop's thread."""
        self._change.set()
        self._change = anyio.Event()

    async def aclose(self) -> None:
        """Close the sinks; a second call does nothing."""
        for sink in self.failover.targets:
            await sink.aclose()

    # -- a batch

    def encode(self, parcel: Parcel) -> None:
        """Encode every part for the endpoint in use, at once, while the records are at hand; in a worker thread.

        What cannot be encoded stays as it is: it fails again when its turn to be sent has come, and is told then.
        """
        sink = self.failover.targets[self.failover.current]
        for part in parcel.parts:
            with suppress(Exception):
                part.encoded = (sink, sink.encode(part.batch))

    async def send(self, parcel: Parcel) -> None:
        """Bring every part to its end; what is refused is noted in the parcel. Raises StoppedError."""
        if parcel.refused:
            self._tell_refused(parcel, len(parcel.refused), parcel.refused[0].kind, parcel.refused[0].reason)
        for part in parcel.parts:
            await self._offer(part, parcel)

    async def _offer(self, part: Part, parcel: Parcel) -> None:
        """Send a part, in halves where it is too large or holds what cannot be encoded; what is refused is noted."""
        queue = deque([part])
        while queue:
            one = queue.popleft()
            began = self._clock.monotonic()
            try:
                outcome = await self._send(one, parcel)
            except (TooLarge, _NotAskedError) as error:
                if len(one.places) > 1:
                    queue.extendleft(reversed(one.halves()))
                    continue
                self._refused(one, parcel, error, began)
            except Reject as error:
                self._refused(one, parcel, error, began)
            except _GivenUpError:
                self._book.left_out(one)
                parcel.leave_out(one, "reset")
            else:
                self._taken(one, parcel, outcome, began)
            finally:
                one.encoded = None

    def _taken(self, part: Part, parcel: Parcel, outcome: Outcome, began: float) -> None:
        self._book.took(part, outcome, self._clock.monotonic() - began)
        parcel.state = outcome.state if outcome.state is not None else parcel.state
        self._end_outage("delivery works again")
        if outcome.rejected:
            self._trail.state(False, f"{count(outcome.rejected, 'item')} of a batch refused: {outcome.message}", _LOOK)
        else:
            self._trail.state(True)
        if (outcome.rejected or outcome.message) and self._partials.failed(self._clock.monotonic())[1]:
            _log.warning("partial success", forward=self._name, rejected=outcome.rejected, said=outcome.message)

    def _refused(self, part: Part, parcel: Parcel, error: Reject, began: float) -> None:
        self._book.refused(part, error.kind, error.what, self._clock.monotonic() - began)
        parcel.refused += part.refused(error.kind, error.what)
        self._tell_refused(parcel, len(part.places), error.kind, str(error))
        if not isinstance(error, _NotAskedError) and error.kind is not ErrorClass.EXHAUSTED:
            self._end_outage("the destination answers again")
            self._trail.state(False, f"records are refused: {error.what}", error.hint or _LOOK)

    def _end_outage(self, what: str) -> None:
        """A destination answered."""
        ended, told = self._outage.succeeded()
        if told:
            _log.info(what, forward=self._name, failures=ended)

    def _tell_refused(self, parcel: Parcel, records: int, kind: ErrorClass, why: str) -> None:
        """One line in some minutes at most: a stream of useless lines must not become a stream of log lines."""
        if self._refusals.failed(self._clock.monotonic())[1]:
            _log.error(
                "records refused for good; they are in the dead letters", forward=self._name, records=records,
                stream=parcel.stream, error_class=kind.value, error=why,
            )  # fmt: skip

    # -- tries

    async def _send(self, part: Part, parcel: Parcel) -> Outcome:
        """Try until a destination has taken the part. Raises Reject when none will, StoppedError at the end."""
        failures, waiting = 0, False
        self._go_on(parcel)
        await self._encoded(self.failover.targets[self.failover.current], part)  # or nobody need be asked
        while True:
            self._go_on(parcel)
            lease = self.failover.pick()
            if lease is None:
                if not waiting:
                    self._book.waited()
                waiting = True
                await self._pause(self.failover.wait(), parcel, until_change=True)
                continue
            try:
                return await self._try(lease, part)
            except Retry as error:
                failures += 1
                elsewhere = self.failover.failed(lease)
                self._tell_failure(error, lease)
                wait = self._backoff.wait(failures, error.after)
                if wait is None:
                    reason = f"{failures} tries: {error.what}"
                    raise Reject(reason, ErrorClass.EXHAUSTED, hint=error.hint) from error
                if not elsewhere:
                    # A server's own Retry-After is kept; our guess ends with what made it.
                    await self._pause(wait, parcel, until_change=error.after is None)

    def _go_on(self, parcel: Parcel) -> None:
        """Raises _GivenUpError or StoppedError where it is not to be sent any more."""
        if parcel.given_up:
            raise _GivenUpError
        if self.stopping:
            raise StoppedError

    async def _try(self, lease: Lease[Sink], part: Part) -> Outcome:
        if self.stopping:
            raise StoppedError
        body = await self._encoded(lease.target, part)
        reach("ship.sending")
        try:
            outcome = await lease.target.send(part.batch, body)
        except Reject:
            self._answered(lease)
            raise
        except Retry:
            raise
        except Exception as error:
            # One bad batch must neither end the agent nor be lost.
            _log.exception("a defect of the sink; what it was to send is a dead letter", forward=self._name)
            self._answered(lease)
            raise Reject(f"{type(error).__name__}: {error}", ErrorClass.DEFECT) from error
        reach("ship.answered")
        self._answered(lease)
        return outcome

    async def _encoded(self, sink: Sink, part: Part) -> bytes:
        """Of halves, and for another endpoint than the first, not yet there. Raises _NotAskedError."""
        if part.encoded is None or part.encoded[0] is not sink:
            try:
                part.encoded = (sink, await anyio.to_thread.run_sync(_lowered, sink, part.batch))
            except Reject as error:
                raise _NotAskedError(error.what, error.kind, hint=error.hint) from error
            except Exception as error:
                if len(part.places) == 1:
                    _log.exception("a record cannot be encoded; it is a dead letter", forward=self._name)
                raise _NotAskedError(f"{type(error).__name__}: {error}", ErrorClass.DEFECT) from error
        return part.encoded[1]

    async def replay(self, part: Part) -> Outcome:
        """Send one part once, outside the order and the books. Raises Retry or Reject."""
        await self._encoded(self.failover.targets[self.failover.current], part)
        lease = self.failover.pick()
        if lease is None:
            raise Retry("every endpoint's circuit is open", ErrorClass.UNAVAILABLE)
        try:
            return await self._try(lease, part)
        except Retry:
            self.failover.failed(lease)
            raise
        except StoppedError as error:
            raise Retry("the agent is stopping", ErrorClass.UNAVAILABLE) from error

    def _answered(self, lease: Lease[Sink]) -> None:
        closed = self.failover.breakers[lease.index].state == "closed"
        self.failover.succeeded(lease)
        if not closed:
            self.nudge()

    def _tell_failure(self, error: Retry, lease: Lease[Sink]) -> None:
        self._book.failed(error.kind, error.what)
        state = self.failover.breakers[lease.index].state
        hint = error.hint or "see whether it runs and can be reached; records wait on disk meanwhile"
        self._trail.state(False, f"{error.what} (circuit {state})", hint)
        if self._outage.failed(self._clock.monotonic())[1]:
            _log.warning(
                "delivery fails, it is tried again", forward=self._name, error_class=error.kind.value,
                error=error.what, circuit=state, hint=hint,
            )  # fmt: skip

    # -- waits

    async def wait(self, seconds: float) -> bool:
        """So long at most; True when an endpoint works again or the agent leaves before."""
        with anyio.move_on_after(seconds):
            await self._change.wait()
            return True
        return False

    async def _pause(self, seconds: float, parcel: Parcel, *, until_change: bool = False) -> None:
        """Wait, unless the parcel is given up; with `until_change` only until an endpoint works again.

        Raises StoppedError when the agent leaves.
        """
        until = self._clock.monotonic() + seconds
        while (left := until - self._clock.monotonic()) > 0 and not self.stopping and not parcel.given_up:
            if await self.wait(left) and until_change:
                break
        if self.stopping:
            raise StoppedError


def _lowered(sink: Sink, batch: Batch) -> bytes:
    WORK.lower()
    return sink.encode(batch)
