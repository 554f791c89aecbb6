"""What goes wrong with a stream: told once, tried again ever later, and told again when it is over.

Whatever fails, the data stays where it is.
"""

from __future__ import annotations

from agent.kit import log
from agent.kit.errors import RefusedError, StoppingError, printable
from agent.streams.catalog import Stream
from agent.streams.tools import Tools

_log = log.get("engine")

AGAIN_FIRST, AGAIN_LAST = 0.25, 30.0
"""Seconds until sealing is tried again after it found nothing whole; doubled each time, up to the second."""


def failed(tools: Tools, stream: Stream, error: Exception) -> None:
    """Tell of a failure once, until it is another one.

    To be busy (somebody holds a lease) is none. A StoppingError, for which the agent has to leave, goes on its way.
    """
    if isinstance(error, StoppingError):
        raise error
    if isinstance(error, BlockingIOError):
        return
    if isinstance(error, RefusedError):
        refuse(tools, stream, error)
        return
    text = printable(str(error))
    if stream.failure != text:
        stream.failure = text
        tools.audit.write("error", stream=stream.name, reason=text)
        _log.error("a stream cannot be sealed; its data stays in the live file", stream=stream.name, error=error)


def over(tools: Tools, stream: Stream) -> None:
    """Tell, once, that a failure is over."""
    if stream.failure:
        tools.audit.write("recovered", stream=stream.name, reason=stream.failure)
        _log.info("a stream is sealed again", stream=stream.name)
        stream.failure = ""


def refuse(tools: Tools, stream: Stream, error: RefusedError) -> None:
    """Leave the stream's file alone until somebody put right what is wrong with it."""
    if stream.refused is not None and stream.refused.reason == error.reason:
        return
    stream.refused = error
    tools.changed(stream)
    tools.audit.write("refuse", stream=stream.name, reason=error.reason, why=printable(str(error)))
    _log.warning("a file is refused", stream=stream.name, reason=error.reason, hint=error.hint)


def put_off(tools: Tools, stream: Stream) -> None:
    """Ask again, ever later."""
    wait = min(AGAIN_LAST, AGAIN_FIRST * 2.0 ** min(stream.fruitless, 16))
    stream.not_before = tools.clock.monotonic() + wait
    stream.fruitless += 1
