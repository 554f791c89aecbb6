"""What a sink is, and the words in which it answers.

A sink encodes a batch, which takes a processor's time and nothing else, and sends it to one place, once, within its own
deadline. It knows no cursor, no loop and no retry: it returns an `Outcome`, or raises `Retry` (the same batch may be
taken later) or `Reject` (this batch never will be). Anything else that it raises is a defect. Whether a failure may
pass is decided here, in `ErrorClass`, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from agent.kit.errors import AgentError
from agent.streams.batch import Batch


class ErrorClass(StrEnum):
    """Why something was not delivered: a bounded set, fit for a metric's label (`error.type`)."""

    # -- these may pass
    TIMEOUT = "timeout"
    CONNECT = "connect"
    """Nobody listens, or no way leads there."""
    DNS = "dns"
    TLS = "tls"
    DISCONNECTED = "disconnected"
    """The connection was reset or closed before the answer was whole."""
    PROXY = "proxy"
    THROTTLED = "throttled"
    """429."""
    UNAVAILABLE = "unavailable"
    """502, 503, 504."""
    IO = "io"
    """A local file, pipe or disk did not take it."""

    # -- these will not
    BAD_DATA = "bad_data"
    """400, 422: the destination understood the request and does not want these records; or no encoding says them."""
    UNAUTHORIZED = "unauthorized"
    """401, 403, 407."""
    NOT_FOUND = "not_found"
    """404, 405, 410: nobody serves this path."""
    TOO_LARGE = "too_large"
    """413, or above our own limit: see `TooLarge`."""
    UNSUPPORTED = "unsupported"
    """406, 415: the destination does not take this encoding or compression."""
    REDIRECTED = "redirected"
    """Any 3xx: a POST is never sent elsewhere than configured."""
    CLIENT_ERROR = "client_error"
    """Any other 4xx."""
    SERVER_ERROR = "server_error"
    """Any other 5xx, 500 included: OTLP/HTTP, Retryable Response Codes, names four that may be retried."""
    REJECTED = "rejected"
    """Items that a partial success refused."""
    NOT_OTLP = "not_otlp"
    """The record is no export request, so nobody was asked."""
    PROCESSING = "processing"
    """The record could not be processed as configured, so it was not passed on."""
    DEFECT = "defect"
    """The sink itself failed in a way that nobody foresaw."""
    EXHAUSTED = "attempts_exhausted"
    """A failure that may pass did not, in as many tries as the configuration allows."""

    @property
    def transient(self) -> bool:
        """True when the same request may succeed later."""
        return self in _TRANSIENT

    @classmethod
    def of_status(cls, status: int) -> ErrorClass:
        """The class of an HTTP status that is no success."""
        found = _STATUS.get(status)
        if found is not None:
            return found
        if 300 <= status < 400:
            return cls.REDIRECTED
        return cls.SERVER_ERROR if status >= 500 else cls.CLIENT_ERROR


_TRANSIENT = frozenset(
    {
        ErrorClass.TIMEOUT,
        ErrorClass.CONNECT,
        ErrorClass.DNS,
        ErrorClass.TLS,
        ErrorClass.DISCONNECTED,
        ErrorClass.PROXY,
        ErrorClass.THROTTLED,
        ErrorClass.UNAVAILABLE,
        ErrorClass.IO,
    }
)

_STATUS = {
    400: ErrorClass.BAD_DATA,
    401: ErrorClass.UNAUTHORIZED,
    403: ErrorClass.UNAUTHORIZED,
    404: ErrorClass.NOT_FOUND,
    405: ErrorClass.NOT_FOUND,
    406: ErrorClass.UNSUPPORTED,
    407: ErrorClass.UNAUTHORIZED,
    410: ErrorClass.NOT_FOUND,
    413: ErrorClass.TOO_LARGE,
    415: ErrorClass.UNSUPPORTED,
    422: ErrorClass.BAD_DATA,
    429: ErrorClass.THROTTLED,
    502: ErrorClass.UNAVAILABLE,
    503: ErrorClass.UNAVAILABLE,
    504: ErrorClass.UNAVAILABLE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a destination said to a batch that it took."""

    state: bytes | None = None
    """Opaque state of the sink after this batch, to be saved in the same write as the cursor."""
    rejected: int = 0
    """Items (spans, log records, data points) that a partial success refused; never sent again."""
    message: str = ""
    """What the destination added: a warning, or why it refused some items."""
    discarded: bool = False
    """The answer could not be used (too large, or not what it should be); the batch counts as taken all the same."""
    sent_bytes: int = 0
    """Bytes of the body as sent."""


class Retry(AgentError):  # noqa: N818 - it is an answer as much as an error
    """The batch was not taken, for a reason that may pass.

    `after`: seconds that the destination asked to wait, uncapped; None when it did not say.
    """

    def __init__(self, reason: str, kind: ErrorClass, *, after: float | None = None, hint: str = "") -> None:
        super().__init__(reason, hint=hint)
        self.kind = kind
        self.after = after


class Reject(AgentError):  # noqa: N818 - as Retry
    """The batch will never be taken as it is: it belongs into the dead letters."""

    def __init__(self, reason: str, kind: ErrorClass, *, hint: str = "") -> None:
        super().__init__(reason, hint=hint)
        self.kind = kind


class TooLarge(Reject):
    """The batch is too large for the destination or for our own limit.

    Its halves may be taken: they are other requests, so sending them is no retry. One record alone is a `Reject`.
    """

    def __init__(self, reason: str, *, hint: str = "") -> None:
        super().__init__(reason, ErrorClass.TOO_LARGE, hint=hint)


class Sink(Protocol):
    """One place that batches go to."""

    @property
    def destination(self) -> str:
        """Where that is, for people: no credentials in it."""
        ...

    def encode(self, batch: Batch) -> bytes:
        """What is sent of a batch; the same batch gives the same bytes. For a worker thread, which alone it holds up.

        Raises TooLarge, or Reject where the encoding cannot say what some record says: halves of the batch may do.
        """
        ...

    async def send(self, batch: Batch, body: bytes, /) -> Outcome:
        """Deliver a batch, encoded before, within the sink's own time limit; return only when the destination has it.

        Raises Retry, Reject or TooLarge.
        """
        ...

    async def aclose(self) -> None:
        """Give connections and descriptors back; a second call does nothing."""
        ...
