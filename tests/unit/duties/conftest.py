"""A keeper in a directory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import audit
from agent.components import Components
from agent.config import Config, Files, Retention, Rotation
from agent.control import Reloaded
from agent.duties.commands import Commands, at_once
from agent.duties.keeper import Keeper
from agent.kit.disk import Directory
from agent.kit.units import Size
from agent.metrics import Metrics
from tests.support.bench import lines
from tests.support.clock import ManualClock

KEEP = Retention(keep=0, max_age=None, max_total=None)


def big(first: int, last: int) -> bytes:
    """Records of 1,000 bytes."""
    return lines(first, last, 1000)


class House:
    """A keeper without a watcher: each step looks at everything."""

    def __init__(self, path: Path, **sections: Any) -> None:
        self.path = path
        self.clock = ManualClock()
        self.components = Components(self.clock)
        self.metrics = Metrics()
        rules: dict[str, Any] = {
            "rotation": Rotation(max_size=Size(10_000), max_age=None),
            "retention": KEEP,
            **sections,
        }
        files = msgspec.structs.replace(rules.pop("files", Files()), directory=str(path))
        self.config = Config(files=files, **rules)
        self.answer: tuple[Config, Reloaded] = (self.config, Reloaded(ok=True))
        self.keeper = Keeper(self.config, self.clock, self.metrics, self.components)
        self.commands = Commands(self.keeper, self.keeper.requests.ask, lambda: self.answer)
        self.here = Commands(self.keeper, at_once)

    def open(self) -> Keeper:
        """Start it."""
        self.keeper.open(watch=False)
        return self.keeper

    def step(self, seconds: float = 0.0) -> float:
        """One pass after so many seconds; in how many seconds the next is wanted."""
        self.clock.advance(seconds)
        after = self.keeper.step(self.clock.monotonic())
        assert after is not None
        return after - self.clock.monotonic()

    def segments(self) -> list[str]:
        """What is in the archive."""
        return sorted(one.name for one in self.path.glob("*.gz"))

    def events(self) -> list[str]:
        """The audit trail's events."""
        with Directory.open(str(self.path / ".telemetry-agent")) as state:
            return [entry["event"] for entry in audit.read(state)]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """An open keeper with a size rule of 10,000 bytes that keeps everything."""
    made = House(tmp_path)
    made.open()
    yield made
    made.keeper.close()
