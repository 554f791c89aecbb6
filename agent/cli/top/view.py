"""The picture of `top`: the verdict, what is wrong, streams, destinations, checks, as far as they fit on the screen.

What matters most comes first: on a low screen streams that stand still go, on a narrow one columns do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.cli.output import fitted
from agent.cli.top.look import Look
from agent.control import ForwardStatus, Own, Status, StreamStatus, left_out
from agent.kit.errors import printable
from agent.kit.words import duration, moment, percent, size

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

_COLOURS = {"healthy": "green", "degraded": "yellow", "unhealthy": "bold red"}
_ISSUES = 4
"""Issues that are shown; `telemetry-agent health` has them all, and each in its full length."""
_STREAMS_AT_LEAST = 3
_UNBOUNDED = 10_000

_STREAM_DROP = ("METHOD", "SEGMENTS", "LOST", "NEXT ROTATION")
_FORWARD_DROP = ("DESTINATION", "REFUSED", "IN FLIGHT", "LEFT OUT", "DELIVERED")
_RIGHT = ("UNSEALED", "WRITTEN/S", "SEGMENTS", "LOST", "WAITING", "BEHIND", "RECORDS/S", "DELIVERED", "REFUSED",
          "IN FLIGHT")  # fmt: skip


class Picture:
    """Draws looks one after the other; remembers since when the agent is gone."""

    def __init__(self) -> None:
        self._gone: float | None = None

    def frame(self, console: Console, look: Look, height: int = _UNBOUNDED) -> RenderableType:
        """One picture, at most `height` lines high."""
        from rich.console import Group

        status = look.status
        lines: list[RenderableType] = [*self._missing(look)]
        if status is None:
            return Group(*lines)
        lines += [*_head(look, status), *_issues(look)]
        below: list[RenderableType] = [*_forwards(console, look, status), *_checks(look)]
        room = max(_STREAMS_AT_LEAST, height - _height(console, lines) - _height(console, below) - 4)
        return Group(*lines, *_streams(console, look, status, room), *below)

    def _missing(self, look: Look) -> Iterator[Text]:
        from rich.text import Text

        if not look.missing:
            self._gone = None
            return
        self._gone = self._gone or look.at
        seen = f"; what follows was seen at {moment(look.at)}" if look.status else ""
        yield Text(f"NO AGENT since {moment(self._gone)}, waiting for it{seen}", style="bold red")
        yield Text(printable(look.missing), style="red")
        yield Text("")


def _height(console: Console, parts: list[RenderableType]) -> int:
    return sum(len(console.render_lines(part, pad=False)) for part in parts)


def _head(look: Look, status: Status) -> Iterator[Text]:
    from rich.text import Text

    who = " ".join(printable(part) for part in ("telemetry-agent", status.service_name, status.environment) if part)
    up = f"up {duration(status.now - status.started)}"
    yield Text.assemble(
        (who, "bold"), "  ", (look.verdict.upper(), _COLOURS.get(look.verdict, "")), f"  pid {status.pid}, {up}  ",
        (moment(look.at), "dim"),
    )  # fmt: skip
    yield Text(", ".join(_use(look, status)))
    directory = status.directory
    limits = [limit for limit in (directory.max_total, directory.critical_total) if limit]
    of = f" ({percent(directory.total_bytes, min(limits))} of {size(min(limits))})" if limits else ""
    yield Text(
        f"disk {size(directory.total_bytes)}{of}, {size(directory.free_bytes)} free, "
        f"lost {size(status.lost_bytes)}; {printable(directory.path)}"
    )


def _use(look: Look, status: Status) -> Iterator[str]:
    yield f"CPU {look.cpu_percent:.1f}%" if look.cpu_percent is not None else "CPU ..."
    if status.own:
        yield _memory(status.own)
    if look.written_per_second:
        yield f"written {size(sum(look.written_per_second.values()))}/s"
    if status.forwards:
        yield f"waiting {size(sum(one.backlog_bytes for one in status.forwards))}"


def _memory(own: Own) -> str:
    if not own.memory_limit:
        return f"memory {size(own.resident_bytes)}"
    share = percent(own.memory_used, own.memory_limit)
    state = "" if own.memory_state == "normal" else f", {own.memory_state}"
    return f"memory {size(own.resident_bytes)} ({share} of {size(own.memory_limit)}{state})"


def _issues(look: Look) -> Iterator[Text]:
    from rich.text import Text

    for issue in look.issues[:_ISSUES]:
        # A line each, however narrow: the streams below must stay in sight.
        yield Text(f"! {printable(issue)}", style=_COLOURS.get(look.verdict, ""), no_wrap=True, overflow="ellipsis")
    if len(look.issues) > _ISSUES:
        yield Text(f"! {len(look.issues) - _ISSUES} more: telemetry-agent health", style="dim")
    yield Text("")


def _streams(console: Console, look: Look, status: Status, room: int) -> Iterator[RenderableType]:
    from rich.text import Text

    rates = look.written_per_second
    order = sorted(status.streams, key=lambda one: (one.state == "ok", -rates.get(one.name, 0.0), one.name))
    if not order:
        yield Text("no telemetry files yet")
        return
    hidden = len(order) - room
    chosen = order[: room - 1] if hidden > 0 else order
    rows = [_stream(one, rates, status.now) for one in chosen]
    styles = ["" if one.state == "ok" else "red" for one in chosen]
    yield fitted(console, rows, styles, drop=_STREAM_DROP, right=_RIGHT)
    if hidden > 0:
        yield Text(f"{len(order) - len(chosen)} more streams: telemetry-agent status", style="dim")


def _stream(one: StreamStatus, rates: dict[str, float], now: float) -> dict[str, str]:
    return {
        "STREAM": printable(one.name),
        "STATE": one.state,
        "WRITTEN/S": size(rates[one.name]) if one.name in rates else "...",
        "UNSEALED": size(one.live_bytes),
        "NEXT ROTATION": _next(one, now),
        "SEGMENTS": f"{one.segments} ({size(one.segment_bytes)})" if one.segments else "0",
        "LOST": size(one.lost_bytes),
        "METHOD": one.method,
    }


def _next(one: StreamStatus, now: float) -> str:
    planned = one.next_rotation
    if not planned.reason or one.state == "refused":
        return "-"
    return planned.reason if planned.at is None else f"{planned.reason} in {duration(planned.at - now)}"


def _forwards(console: Console, look: Look, status: Status) -> Iterator[RenderableType]:
    from rich.text import Text

    if not status.forwards:
        return
    rates = look.delivered_per_second
    yield Text("")
    processing = any(one.left_out for one in status.forwards)
    rows = [_forward(one, rates, processing=processing) for one in status.forwards]
    styles = ["" if one.breaker == "closed" else "red" for one in status.forwards]
    yield fitted(console, rows, styles, drop=_FORWARD_DROP, right=_RIGHT)


def _forward(one: ForwardStatus, rates: dict[str, float], *, processing: bool) -> dict[str, str]:
    return {
        "SINK": printable(one.name),
        "CIRCUIT": one.breaker,
        "WAITING": size(one.backlog_bytes),
        "BEHIND": duration(one.lag_seconds),
        "RECORDS/S": f"{rates[one.name]:,.0f}" if one.name in rates else "...",
        "DELIVERED": f"{one.delivered:,}",
        # Of spans, log records and data points; most destinations get all there is.
        **({"LEFT OUT": left_out(one) or "0"} if processing else {}),
        "IN FLIGHT": str(one.in_flight),
        "REFUSED": f"{one.dead_lettered:,}",
        "DESTINATION": printable(one.destination),
    }


def _checks(look: Look) -> Iterator[RenderableType]:
    """Healthy ones by name, others with their state; what is wrong with them stands above."""
    from rich.text import Text

    if not look.checks:
        return
    bad = [f"{printable(one.name)} {one.state.upper()}" for one in look.checks if one.level != 1]
    good = [printable(one.name) for one in look.checks if one.level == 1]
    yield Text("")
    yield Text.assemble(("CHECKS  ", "bold"), (", ".join(bad), "red"), "; " if bad and good else "",
                        f"healthy: {', '.join(good)}" if good else "")  # fmt: skip
