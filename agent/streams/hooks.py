"""The commands before and after a rotation: bounded, in a clean environment, and never in the way of the data."""

from __future__ import annotations

from collections.abc import Sequence

from agent.kit import command
from agent.kit.errors import AgentError, printable
from agent.streams.catalog import Stream
from agent.streams.tools import Tools


def before(tools: Tools, stream: Stream, reason: str) -> None:
    """Run `rotation.pre`; AgentError when it fails: then the rotation does not happen."""
    failed = _run(tools, stream, stream.rotation.pre, "pre", reason, "")
    if failed:
        raise AgentError(
            f"rotation.pre failed ({failed}); this rotation does not happen",
            path=stream.name,
            hint="the data stays in the live file; mend the command or remove it",
        )


def after(tools: Tools, stream: Stream, reason: str, segment: str) -> None:
    """Run `rotation.post`; a failure is told and changes nothing."""
    _run(tools, stream, stream.rotation.post, "post", reason, segment)


def _run(tools: Tools, stream: Stream, argv: Sequence[str], kind: str, reason: str, segment: str) -> str:
    if not argv:
        return ""
    environ = {
        "TELEMETRY_AGENT_STREAM": printable(stream.name),
        "TELEMETRY_AGENT_DIRECTORY": printable(stream.place.home.path),
        "TELEMETRY_AGENT_REASON": reason,
        "TELEMETRY_AGENT_SEGMENT": segment,
    }
    done = command.run(argv, timeout=stream.rotation.hook_timeout, clock=tools.clock, environ=environ)
    if done.ok:
        return ""
    tools.audit.write("hook", stream=stream.name, reason=f"{kind} failed", why=printable(str(done)))
    return printable(str(done))
