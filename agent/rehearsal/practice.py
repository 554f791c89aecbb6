"""What a running agent practises, each thing in a thread of its own: bounded in number, rate, duration and bytes.

Invariants: a load is an ordinary writer of one more file in the watched directory, and never so large that retention
has to give up much for it; an outage plays on a stage of its own. A drill that fails takes nothing with it. `close`
leaves nothing running. Errors say all in one sentence: whoever reaches the port gets no hints.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from agent.config import Config, Forward
from agent.control.drills import (
    STREAM,
    BusyError,
    Drill,
    DrillCounts,
    ImpossibleError,
    Kind,
    OutageProgress,
    Severity,
    State,
)
from agent.kit import log
from agent.kit.clock import Clock
from agent.kit.errors import AgentError, StoppingError, UnknownError
from agent.kit.lines import LineFile
from agent.rehearsal import load
from agent.rehearsal.load import BYTES_A_SPAN, Load
from agent.rehearsal.outage import NAME, Outage, Plan

_log = log.get("rehearsal")

LOADS = 2
"""Loads at once; of outages there is one."""
KEPT = 100
"""Drills that are remembered."""
LONGEST = 300.0
"""Seconds that a load may take."""
_SHARE = 4
"""A load may take one part in so many of what retention allows a directory, and of the free space."""
_SPANS_A_LINE = 3.0
_ERRORS: dict[Severity, float] = {"low": 0.01, "medium": 0.1, "high": 0.5}
"""Share of the requests that fail."""
_PERIOD: dict[Severity, float] = {"low": 2.0, "medium": 5.0, "high": 15.0}
"""Seconds whose spans come at once in a burst."""


class Practice:
    """Implements `Drills`. `config` gives the configuration in force."""

    def __init__(self, config: Callable[[], Config], clock: Clock, *, outage: type[Outage] = Outage) -> None:
        self._config = config
        self._clock = clock
        self._outage = outage
        self._lock = threading.Lock()
        self._drills: dict[str, Drill] = {}
        self._ends: dict[str, Callable[[], None]] = {}
        """How each running drill is ended."""
        self._threads: list[threading.Thread] = []
        self._sums = dict.fromkeys(("started", "completed", "failed", "stopped", "spans_written", "bytes_written"), 0)

    # -- what is asked for

    def load(self, kind: Kind, seconds: float, rate: float, severity: Severity) -> Drill:
        """Begin to write spans steadily or in bursts. Raises BusyError, ImpossibleError."""
        due = load.steadily(rate) if kind == "continuous_load" else load.in_bursts(rate, _PERIOD[severity])
        wanted = Load(spans=max(1, round(rate * seconds)), due=due, errors=_ERRORS[severity])
        asked = {"duration_seconds": seconds, "span_rate": rate, "severity": severity}
        return self._begin_load(kind, wanted, asked)

    def generate(self, spans: int, delay: float, *, errors: bool) -> Drill:
        """Begin to write so many spans. Raises BusyError, ImpossibleError."""
        if delay * spans / _SPANS_A_LINE > LONGEST:
            what = f"{spans} spans with {delay:g} s from trace to trace take longer than {LONGEST:g} s"
            raise ImpossibleError(f"{what}: ask for fewer spans or a shorter delay")
        return self._begin_load("generated_load", load.requests(spans, delay, errors=errors), {})

    def outage(self, seconds: float, rate: float) -> Drill:
        """Begin to rehearse an outage with the patience of the first OTLP forward. Raises BusyError."""
        forward = next((one for one in self._config().forward if one.kind == "otlp"), Forward(name=NAME))
        plan = Plan(seconds=seconds, rate=max(1.0, rate / _SPANS_A_LINE), forward=forward)
        stop = threading.Event()
        test_id = secrets.token_hex(8)
        played = self._outage(plan, partial(self._progressed, test_id), stop)
        drill = Drill(
            test_id=test_id, test_type="collector_failure", status="running", started=self._clock.now(),
            duration_seconds=seconds, span_rate=rate,
        )  # fmt: skip
        return self._begin(drill, partial(self._play, drill, played), played.kill, most=1)

    def one(self, test_id: str) -> Drill:
        """How it stands. Raises UnknownError."""
        with self._lock:
            if test_id in self._drills:
                return self._drills[test_id]
        raise UnknownError(f"there is no test {test_id!r}; the newest {KEPT} are remembered until a restart")

    def all(self) -> list[Drill]:
        """Those that are remembered, oldest first."""
        with self._lock:
            return list(self._drills.values())

    def counts(self) -> DrillCounts:
        """All of them together."""
        with self._lock:
            return DrillCounts(running=len(self._ends), **self._sums)

    def close(self, timeout: float = 2.0) -> None:
        """End all that runs."""
        with self._lock:
            ends, threads = list(self._ends.values()), list(self._threads)
        for end in ends:
            end()
        for thread in threads:
            thread.join(timeout)

    # -- loads

    def _begin_load(self, kind: Kind, wanted: Load, asked: dict[str, Any]) -> Drill:
        config = self._config()
        _check_room(config, wanted.spans * BYTES_A_SPAN)
        stop = threading.Event()
        drill = Drill(
            test_id=secrets.token_hex(8), test_type=kind, status="running", started=self._clock.now(),
            span_count=wanted.spans, **asked,
        )  # fmt: skip
        write = partial(self._write, drill, wanted, config.files.directory, stop)
        return self._begin(drill, write, stop.set, most=LOADS)

    def _write(self, drill: Drill, wanted: Load, directory: str, stop: threading.Event) -> None:
        file = LineFile(directory, STREAM)
        try:
            load.write(wanted, file.append, partial(self._wrote, drill.test_id), self._clock, stop)
        finally:
            file.close()
        self._ended(drill.test_id, "stopped" if stop.is_set() else "completed")

    def _wrote(self, test_id: str, spans: int, length: int) -> None:
        with self._lock:
            now = self._drills[test_id]
            self._sums["spans_written"] += spans
            self._sums["bytes_written"] += length
            self._drills[test_id] = msgspec.structs.replace(
                now, spans_written=now.spans_written + spans, bytes_written=now.bytes_written + length
            )

    # -- outages

    def _play(self, drill: Drill, played: Outage) -> None:
        report = played.play()
        message = "" if report.passed else "records are missing, or delivery did not come back: see the report"
        self._ended(drill.test_id, "completed" if report.passed else "failed", message, report=report)

    def _progressed(self, test_id: str, progress: OutageProgress) -> None:
        with self._lock:
            self._drills[test_id] = msgspec.structs.replace(self._drills[test_id], progress=progress)

    # -- each drill

    def _begin(self, drill: Drill, act: Callable[[], None], end: Callable[[], None], *, most: int) -> Drill:
        outage = drill.test_type == "collector_failure"
        with self._lock:
            alike = [one for one in self._ends if (self._drills[one].test_type == "collector_failure") == outage]
            if len(alike) >= most:
                what = "an outage is being rehearsed" if outage else f"{most} loads are running"
                raise BusyError(f"{what} already: wait for test {alike[0]} to end")
            self._drills[drill.test_id] = drill
            self._ends[drill.test_id] = end
            self._sums["started"] += 1
            self._forget()
            self._threads = [one for one in self._threads if one.is_alive()]
            thread = threading.Thread(target=self._run, args=(drill, act), name=f"drill {drill.test_id}", daemon=True)
            self._threads.append(thread)
        _log.info("a test begins", test=drill.test_id, kind=drill.test_type)
        thread.start()
        return drill

    def _run(self, drill: Drill, act: Callable[[], None]) -> None:
        try:
            act()
        except StoppingError as error:
            self._ended(drill.test_id, "stopped", str(error))
        except (AgentError, OSError) as error:
            self._ended(drill.test_id, "failed", str(error))
        except Exception as error:  # noqa: BLE001 - a defect here must not end the agent
            self._ended(drill.test_id, "failed", f"{type(error).__name__}: {error}")
            _log.exception("a defect of the rehearsal", test=drill.test_id)

    def _ended(self, test_id: str, state: State, message: str = "", **more: Any) -> None:
        with self._lock:
            del self._ends[test_id]
            self._sums[state] += 1
            self._drills[test_id] = msgspec.structs.replace(
                self._drills[test_id], status=state, message=message, ended=self._clock.now(), **more
            )
        _log.info("a test ended", test=test_id, state=state, why=message)

    def _forget(self) -> None:
        """Make room for one more; what runs is never forgotten."""
        for test_id in [one for one in self._drills if one not in self._ends][: max(0, len(self._drills) - KEPT)]:
            del self._drills[test_id]


def _check_room(config: Config, size: int) -> None:
    """Raise ImpossibleError for a load that nobody would see, or that would cost others their archives or the disk."""
    directory = config.files.directory
    if not config.files.selects(STREAM):
        raise ImpossibleError(f"files.include and files.exclude leave {STREAM} out: nobody would see what is written")
    _, retention = config.rules_for(STREAM)
    space = os.statvfs(directory)
    limits = {
        "retention.max_total": retention.max_total,
        "files.critical_total": config.files.critical_total,
        "the free space": space.f_bavail * space.f_frsize,
    }
    for name, limit in limits.items():
        if limit is not None and size > limit // _SHARE:
            what = f"about {size} bytes would be written, more than a quarter of {name}, which is {int(limit)}"
            raise ImpossibleError(f"{what}: ask for at most {limit // _SHARE // BYTES_A_SPAN} spans in all")
