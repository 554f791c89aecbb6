"""A watched directory whose records are shipped to a server that does what it is told: the duties without a process.

Each `Yard` is one life of the agent: a restart is another one over the same directory. What arrived is read from the
requests' bodies alone.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.to_thread

from agent.components import Components
from agent.config import Config, Files, Forward, Retention, Rotation
from agent.config.forward import Batching, Retrying
from agent.control import ForwardStatus
from agent.duties.budget import Budget
from agent.duties.commands import Commands, at_once
from agent.duties.forwards import Forwards
from agent.duties.keeper import Keeper
from agent.kit.clock import SystemClock
from agent.kit.units import Duration, Size
from agent.metrics import Metrics
from tests.support.hostile import Hostile

LEAF = "telemetry.json"
KEEP_ALL = Retention(keep=0, max_age=None, max_total=None)
SOON = Retrying(initial=Duration(0.01), maximum=Duration(0.05))
_ID = re.compile(rb'"name":"n(\d+)"')


def span(number: int, width: int = 0) -> bytes:
    """A line with one span that carries a number, padded by `width` bytes."""
    pad = f',"traceState":"{"x" * width}"' if width else ""
    return f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"name":"n{number}"{pad}}}]}}]}}]}}\n'.encode()


def spans(first: int, last: int, width: int = 0) -> bytes:
    """Lines number `first` to `last - 1`."""
    return b"".join(span(number, width) for number in range(first, last))


def log(number: int) -> bytes:
    """A line with one log record."""
    return b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"eventName":"n%d"}]}]}]}\n' % number


def small(max_records: int = 10_000, **keys: Any) -> Batching:
    """Batches that wait for nobody."""
    return Batching(max_records=max_records, max_delay=Duration(0), **keys)


def numbers(bodies: Iterable[bytes]) -> Counter[int]:
    """How often each number is in these requests."""
    return Counter(int(number) for body in bodies for number in _ID.findall(body))


class Yard:
    """Keeper and consumers over one directory, opened by `with`."""

    def __init__(
        self, path: Path, *forwards: Forward, retention: Retention = KEEP_ALL, budget: Budget | None = None
    ) -> None:
        rotation = Rotation(max_size=None, max_age=None)
        config = Config(files=Files(directory=str(path)), rotation=rotation, retention=retention, forward=forwards)
        self.path = path
        clock = SystemClock()
        self.components = Components(clock)
        self.keeper = Keeper(config, clock, Metrics(), self.components)
        self.keeper.open(watch=False)
        self.forwards = Forwards(self.keeper.engine, self.keeper.views, clock, self.components, {}, budget)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.keeper.close()

    def write(self, data: bytes, leaf: str = LEAF) -> None:
        """Append to a live file."""
        with (self.path / leaf).open("ab") as file:
            file.write(data)

    def look(self) -> None:
        """What the keeper does when a file grew."""
        self.keeper.engine.lookout.look("", None)
        if not self.keeper.views.ready:
            self.keeper.complete_views()

    def seal(self) -> None:
        """Rotate now, and give the sealed bytes back."""
        Commands(self.keeper, at_once).rotate([])
        self.keeper.engine.rounds.release(paced=False)

    def status(self, name: str = "out") -> ForwardStatus:
        """A consumer's numbers."""
        return next(one for one in self.forwards.statuses() if one.name == name)

    def run(self, until: Callable[[], bool], seconds: float = 60) -> None:
        """Ship until `until()`, which is asked again and again; then stop as the agent does. Once in a life."""
        anyio.run(self._run, until, seconds)

    async def _run(self, until: Callable[[], bool], seconds: float) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self.forwards.run)
            with anyio.fail_after(seconds):
                while not await anyio.to_thread.run_sync(self._turn, until):  # noqa: ASYNC110 - a test may poll
                    await anyio.sleep(0.005)
            self.forwards.stop()
            with anyio.move_on_after(2):
                await self.forwards.finished.wait()
            group.cancel_scope.cancel()

    def _turn(self, until: Callable[[], bool]) -> bool:
        self.look()
        return until()


def settled(yard: Yard, records: int, name: str = "out") -> Callable[[], bool]:
    """True once so many records have found their end, of which every copy of the books must be balanced."""

    def done() -> bool:
        now = yard.status(name)
        assert now.read == now.delivered + now.dead_lettered + now.filtered + now.empty + now.unsettled
        return now.read - now.unsettled >= records and not now.in_flight

    return done


def forward(server: Hostile, **keys: Any) -> Forward:
    """A forward called `out` to this server that tries again at once."""
    given: dict[str, Any] = {"name": "out", "endpoints": (server.url,), "batch": small(), "retry": SOON, **keys}
    return Forward(**given)


def ship(path: Path, server: Hostile, records: int, **keys: Any) -> None:
    """One life of the agent, in which so many records are settled."""
    with Yard(path, forward(server, **keys)) as yard:
        yard.run(settled(yard, records))


def letters(path: Path, name: str = "out") -> list[dict[str, Any]]:
    """The dead letters on disk."""
    file = path / ".telemetry-agent" / f"dead-letters-{name}.jsonl"
    return [json.loads(line) for line in file.read_bytes().splitlines()] if file.exists() else []


def bodies(server: Hostile, path: str = "/v1/traces") -> list[bytes]:
    """What was POSTed to a path."""
    return [heard.body for heard in server.heard if heard.path == path]


def once(first: int, last: int) -> Counter[int]:
    """Each of these numbers, one time."""
    return Counter(range(first, last))


__all__ = [
    "KEEP_ALL", "LEAF", "SOON", "Duration", "Size", "Yard", "bodies", "forward", "letters", "log", "numbers", "once",
    "settled", "ship", "small", "span", "spans",
]  # fmt: skip
