"""Opening a live file outside a seal, only to find out what it is by now."""

from __future__ import annotations

from agent.kit.errors import AgentError
from agent.streams.catalog import Stream
from agent.streams.departure import Departures
from agent.streams.failures import failed
from agent.streams.recognise import accept, open_live, recognise
from agent.streams.tools import Tools


def examine(tools: Tools, departures: Departures, stream: Stream) -> None:
    """Another file stands at the path, or none, or it shrank: find out what became of the old one."""
    if stream.incarnation is None:
        return
    try:
        with open_live(stream) as live:
            recognise(tools, stream, live)
            stream.facts.size = live.size()
    except FileNotFoundError:
        _gone(tools, departures, stream)
    except (OSError, AgentError) as error:
        failed(tools, stream, error)


def _gone(tools: Tools, departures: Departures, stream: Stream) -> None:
    try:
        departures.gone(stream)
    except (OSError, AgentError) as error:
        failed(tools, stream, error)


def acquaint(tools: Tools, stream: Stream) -> None:
    """Get to know a live file before somebody reads it: its incarnation, and that it is a line log.

    Also one that is refused only because nothing of it may be given back: it can be read all the same.
    """
    if stream.departed or (stream.incarnation is not None and stream.accepted):
        return
    if stream.refused and stream.refused.reason not in ("filesystem", "permission"):
        return
    try:
        with open_live(stream) as live:
            recognise(tools, stream, live)
            first = live.first_byte(stream.incarnation.sealed) if stream.incarnation else None
            if first is not None:
                stream.accepted = accept(stream, live, first)
    except FileNotFoundError:
        return
    except (OSError, AgentError) as error:
        failed(tools, stream, error)
