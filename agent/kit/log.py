"""The log: one line an event on stderr, for a person on a terminal and as JSON elsewhere.

Invariants: a line holds no raw control character, whatever a file name or a peer put into a value (only the colours
of a terminal and the line breaks of a traceback on one are ours); times are RFC 3339 in UTC; a log that cannot be
written never stops the work it tells of, it is counted; standard logging (uvicorn, anyio, asyncio, warnings) takes
the same way. Modules get their logger from `get`, never from structlog itself: see `_import_structlog`.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import ModuleType
from typing import Any, Literal, NoReturn, TextIO, TypeAlias

import msgspec

from agent.kit.clock import Clock, SystemClock
from agent.kit.errors import printable


def _import_structlog() -> ModuleType:
    """Structlog without rich: its pretty tracebacks, which we don't use, cost 3.7 MB and a fifth of a second."""
    hidden = "rich" not in sys.modules
    if hidden:
        sys.modules["rich"] = None  # type: ignore[assignment] # the import system's own word for "not installed"
    try:
        import structlog
    finally:
        if hidden:
            del sys.modules["rich"]
    return structlog


structlog = _import_structlog()

Level = Literal["debug", "info", "warning", "error", "critical"]
Format = Literal["auto", "console", "json"]
Logger: TypeAlias = Any
"""A structlog bound logger: `log.info("what happened", key=value)`."""

_RANK = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""syslog(3) priorities, which journald takes from a `<N>` before each line (sd-daemon(3))."""
_METHODS = {"warn": "warning", "exception": "error", "fatal": "critical", "msg": "info"}
_COLOURS = {
    "debug": "\x1b[2m",
    "info": "\x1b[32m",
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
    "critical": "\x1b[1;31m",
}
_TALKATIVE = ("httpx", "httpcore", "uvicorn")
"""Libraries that tell of each request or start at level info."""
_LONGEST = 4000
"""Characters of a line that the ring keeps."""


class Ring:
    """The last lines logged, for status and support bundles. Any thread may add and read."""

    def __init__(self, lines: int = 500) -> None:
        self._lines: deque[str] = deque(maxlen=lines)

    def append(self, line: str) -> None:
        """Keep a line; the oldest goes."""
        self._lines.append(line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…")

    def lines(self) -> list[str]:
        """The lines, oldest first."""
        return list(self._lines)


class Log:
    """Renders events and writes them to one stream."""

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        clock: Clock | None = None,
        level: Level = "warning",
        console: bool = True,
        colours: bool = False,
        priorities: bool = False,
        ring: Ring | None = None,
        count: Callable[[str], None] | None = None,
    ) -> None:
        self.level: Level = level
        self.ring = ring or Ring()
        self.unwritten = 0
        self._stream = stream
        self._clock = clock or SystemClock()
        self._render = _console if console else _json
        self._colours = colours
        self._priorities = priorities
        self._count = count
        self._lock = threading.RLock()  # a signal handler may log while its thread is logging

    def enabled(self, level: str) -> bool:
        """True when events of this level are written."""
        return _RANK[level] >= _RANK[self.level]

    def set_level(self, level: Level) -> None:
        """Write events of `level` and above from now on."""
        self.level = level
        logging.getLogger().setLevel(_RANK[level])
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(_RANK[level] if level == "debug" else max(_RANK[level], logging.WARNING))

    def emit(self, level: str, fields: dict[str, Any]) -> None:
        """Write one event; `fields` has `event`, perhaps `exc_info`, and the values to show."""
        if not self.enabled(level):
            return
        caught = _exception(fields.pop("exc_info", None))
        clean = {printable(str(key)): _clean(value) for key, value in fields.items()}
        head = {"timestamp": _rfc3339(self._clock.now()), "level": level, "event": str(clean.pop("event", ""))}
        plain = self._render(head, clean, caught, "")
        shown = self._render(head, clean, caught, _COLOURS[level]) if self._colours else plain
        if self._count:
            self._count(level)
        with self._lock:
            self.ring.append(plain)
            self._write(shown, f"<{_PRIORITY[level]}>" if self._priorities else "")

    def _write(self, text: str, prefix: str) -> None:
        stream = self._stream or sys.stderr
        try:
            stream.write("".join(f"{prefix}{line}\n" for line in text.split("\n")))
            stream.flush()
        except (OSError, ValueError):
            self.unwritten += 1


def _rfc3339(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _clean(value: object) -> Any:
    """The value with every string in it printable; what is no plain value becomes its text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):  # a duration or a size is written as the number it is
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, Mapping):
        return {printable(str(key)): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item) for item in value]
    return printable(value if isinstance(value, bytes) else str(value))


def _exception(info: object) -> str:
    """The traceback that `exc_info` asks for (true, an exception or a triple), each line printable."""
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if not isinstance(error, BaseException):
        return ""
    text = "".join(traceback.format_exception(error))
    return "\n".join(printable(line) for line in text.rstrip("\n").split("\n"))


def _json(head: dict[str, str], values: dict[str, Any], caught: str, _colour: str) -> str:
    """One JSON object."""
    return msgspec.json.encode(head | values | ({"exception": caught} if caught else {})).decode()


def _console(head: dict[str, str], values: dict[str, Any], caught: str, colour: str) -> str:
    """Time, level, event, then key=value; a traceback follows, indented."""
    level = f"{colour}{head['level']:8}\x1b[0m" if colour else f"{head['level']:8}"
    line = f"{head['timestamp']} {level} {head['event']}"
    for key, value in values.items():
        line += f"  {key}={_word(value)}"
    return line + "".join(f"\n    {one}" for one in caught.split("\n") if caught)


def _word(value: object) -> str:
    text = str(value)
    return f'"{text}"' if not text or " " in text else text


class _Standard(logging.Handler):
    """Hands the records of standard logging to the log."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            text = f"{record.msg} {record.args!r}"
        level = max((name for name in _RANK if _RANK[name] <= record.levelno), key=_RANK.__getitem__, default="debug")
        _current.emit(level, {"event": text, "logger": record.name, "exc_info": record.exc_info})


_handler = _Standard()
_current = Log()


def _process(_logger: object, method: str, fields: dict[str, Any]) -> NoReturn:
    """The last structlog processor: the event ends here."""
    _current.emit(_METHODS.get(method, method), fields)
    raise structlog.DropEvent


structlog.configure(
    processors=[structlog.contextvars.merge_contextvars, _process],
    wrapper_class=structlog.make_filtering_bound_logger(0),
    cache_logger_on_first_use=True,
)


def get(name: str) -> Logger:
    """The logger of one part, named in its lines; good at import time, before `setup`.

    Before `setup`, warnings and worse go to stderr, so that a command's own output stays clean.
    """
    return structlog.get_logger().bind(logger=name)


def setup(
    level: Level = "info",
    style: Format = "auto",
    *,
    clock: Clock | None = None,
    stream: TextIO | None = None,
    ring: Ring | None = None,
    count: Callable[[str], None] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Log:
    """Make the log of this process: `auto` is console on a terminal and JSON elsewhere.

    `count` is called with the level of each event written. Calling it again replaces the log.
    """
    global _current  # noqa: PLW0603 - a process has one log
    target = stream or sys.stderr
    terminal = target.isatty()
    _current = Log(
        stream,
        clock=clock,
        console=style == "console" or (style == "auto" and terminal),
        colours=terminal and not environ.get("NO_COLOR"),
        priorities=_to_journal(target, environ.get("JOURNAL_STREAM", "")),
        ring=ring,
        count=count,
    )
    logging.getLogger().handlers[:] = [_handler]
    logging.captureWarnings(capture=True)
    _current.set_level(level)
    return _current


def set_level(level: Level) -> None:
    """Write events of `level` and above from now on."""
    _current.set_level(level)


def recent() -> list[str]:
    """The last lines logged, oldest first."""
    return _current.ring.lines()


def _to_journal(stream: TextIO, journal: str) -> bool:
    """True when `stream` is the journal's socket itself: $JOURNAL_STREAM is its device and inode (systemd.exec(5))."""
    try:
        info = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return journal == f"{info.st_dev}:{info.st_ino}"
