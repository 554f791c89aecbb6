"""The parts of the status page below its verdict: each takes values and gives HTML. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agent.control import (
    CheckStatus,
    DirectoryStatus,
    ForwardStatus,
    NextRotation,
    Own,
    Status,
    StreamStatus,
    left_out,
)
from agent.health.check import Level
from agent.kit.words import duration, moment, percent, size
from agent.web import spark
from agent.web.history import History
from agent.web.markup import Child, Markup, join, tag
from agent.web.tables import NONE, Column, name, state, table

STREAMS = 100
"""Streams that are listed: those in trouble first, then those that are written to most."""
SEGMENTS = 8
AUDITED = 20
_DETAILS = 160
_UNTOLD = frozenset({"time", "event", "stream", "reason", "digest", "positions", "physical"})
"""Keys of an entry that have a column of their own, or tell people little; `telemetry-agent audit` has them all."""
_SPAN = "the last quarter of an hour"

_STREAM = (
    Column("Stream"), Column("State"), Column("Written"), Column("Unsealed", number=True), Column("Next rotation"),
    Column("Segments", number=True), Column("Oldest", number=True), Column("Lost", number=True),
)  # fmt: skip
_FORWARD = (
    Column("Destination"), Column("State"), Column("Waiting"), Column("Behind", number=True),
    Column("Delivered", number=True), Column("Left out", number=True), Column("Refused", number=True),
    Column("Last success", number=True), Column("Last error"),
)  # fmt: skip
_CHECK = (Column("Check"), Column("State"), Column("What it found"), Column("What to do"), Column("For", number=True))
_SEGMENT = (
    Column("Segment"), Column("Stream"), Column("Sealed", number=True), Column("Records", number=True),
    Column("Size", number=True), Column("Because"),
)  # fmt: skip
_AUDIT = (Column("Time"), Column("What"), Column("Stream"), Column("Why"), Column("Details"))

Entry = Mapping[str, Any]
"""One line of the audit trail."""


def figures(status: Status, history: History) -> Markup:
    """The few numbers that say how things are as a whole."""
    cards = [_written(status, history), _disk(status.directory, history), _free(status.directory)]
    if status.forwards:
        cards.append(_waiting(status.forwards, history))
    lost = status.lost_bytes
    cards.append(_figure("Lost since the start", size(lost), "records that nobody can read any more" if lost else
                         "nothing", grade="bad" if lost else ""))  # fmt: skip
    if status.own:
        cards.append(_own(status.own, history))
    return tag("dl", *cards, class_="figures")


def _figure(title: str, value: str, below: Child, chart: Markup | None = None, grade: str = "") -> Markup:
    told = tag("dd", tag("span", value, class_=f"value {grade}".rstrip()), tag("span", below, class_="below"), chart)
    return tag("div", tag("dt", title), told)


def _written(status: Status, history: History) -> Markup:
    growth = sum(stream.growth_per_minute for stream in status.streams)
    rates = history.rates("position")
    number = len(status.streams)
    below = f"by {number:,} {'stream' if number == 1 else 'streams'}"
    return _figure("Written a minute", size(growth), below, _chart("bytes written", [60 * rate for rate in rates]))


def _chart(what: str, values: list[float]) -> Markup | None:
    if not values:
        return None
    return spark.line(values, f"{what}, {_SPAN}: {size(min(values))} to {size(max(values))}")


def _disk(directory: DirectoryStatus, history: History) -> Markup:
    limits = [("retention.max_total", directory.max_total), ("files.critical_total", directory.critical_total)]
    set_limits = [(limit, key) for key, limit in limits if limit]
    chart = _chart("bytes on disk", history.values("disk"))
    if not set_limits:
        return _figure("On disk", size(directory.total_bytes), "no limit is set", chart)
    limit, key = min(set_limits)
    share = directory.total_bytes / limit
    grade = "bad" if directory.critical else "warn" if share > 0.9 else "ok"
    told = f"{percent(directory.total_bytes, limit)} of {size(limit)}, {key}"
    return _figure("On disk", size(directory.total_bytes), told, join(spark.bar(share, told, grade), chart))


def _free(directory: DirectoryStatus) -> Markup:
    share = directory.free_bytes / directory.capacity_bytes if directory.capacity_bytes else 1.0
    told = f"{percent(directory.free_bytes, directory.capacity_bytes)} of {size(directory.capacity_bytes)} free"
    grade = "bad" if share < 0.05 else "warn" if share < 0.1 else "ok"
    below = join(told, tag("span", f" on {directory.filesystem}"))
    return _figure("Free space", size(directory.free_bytes), below, spark.bar(1 - share, told, grade))


def _waiting(forwards: list[ForwardStatus], history: History) -> Markup:
    lag = max(forward.lag_seconds for forward in forwards)
    below = f"the oldest since {duration(lag)}" if lag >= 1 else "up to date"
    chart = _chart("bytes waiting", history.values("backlog"))
    return _figure("Waiting to be sent", size(sum(forward.backlog_bytes for forward in forwards)), below, chart)


def _own(own: Own, history: History) -> Markup:
    cpu = history.rates("cpu")
    used = f"{100 * cpu[-1]:.1f}% of a CPU" if cpu else f"{duration(own.cpu_seconds)} of CPU time"
    chart = spark.line(cpu, f"CPU, {_SPAN}: {100 * min(cpu):.1f}% to {100 * max(cpu):.1f}%") if cpu else None
    if not own.memory_limit:
        return _figure("The agent itself", size(own.resident_bytes), f"memory, no limit; {used}", chart)
    share = own.memory_used / own.memory_limit
    grade = {"paused": "bad", "tight": "warn"}.get(own.memory_state, "ok")
    told = f"{percent(own.memory_used, own.memory_limit)} of {size(own.memory_limit)} memory, {own.memory_state}"
    return _figure(
        "The agent itself", size(own.memory_used), f"{told}; {used}", join(spark.bar(share, told, grade), chart)
    )


def streams(status: Status, history: History) -> Markup:
    """The watched files."""
    order = sorted(status.streams, key=lambda one: (one.state == "ok" and not one.lost_bytes, -one.growth_per_minute,
                                                     one.name))  # fmt: skip
    rows = (_stream(one, status.now, history) for one in order[:STREAMS])
    empty = "No telemetry files yet: nothing in the directory matches files.include. A file is taken up at once."
    shown = table("Streams", _STREAM, rows, empty)
    left = len(order) - STREAMS
    if left <= 0:
        return shown
    return join(shown, tag("p", f"{left:,} more streams; telemetry-agent status lists them all", class_="empty"))


def _stream(stream: StreamStatus, now: float, history: History) -> list[Child]:
    grade = {"ok": "ok", "gone": ""}.get(stream.state, "warn")
    rates = [60 * rate for rate in history.rates("position", stream.name)]
    growth = f"{size(stream.growth_per_minute)}/min"
    return [
        name(stream.name, "" if stream.state == "refused" else stream.method),
        state(grade, stream.state),
        join(growth, _chart(f"bytes a minute into {stream.name}", rates)),
        size(stream.live_bytes),
        NONE if stream.state == "refused" else rotation(stream.next_rotation, now),
        f"{stream.segments} · {size(stream.segment_bytes)}" if stream.segments else "none",
        NONE if stream.oldest is None else f"{duration(now - stream.oldest)} ago",
        tag("span", size(stream.lost_bytes), class_="bad") if stream.lost_bytes else "none",
    ]


def rotation(planned: NextRotation, now: float) -> str:
    """When a stream is sealed next, and why then."""
    if not planned.reason:
        return "nothing to seal"
    if planned.at is None:
        return f"by {planned.reason}"
    left = planned.at - now
    about = "about " if planned.reason == "size" else ""
    return f"in {about}{duration(left)}, by {planned.reason}" if left >= 1 else f"now, by {planned.reason}"


def forwards(status: Status, history: History) -> Markup:
    """The destinations."""
    rows = (_forward(one, status.now, history) for one in status.forwards)
    return table("Destinations", _FORWARD, rows, "Nothing is delivered: no [[forward]] is configured.")


def _forward(one: ForwardStatus, now: float, history: History) -> list[Child]:
    failing = one.last_failure is not None and (one.last_success is None or one.last_failure > one.last_success)
    grade = "bad" if one.breaker == "open" else "warn" if failing or one.breaker != "closed" else "ok"
    word = "circuit open" if one.breaker == "open" else "failing" if grade == "warn" else "ok"
    chart = _chart(f"bytes waiting for {one.name}", history.values("backlog", one.name))
    return [
        name(one.name, one.destination),
        state(grade, word),
        join(size(one.backlog_bytes), chart),
        duration(one.lag_seconds),
        f"{one.delivered:,}",
        _left_out(one),
        tag("span", f"{one.dead_lettered:,}", class_="bad") if one.dead_lettered else "none",
        "never" if one.last_success is None else f"{duration(now - one.last_success)} ago",
        one.last_error if failing else NONE,
    ]


def _left_out(one: ForwardStatus) -> Child:
    """By the rules of the destination; of some records nothing is left."""
    told = left_out(one)
    return name(told, f"{one.filtered:,} records whole" if one.filtered else "") if told else "none"


def checks(found: list[CheckStatus], now: float) -> Markup:
    """The health checks, the worst first."""
    order = sorted(found, key=lambda one: (-one.level, one.name))
    return table("Health checks", _CHECK, (_check(one, now) for one in order), "No checks are configured.")


def _check(one: CheckStatus, now: float) -> list[Child]:
    grade = {Level.HEALTHY: "ok", Level.WARNING: "warn", Level.UNHEALTHY: "bad"}.get(Level(one.level), "")
    since = NONE if one.since is None else duration(now - one.since)
    return [name(one.name), state(grade, one.state), one.message or NONE, one.hint or NONE, since]


def segments(entries: Sequence[Entry], now: float) -> Markup:
    """The segments that were sealed last, by the audit trail's newest entries."""
    sealed = [entry for entry in entries if entry.get("event") == "seal"][:SEGMENTS]
    rows = (
        [
            name(str(entry.get("segment", ""))), str(entry.get("stream", "")), _ago(entry, now),
            f"{int(entry.get('records', 0)):,}",
            f"{size(entry.get('bytes', 0))} → {size(entry.get('compressed', 0))}", str(entry.get("reason", "")),
        ]
        for entry in sealed
    )  # fmt: skip
    return table("Newest segments", _SEGMENT, rows, "Nothing was sealed since the agent started.")


def audit(entries: Sequence[Entry]) -> Markup:
    """What the agent did to data of late, the newest first; a release only follows its seal."""
    told = [entry for entry in entries if entry.get("event") != "release"]
    return table("Audit trail", _AUDIT, (_entry(entry) for entry in told[:AUDITED]), "Nothing happened yet.")


def _entry(entry: Entry) -> list[Child]:
    at = moment(float(entry.get("time", 0)))
    rest = ", ".join(_details(entry))
    return [
        tag("time", at, datetime=at.replace(" ", "T")),
        str(entry.get("event", "")),
        str(entry.get("stream", "")) or NONE,
        str(entry.get("reason", "")) or NONE,
        tag("span", rest[:_DETAILS] + ("…" if len(rest) > _DETAILS else "") or NONE, class_="details"),
    ]


def _details(entry: Entry) -> Iterator[str]:
    for key, value in entry.items():
        if key not in _UNTOLD and value not in ("", None):
            yield f"{key} {value}"


def _ago(entry: Entry, now: float) -> str:
    return f"{duration(now - float(entry.get('time', now)))} ago"
