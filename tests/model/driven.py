"""The agent in one process, driven step by step by the model: started, asked, killed at any event, buried."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agent.components import Components
from agent.config import AgentSection, Config, Files, Retention, Rotation
from agent.duties.keeper import Keeper
from agent.kit.units import Duration, Size
from agent.metrics import Metrics
from agent.streams import engine as engines
from agent.streams import release
from agent.streams.dues import Due
from tests.model.writer import Writer
from tests.support.gate import Gate, Killed
from tests.torture.judge import STATE

STREAM = "telemetry.json"
MEMBER = 4 << 10
PIECE = 12 << 10
"""Tiny limits, so that a few dozen records make several members and pieces."""

FOREVER = Retention(keep=0, max_age=None, max_total=None)
RULES = (
    FOREVER,
    Retention(keep=1, max_age=None, max_total=None),
    Retention(keep=0, max_age=Duration("30s"), max_total=None),
)
ROTATIONS = (
    Rotation(max_size=Size("20KB"), max_age=Duration("5m")),
    Rotation(max_size=Size("3KB"), max_age=Duration("5s"), verify="sample"),
    Rotation(max_size=Size("30KB"), max_age=Duration("20s"), capture=Duration("1s")),
    Rotation(max_size=Size("10KB"), max_age=Duration("5s"), unlink_idle=Duration("60s")),
    Rotation(max_size=Size("1KB"), max_age=Duration("5s"), method="rename"),
)
RENAMING = 4
"""The one that moves files aside."""
ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS)


class Hands:
    """Wall time may jump, monotonic time only goes on."""

    def __init__(self) -> None:
        self.wall = 1_800_000_000.0
        self.mono = 1_000.0

    def now(self) -> float:
        """Wall time."""
        return self.wall

    def monotonic(self) -> float:
        """Time that never goes back."""
        return self.mono

    def sleep(self, seconds: float) -> None:
        """Turn the hands."""
        self.wall += seconds
        self.mono += seconds


class Album(Gate):
    """A gate that keeps a hard link of each segment before retention removes it, for the judge."""

    def __init__(self, directory: Path, album: Path) -> None:
        super().__init__()
        self.directory, self.album = directory, album

    def place(self, name: str) -> None:
        """As Gate; at the place before a removal everything is linked."""
        if name == "retain.synced":
            self.keep()
        super().place(name)

    def keep(self) -> None:
        """Link what is not linked yet."""
        for path in self.directory.glob("*.gz"):
            if not (self.album / path.name).exists():
                os.link(path, self.album / path.name)


class Driven:
    """A directory with its writer, an agent beside it, and what befell the agent."""

    def __init__(self, place: Path) -> None:
        self.directory, self.album = place / "watched", place / "album"
        self.directory.mkdir()
        self.album.mkdir()
        self.gate = Album(self.directory, self.album)
        self.clock = Hands()
        self.writer = Writer(self.directory / STREAM)
        self.kills: Counter[tuple[str, str]] = Counter()
        self.faults: Counter[tuple[str, str]] = Counter()
        self.keeper: Keeper | None = None
        self._rules = (0, 0)
        self._boot = "boot-0"
        release.PIECE = PIECE

    def agent(self, name: str, number: int) -> None:
        """An action of the agent, which is started first where it is not running."""
        if name == "close":
            self._close()
            return
        if self.keeper is None:
            self._start()
        if name != "open" and self.keeper:
            with self._full():
                getattr(self, f"_agent_{name}")(number)

    def crash(self, name: str, number: int) -> None:
        """An action of the agent that is killed at an event, or right after it."""
        if name not in ("open", "close") and self.keeper is None:
            self._start()
        if name == "open":
            self._close()
        self.gate.arm(kill_at=1 + number % 40)
        try:
            self.agent(name, number // 40)
        except Killed:
            self.kills[name, self.gate.last] += 1
        self._bury()

    def fault(self, name: str, number: int) -> None:
        """An action of the agent in which a call fails, or several in a row."""
        if self.keeper is None:
            self._start()
        # A disk on which not even what failed can be removed is another matter: see tests/faults.
        self.gate.only = lambda call: call != "remove" or not self.gate.failed
        self.gate.arm(fail_at=1 + number % 30, error=ERRORS[number // 30 % len(ERRORS)], fail_for=1 + number // 120 % 3)
        try:
            self.agent(name, number)
        except OSError as error:
            if "injected" not in str(error):
                raise
        if self.gate.failed:
            self.faults[name, self.gate.last] += 1
        self.gate.arm()

    @contextmanager
    def _full(self) -> Iterator[None]:
        """On a full disk a step may fail; whoever drives the agent tries again later."""
        try:
            yield
        except OSError as error:
            if self.gate.room is None or "injected" not in str(error):
                raise

    def _config(self) -> Config:
        return Config(
            files=Files(directory=str(self.directory)),
            rotation=ROTATIONS[self._rules[0]],
            retention=RULES[self._rules[1]],
            agent=AgentSection(state_directory=STATE),
        )

    def _start(self) -> None:
        engines.boot_id = lambda: self._boot  # type: ignore[attr-defined]  # the engine's own name for it
        keeper = Keeper(self._config(), self.clock, Metrics(), Components(self.clock))
        self.keeper = keeper
        opened = False
        with self._full():
            keeper.open(watch=False)
            keeper.engine.sealer.copier.member_size = MEMBER
            opened = True
        if not opened:
            self._bury()

    def _close(self) -> None:
        if self.keeper is not None:
            self.keeper.close()
            self.keeper = None

    def _bury(self) -> None:
        """Let go of what a dead process would have had open."""
        self.gate.arm()
        if self.keeper is None:
            return
        engine = self.keeper.engine
        for one in ("hints", "audit"):
            if hasattr(engine, one):
                getattr(engine, one).close()
        engine.grounds.leave()
        self._close_leaked()
        self.keeper = None

    def _close_leaked(self) -> None:
        """Files that were open when it died: a lease that their descriptors forbid would be refused for ever."""
        for name in os.listdir("/proc/self/fd"):
            fd = int(name)
            with suppress(OSError):
                if fd != self.writer.fd and os.readlink(f"/proc/self/fd/{name}").startswith(str(self.directory)):
                    os.close(fd)

    def _agent_step(self, _: int) -> None:
        assert self.keeper
        self.keeper.step(self.clock.monotonic())

    def _agent_look(self, _: int) -> None:
        assert self.keeper
        looked = self.keeper.engine.lookout.look("", None)
        self.keeper._deadlines.update(dict.fromkeys([*looked.touched, *looked.suspects], 0.0))

    def _agent_seal(self, _: int) -> None:
        assert self.keeper
        streams = self.keeper.engine.catalog.streams.values()
        due = [one for one in streams if one.facts.there or one.departed]
        self.keeper._deadlines.update(dict.fromkeys(due, 0.0))
        self.keeper.engine.rotator.seal([Due(one, "request") for one in due])

    def _agent_capture(self, _: int) -> None:
        """What a step does for streams that are captured, whatever the rules are."""
        assert self.keeper
        streams = self.keeper.engine.catalog.streams.values()
        due = [one for one in streams if one.facts.there and not one.departed and not one.refused]
        self.keeper.engine.rotator.seal([Due(one, "capture") for one in due])
        self.keeper._deadlines.update(dict.fromkeys(due, 0.0))

    def _agent_release(self, number: int) -> None:
        assert self.keeper
        self.keeper.engine.rounds.release(paced=bool(number % 2))

    def _agent_reset(self, _: int) -> None:
        assert self.keeper
        self.keeper.engine.rounds.reset()

    def _agent_retain(self, _: int) -> None:
        assert self.keeper
        engine = self.keeper.engine
        if engine.survey.swept:
            engine.shelves.clear(engine.shelves.surplus(0))

    def _agent_reload(self, number: int) -> None:
        rotation = 3 if number // 36 % 4 == 1 else 2 if number // 12 % 3 == 1 else number % 2
        self._rule(rotation, number // 2 % len(RULES))

    def _rule(self, rotation: int, retention: int) -> None:
        """Have these rules, at once where an agent runs."""
        self._rules = (rotation, retention)
        if self.keeper:
            self.keeper.engine.catalog.configure(self._config())
