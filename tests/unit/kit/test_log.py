"""The log: what a line looks like, and what can never be in one."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator

import pytest

from agent.kit import log
from agent.kit.errors import AgentError
from agent.kit.units import Duration, Size


class Noon:
    """A clock that stands at 2024-10-22 16:30:00.25 UTC."""

    def now(self) -> float:
        """Wall time."""
        return 1729614600.25

    def monotonic(self) -> float:
        """Time that never goes back."""
        return 0.0

    def sleep(self, seconds: float) -> None:
        """Never called."""
        raise AssertionError("the log must not sleep", seconds)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:  # noqa: D102 - as a stream
        return True


class Broken(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, _text: str, /) -> int:  # noqa: D102 - as a stream
        raise BrokenPipeError


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the process its log and its standard logging back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(log, "_current", log.Log())
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in log._TALKATIVE:
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_a_line_is_one_json_object_with_time_in_utc() -> None:
    """Off a terminal `auto` writes JSON with an RFC 3339 time in UTC, level, event and values."""
    out = io.StringIO()
    log.setup(stream=out, clock=Noon(), environ={})

    log.get("keeper").info("sealed", stream="a.json", bytes=12, ratio=7.5, names=("x", b"y"), none=None)

    expected = {
        "timestamp": "2024-10-22T16:30:00.250Z", "level": "info", "event": "sealed", "logger": "keeper",
        "stream": "a.json", "bytes": 12, "ratio": 7.5, "names": ["x", "y"], "none": None,
    }  # fmt: skip
    assert expected == json.loads(out.getvalue())
    assert out.getvalue().endswith("}\n")


def test_a_terminal_gets_text_in_colour() -> None:
    """On a terminal `auto` writes text for a person, with the level in its colour."""
    out = Terminal()
    log.setup(stream=out, clock=Noon(), environ={})

    log.get("keeper").warning("behind", stream="a b.json", by=3, left="")

    expected = (
        '2024-10-22T16:30:00.250Z \x1b[33mwarning \x1b[0m behind  logger=keeper  stream="a b.json"  by=3  left=""\n'
    )
    assert expected == out.getvalue()


def test_no_color_is_obeyed() -> None:
    """With NO_COLOR in the environment a terminal gets plain text (no-color.org)."""
    out = Terminal()
    log.setup(stream=out, clock=Noon(), environ={"NO_COLOR": "1"})

    log.get("keeper").info("ready")

    assert out.getvalue() == "2024-10-22T16:30:00.250Z info     ready  logger=keeper\n"


@pytest.mark.parametrize("style", ["console", "json"])
def test_hostile_values_cannot_break_or_forge_a_line(style: log.Format) -> None:
    """Control characters, escapes and lone surrogates in any key, value or event come out as their escapes."""
    out = io.StringIO()
    log.setup(style=style, stream=out, clock=Noon(), environ={})
    evil = "a\n2024 error forged\r\x1b[31m\x00\x7f\x9b\u2028\udcff"

    log.get("keeper").error(evil, **{evil: {evil: [evil, evil.encode("utf-8", "surrogateescape")]}})

    text = out.getvalue()
    assert text.count("\n") == 1
    assert text[:-1].isprintable()


def test_a_traceback_is_kept_and_cleaned() -> None:
    """An exception's traceback is in the line, and a control character in its message is escaped."""
    out = io.StringIO()
    log.setup(style="json", stream=out, clock=Noon(), environ={})

    try:
        raise ValueError("bad \x1b name")
    except ValueError:
        log.get("keeper").exception("failed")

    line = json.loads(out.getvalue())
    assert line["level"] == "error"
    assert line["exception"].endswith("ValueError: bad \\x1b name")
    assert "test_a_traceback_is_kept_and_cleaned" in line["exception"]


def test_an_agent_error_shows_what_where_and_the_hint() -> None:
    """An error given as a value is written as its sentence."""
    out = io.StringIO()
    log.setup(style="json", stream=out, clock=Noon(), environ={})

    log.get("keeper").error("keeper failed", error=AgentError("no space", path="/x\n", hint="make room"))

    assert json.loads(out.getvalue())["error"] == "no space, path /x\\n; make room"


def test_numbers_of_any_kind_are_written() -> None:
    """Durations and sizes are plain numbers in a line, a huge integer is whole, and what is no number is null."""
    out = io.StringIO()
    log.setup(style="json", stream=out, clock=Noon(), environ={})

    log.get("keeper").info("numbers", values=[Duration("5m"), Size("5MB"), 2**70, float("nan"), True])

    assert json.loads(out.getvalue())["values"] == [300.0, 5_000_000, 2**70, None, True]


def test_levels_below_the_chosen_one_are_dropped_and_can_be_changed() -> None:
    """A reload changes the level of loggers that exist already; only what is written is counted."""
    out, levels = io.StringIO(), list[str]()
    here = log.setup("warning", stream=out, clock=Noon(), count=levels.append, environ={})
    logger = log.get("keeper")

    logger.info("dropped")
    here.set_level("debug")
    logger.debug("shown")
    logger.error("also")

    assert levels == ["debug", "error"]
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["shown", "also"]


def test_standard_logging_takes_the_same_way() -> None:
    """Records of libraries and warnings are written as events of their logger."""
    out = io.StringIO()
    log.setup(stream=out, clock=Noon(), environ={})

    logging.getLogger("uvicorn.error").error("lost %s", "it\n")
    logging.getLogger("odd").log(35, "between %d", "levels")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old", stacklevel=1)

    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["logger"], line["level"]) for line in lines] == [
        ("uvicorn.error", "error"), ("odd", "warning"), ("py.warnings", "warning"),
    ]  # fmt: skip
    assert lines[0]["event"] == "lost it\\n"
    assert lines[1]["event"] == "between %d ('levels',)"


def test_talkative_libraries_are_quiet_unless_debugging() -> None:
    """A line for each HTTP request at info appears at level debug only."""
    out = io.StringIO()
    here = log.setup("info", stream=out, clock=Noon(), environ={})

    logging.getLogger("httpx").info("HTTP Request: POST")
    here.set_level("debug")
    logging.getLogger("httpx").info("HTTP Request: GET")

    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["HTTP Request: GET"]


def test_the_journal_gets_a_priority_on_each_line() -> None:
    """When stderr is the journal's own socket, each line begins with its priority, also those of a traceback."""
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("w") as stream:
        info = os.fstat(stream.fileno())
        log.setup(
            style="console", stream=stream, clock=Noon(), environ={"JOURNAL_STREAM": f"{info.st_dev}:{info.st_ino}"}
        )
        log.get("keeper").critical("gone", exc_info=ValueError("x"))
        log.get("keeper").info("here")
        lines = theirs.recv(4096).decode().splitlines()

    assert [line[:3] for line in lines] == ["<2>", "<2>", "<6>"]


def test_a_pipe_beside_the_journal_gets_no_priority(tmp_path: os.PathLike[str]) -> None:
    """An inherited JOURNAL_STREAM of another descriptor changes nothing (systemd.exec(5))."""
    path = os.path.join(tmp_path, "out")
    with open(path, "w", encoding="utf-8") as stream:
        log.setup(style="json", stream=stream, clock=Noon(), environ={"JOURNAL_STREAM": "1:2"})
        log.get("keeper").info("here")
    with open(path, encoding="utf-8") as file:
        assert file.read().startswith("{")


def test_a_log_that_cannot_be_written_is_counted_and_stops_nothing() -> None:
    """A closed or broken stream raises nothing; the lines are in the ring."""
    here = log.setup(stream=Broken(), clock=Noon(), environ={})

    log.get("keeper").info("one")

    assert here.unwritten == 1
    assert len(here.ring.lines()) == 1


def test_the_ring_keeps_the_last_lines_without_colour() -> None:
    """Support bundles get the last lines, whole or cut at a limit, free of terminal codes."""
    ring = log.Ring(2)
    log.setup(stream=Terminal(), clock=Noon(), ring=ring, environ={})

    for event in ("one", "two", "x" * 10_000):
        log.get("keeper").info(event)

    assert ring.lines()[0] == "2024-10-22T16:30:00.250Z info     two  logger=keeper"
    assert len(ring.lines()[1]) == log._LONGEST
    assert ring.lines()[1].endswith("…")


def test_lines_of_many_threads_do_not_mix() -> None:
    """Each line is whole however many threads write."""
    out = io.StringIO()
    log.setup(stream=out, clock=Noon(), environ={})

    def chatter(number: int) -> None:
        for turn in range(50):
            log.get("keeper").info("turn", thread=number, turn=turn)

    threads = [threading.Thread(target=chatter, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert {(line["thread"], line["turn"]) for line in lines} == {(a, b) for a in range(4) for b in range(50)}


def test_before_setup_only_warnings_are_written_and_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """A command's own output stays clean when a module logs."""
    log.get("keeper").info("hidden")
    log.get("keeper").warning("shown")

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "shown" in captured.err


def test_importing_the_log_does_not_import_rich() -> None:
    """The agent's memory and start-up time are bars; rich stays importable for the commands."""
    code = "import sys, agent.kit.log; assert 'rich' not in sys.modules; import rich"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
