from __future__ import annotations

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from agent.cli.top.look import Look, compare
from agent.cli.top.view import Picture
from agent.control import CheckStatus, ForwardStatus, Own, Status
from agent.web.messages import Health, Service
from tests.unit.cli.conftest import FakeControl, Stage
from tests.unit.cli.samples import NOW, STATUS, stream

GOLDEN = Path(__file__).parent

OWN = Own(
    cpu_seconds=12.5, resident_bytes=48_000_000, memory_used=44_000_000, memory_limit=134_217_728,
    memory_source="cgroup v2 /sys/fs/cgroup", memory_state="normal", memory_pauses=0, granted_bytes=0, cpu_limit=None,
    nice=0, ionice="",
)  # fmt: skip


def sink(name: str, **changes: Any) -> ForwardStatus:
    """A destination that works, but for `changes`."""
    fields: dict[str, Any] = {
        **{field.name: 0 for field in msgspec.structs.fields(ForwardStatus) if field.required},
        "name": name, "kind": "otlp", "destination": "http://127.0.0.1:4318", "breaker": "closed", "delivered": 20_000,
        "backlog_bytes": 350_000, "lag_seconds": 2.0, **changes,
    }  # fmt: skip
    return msgspec.convert(fields, ForwardStatus)


def check(name: str, level: int, state: str) -> CheckStatus:
    """A check in this state."""
    return CheckStatus(name=name, kind=name, state=state, level=level, since=NOW)


BEFORE = msgspec.structs.replace(
    STATUS,
    own=OWN,
    forwards=[sink("collector"), sink("archive", breaker="open", backlog_bytes=49_200_000, delivered=0)],
)
AFTER = msgspec.structs.replace(
    BEFORE,
    streams=[stream("traces.json", id="1", position=812_500_000), *STATUS.streams[1:]],
    own=msgspec.structs.replace(OWN, cpu_seconds=12.563),
    forwards=[sink("collector", delivered=21_234), BEFORE.forwards[1]],
)
FIRST = Look(
    at=NOW, verdict="degraded", issues=["web is degraded: port 9464 is taken; choose another web.listen"],
    checks=[check("memory", 1, "healthy"), check("disk_space", 1, "healthy"), check("database", 3, "unhealthy")],
    status=msgspec.structs.replace(BEFORE, streams=[stream("traces.json", id="1"), *STATUS.streams[1:]]),
)  # fmt: skip
SECOND = compare(FIRST, msgspec.structs.replace(FIRST, at=NOW + 1, status=AFTER))


def drawn(look: Look, width: int = 140, height: int = 60, picture: Picture | None = None) -> str:
    """What a screen of that size shows, without the padding at the line ends."""
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False, emoji=False)
    console.print((picture or Picture()).frame(console, look, height=height))
    assert isinstance(console.file, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


@pytest.mark.parametrize("width", [140, 60])
def test_top_looks_like_this(width: int) -> None:
    """The whole picture, on a wide screen and on a narrow one."""
    text = drawn(SECOND, width)

    assert (GOLDEN / f"top-{width}.golden").read_text("utf-8") == text
    if width >= 100:
        assert max(map(len, text.splitlines())) <= width


def test_top_tells_what_rules_leave_out() -> None:
    """By reason, in a column that is only there where a destination has such rules."""
    vendor = sink("vendor", left_out={"sample": 5311, "filter": 1204})
    status = msgspec.structs.replace(AFTER, forwards=[sink("all"), vendor])

    text = drawn(msgspec.structs.replace(SECOND, status=status), 140)

    heads, all_of_it, some = text.partition("SINK")[2].splitlines()[:3]
    assert "LEFT OUT" in heads
    assert "1,204 filtered, 5,311 sampled" in some
    assert "filtered" not in all_of_it


@pytest.mark.parametrize("height", [14, 18, 24])
def test_on_a_low_screen_streams_that_stand_still_go(height: int) -> None:
    """Those in trouble and the busiest stay; the others are counted."""
    crowd = [stream("bad.json", state="refused"), *(stream(f"{number:03}.json") for number in range(200))]
    status = msgspec.structs.replace(AFTER, streams=crowd)
    rates = {f"{number:03}.json": float(number) for number in range(200)}

    text = drawn(msgspec.structs.replace(SECOND, status=status, written_per_second=rates), 140, height)

    assert "bad.json" in text
    assert "199.json" in text
    assert "000.json" not in text
    assert "more streams: telemetry-agent status" in text
    assert len(text.splitlines()) <= max(height, 18)


def test_rates_are_those_between_two_looks() -> None:
    """Of what was there both times; an agent that was started anew has none."""
    assert 6.3 == SECOND.cpu_percent
    assert 500_000.0 == SECOND.written_per_second["traces.json"]
    assert {"collector": 1234.0, "archive": 0.0} == SECOND.delivered_per_second

    again = msgspec.structs.replace(FIRST, status=msgspec.structs.replace(AFTER, pid=1))
    assert compare(FIRST, again).cpu_percent is None
    assert {} == compare(None, FIRST).written_per_second


def test_an_agent_that_goes_away_is_waited_for() -> None:
    """Since when it is gone, and that what stands there is old; all of it is gone when it is back."""
    picture = Picture()
    drawn(SECOND, picture=picture)
    gone = drawn(msgspec.structs.replace(SECOND, missing="no agent is running"), picture=picture)
    later = drawn(msgspec.structs.replace(SECOND, at=NOW + 9, missing="no agent is running"), picture=picture)
    back = drawn(SECOND, picture=picture)

    assert gone.startswith("NO AGENT since 2026-11-22 17:20:01Z, waiting for it; what follows was seen at")
    assert "traces.json" in gone
    assert later.startswith("NO AGENT since 2026-11-22 17:20:01Z")
    assert back.startswith("telemetry-agent checkout production")


def test_a_name_cannot_command_the_terminal() -> None:
    """Control characters of files, services and messages are shown escaped; brackets are no markup."""
    status = msgspec.structs.replace(AFTER, streams=[stream("\x1b[31m[bold]x.json")], service_name="\x1b]0;x\x07")
    text = drawn(msgspec.structs.replace(SECOND, status=status, issues=["\x1b[2J\u202egone"]))

    assert "\\x1b[31m[bold]x.json" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_nothing_there_yet() -> None:
    """No stream, no destination, no check: a sentence."""
    status = msgspec.structs.replace(AFTER, streams=[], forwards=[], own=None)

    assert "no telemetry files yet" in drawn(Look(at=NOW, verdict="healthy", status=status))


class FullControl(FakeControl):
    """Answers /health, too."""

    def health(self) -> Health:
        """Degraded, with checks."""
        return Health("degraded", False, True, FIRST.issues, Service("a", "1"), [], checks=FIRST.checks)


def test_once_json_is_a_look_with_rates(stage: Stage) -> None:
    """A program gets what the picture is made of."""
    with stage.agent(FullControl({"status": BEFORE})):
        code, out, err = stage.run("top", "--once", "--json", "--interval", "0.2")

    assert (0, "") == (code, err)
    look = msgspec.json.decode(out, type=Look)
    assert (0.0, "degraded", 3) == (look.cpu_percent, look.verdict, len(look.checks))
    assert look.status == BEFORE
    assert 0.0 == look.written_per_second["traces.json"]


def test_once_is_a_picture_in_a_pipe(stage: Stage) -> None:
    """Without a terminal's commands."""
    with stage.agent(FullControl({"status": BEFORE})):
        code, out, err = stage.run("top", "--once", "--interval", "0.2")

    assert (0, "") == (code, err)
    assert "DEGRADED" in out
    assert "traces.json" in out
    assert "\x1b" not in out


def test_once_without_an_agent_says_so(stage: Stage) -> None:
    """It can be tried again later: exit code 75."""
    code, out, err = stage.run("top", "--once")

    assert (75, "") == (code, out)
    assert "no agent is running" in err


def spawn(stage: Stage, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "agent", "--directory", str(stage.directory), "top", "-n", "0.2", *arguments]
    return subprocess.Popen(command, **options)


def test_in_a_pipe_there_is_a_line_of_json_a_look(stage: Stage) -> None:
    """Until it is interrupted, which is how it is meant to end: exit code 0."""
    with stage.agent(FullControl({"status": BEFORE})), spawn(stage, "--json", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        process.stdout.read()

        assert 0 == process.wait(20)
    assert [None, 0.0, 0.0] == [json.loads(line)["cpu_percent"] for line in lines]


def until(terminal: int, wanted: bytes, seconds: float = 30) -> bytes:
    """What comes from a terminal until `wanted` is in it."""
    seen, end = b"", time.monotonic() + seconds
    while wanted not in seen:
        assert time.monotonic() < end, seen[-2000:]
        if select.select([terminal], [], [], 0.2)[0]:
            seen += os.read(terminal, 65536)
    return seen


def test_on_a_terminal_the_picture_stays_in_place_and_the_agent_may_come_and_go(stage: Stage) -> None:
    """It waits for an agent, shows it, says when it is gone, and leaves the screen as it was."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    with spawn(stage, stdin=theirs, stdout=theirs, stderr=theirs, env=environ) as process:
        os.close(theirs)
        until(ours, b"NO AGENT")
        with stage.agent(FullControl({"status": BEFORE})):
            until(ours, b"traces.json")
        until(ours, b"NO AGENT")
        process.send_signal(signal.SIGINT)
        last = until(ours, b"\x1b[?1049l")

        assert 0 == process.wait(20)
    os.close(ours)
    assert b"Traceback" not in last


def test_status_types_stay_in_step() -> None:
    """The look's status is the one that the agent answers with."""
    assert isinstance(SECOND.status, Status)
