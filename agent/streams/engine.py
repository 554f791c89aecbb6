"""The log engine of one watched directory: its rooms, built and connected here; nothing here runs by itself.

One pass over a stream reads from top to bottom: `lookout` looks, `dues` decides, `rotator` seals, `rounds` give space
back, `shelves` retain. One thread uses them at a time: the keeper's in a running agent, a command's when none runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from agent.audit import Audit
from agent.config import Config
from agent.kit.clock import Clock, boot_id
from agent.metrics import Metrics
from agent.streams.ages import Ages
from agent.streams.asides import Asides
from agent.streams.ballast import Ballast
from agent.streams.catalog import Catalog, Stream
from agent.streams.departure import Departures
from agent.streams.grounds import Grounds
from agent.streams.hints import Hints
from agent.streams.holding import Holding
from agent.streams.load import Loader
from agent.streams.lookout import Lookout
from agent.streams.recover import Recovery
from agent.streams.release import Releaser
from agent.streams.retire import Retirer
from agent.streams.rotate import Rotator
from agent.streams.rounds import Rounds
from agent.streams.seal import Sealer
from agent.streams.shelves import Shelves
from agent.streams.squeeze import Squeeze
from agent.streams.survey import Survey
from agent.streams.tombs import Tombs
from agent.streams.tools import Tools


class Engine:
    """Every stream below one directory."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        metrics: Metrics,
        breathe: Callable[[], None],
        *,
        changed: Callable[[Stream], None] | None = None,
        reading: bool = False,
    ) -> None:
        """With `reading` nothing is changed on disk; `changed` is told of each stream whose positions moved."""
        self.catalog = Catalog(config)
        self.grounds = Grounds(self.catalog, reading=reading)
        self._clock = clock
        self._metrics = metrics
        self._breathe = breathe
        self._changed = changed
        self._reading = reading

    def open(self) -> None:
        """Take the locks, read what is there, bring it into order; with `reading` only read what is there.

        Raises LockedError when another agent has the directory, OSError when it cannot be used.
        """
        try:
            self._build()
        except BaseException:
            self.grounds.leave()
            raise

    def _build(self) -> None:
        catalog, grounds = self.catalog, self.grounds
        place = grounds.enter()
        state, own = grounds.state, None if self._reading else grounds.state
        self.audit = Audit(own, self._clock)
        self.hints = Hints(own)
        self.tools = tools = Tools(
            self._clock, self.audit, self._metrics, self.hints, boot_id(), self._breathe, self._changed or _nobody,
            reading=self._reading,
        )  # fmt: skip
        self.survey = Survey(tools, catalog)
        self.ages = Ages(self._clock, tools.boot, state)
        self.holding = Holding(catalog.config.forward, state)
        self.sealer = Sealer(tools)
        self.releaser = Releaser(tools, self.sealer)
        tombs = Tombs(tools)
        departures = Departures(tools, self.sealer, tombs)
        self.rounds = Rounds(tools, catalog, self.releaser, departures, tombs)
        self.recovery = Recovery(tools, catalog, grounds.quarantine, Hints(state).load())
        asides = Asides(tools, catalog, self.survey.relevant, self._reading)
        loader = Loader(tools, catalog, self.ages, self.recovery, self.sealer, self.rounds, asides, self._reading)
        observed = self._changed is not None
        self.lookout = Lookout(tools, catalog, grounds, self.survey, departures, loader, observed)
        ballast = Ballast(own, place.archive) if own else None
        self.squeeze = Squeeze(tools, catalog, self.sealer, self.rounds, ballast)
        self.rotator = Rotator(tools, self.sealer, self.squeeze, self.rounds, self.releaser, departures, loader)
        self.shelves = Shelves(tools, catalog, self.survey, self.ages, self.holding, Retirer(tools), loader)
        loader.load(place)

    def close(self) -> None:
        """Remember where every stream stands, and let go of everything."""
        if not self._reading:
            for stream in self.catalog.all():
                self.tools.remember(stream)
            self.hints.compact()
        self.hints.close()
        self.audit.close()
        self.grounds.leave()


@contextmanager
def peek(config: Config, clock: Clock) -> Iterator[Engine]:
    """The streams as the files tell, beside a running agent or without one; changes nothing.

    Raises FileNotFoundError when there is no such directory.
    """
    engine = Engine(config, clock, Metrics(), _go_on, reading=True)
    engine.open()
    try:
        engine.lookout.look("", None)
        yield engine
    finally:
        engine.close()


def _go_on() -> None:
    """Never asks anybody to stop."""


def _nobody(_: Stream) -> None:
    """Nobody wants to know."""
