"""One place that messages go to: at most one request on its way, in a thread that nobody waits for.

Invariants: a failure is counted and tried again at growing intervals, for ever; it delays no other outlet and no
evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from agent.alerts.message import DeliveryError, Message, Sender
from agent.alerts.state import Key
from agent.alerts.telling import Word
from agent.kit.clock import Clock
from agent.kit.quarantine import Call
from agent.kit.retry import Backoff

_BACKOFF = Backoff(initial=2.0, maximum=300.0)


@dataclass
class Numbers:
    """What happened at a notifier since the start."""

    sent: int = 0
    """Requests or messages that were taken; each may tell several alerts."""
    failures: int = 0
    last_success: float | None = None
    last_error: str = ""
    """Of the newest try, empty when it was taken."""


@dataclass
class Batch:
    """Alerts that one message tells."""

    word: Word
    keys: list[Key] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)


@dataclass(frozen=True)
class Settled:
    """How a batch ended."""

    batch: Batch
    error: DeliveryError | None


class Outlet:
    """A URL of Apprise, or a cluster of Alertmanagers. One thread uses it."""

    def __init__(
        self, name: str, notifier: str, kind: str, sender: Sender, clock: Clock, wake: Callable[[], None]
    ) -> None:
        self.name = name
        self.notifier = notifier
        self.kind = kind
        self.sender = sender
        self.numbers = Numbers()
        self.failed = 0
        """Failures in a row."""
        self.retry_at = 0.0
        """Monotonic time before which nothing is tried."""
        self._clock = clock
        self._wake = wake
        self._call: Call[None] | None = None
        self._batch = Batch("firing")

    @property
    def busy(self) -> bool:
        """True while a request is on its way."""
        return self._call is not None

    def inherit(self, old: Outlet) -> None:
        """Go on where the outlet of the same name was before a reload."""
        self.numbers, self.failed, self.retry_at = old.numbers, old.failed, 0.0
        self._call, self._batch = old._call, old._batch

    def start(self, batch: Batch) -> None:
        """Send in a thread of its own."""
        messages: Sequence[Message] = list(batch.messages)
        self._batch = batch
        self._call = Call(f"notify {self.name}", lambda: self.sender.send(messages), self._clock, self._wake)

    def settle(self, now: float) -> Settled | None:
        """How the request on its way ended; None while it has not."""
        answer = self._call.answer if self._call else None
        if answer is None:
            return None
        self._call = None
        if answer.error is None:
            self.failed, self.retry_at = 0, 0.0
            self.numbers.sent += 1
            self.numbers.last_success, self.numbers.last_error = self._clock.now(), ""
            return Settled(self._batch, None)
        error = answer.error if isinstance(answer.error, DeliveryError) else DeliveryError(type(answer.error).__name__)
        self.failed += 1
        self.retry_at = now + (_BACKOFF.wait(self.failed) or 0.0)
        self.numbers.failures += 1
        self.numbers.last_error = str(error)
        return Settled(self._batch, error)


def group(due: Mapping[Key, tuple[Word, Message]]) -> Batch | None:
    """The next batch: those that fire go first. One message never tells both: a pager would close what it opened."""
    for word in ("firing", "resolved"):
        batch = Batch(word)
        for key, (one, message) in due.items():
            if one == word:
                batch.keys.append(key)
                batch.messages.append(message)
        if batch.keys:
            return batch
    return None
