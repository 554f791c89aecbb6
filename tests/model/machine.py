"""The agent in one process, driven action by action, killed at any event and started again; and the world around it."""

from __future__ import annotations

import errno
import os
import shutil
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
from tests.model.writer import MODES, Writer
from tests.support.gate import Gate, Killed
from tests.torture.judge import STATE, judge

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
)
TICKS = (0.01, 1.0, 12.0, 70.0, 400.0)
JUMPS = (-3600.0, 3600.0, -1e9, 86_400.0 * 400)
ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS)
AGENT_ACTIONS = ("step", "look", "seal", "release", "reset", "retain", "reload", "close", "open")
KILLED = ("step", "seal", "release", "reset", "reset", "retain", "open")
"""What a `kill` interrupts, at one of its first events; `crash` chooses among all actions and later events."""
CAPTURES = ("capture", "capture", "seal", "step")
"""What a `spill` interrupts after a capture: another one, or the publication of what was captured."""
VISITED = ("step", "seal", "release", "capture", "seal", "release", "reset", "retain")
"""What a writer with an open file acts in the middle of (`meanwhile`), and as what."""
VISITORS = ("write", "half", "rewrite", "let_go", "reopen", "truncate", "write")
Action = tuple[str, int]


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


class Machine:
    """One sequence: a writer, an agent, a clock."""

    def __init__(self, place: Path) -> None:
        self.directory, self.album = place / "watched", place / "album"
        self.directory.mkdir()
        self.album.mkdir()
        self.gate = Album(self.directory, self.album)
        self.clock = Hands()
        self.writer = Writer(self.directory / STREAM)
        self.kills: Counter[tuple[str, str]] = Counter()
        self.faults: Counter[tuple[str, str]] = Counter()
        self.visits: Counter[tuple[str, str]] = Counter()
        self.keeper: Keeper | None = None
        self._rules = (0, 0)
        self._boot = "boot-0"
        self._boots = 0
        self._forgotten = False
        """Somebody removed the state: a part that was never published, and whose file is gone, is nobody's then."""
        self.promised: set[str] = set()
        release.PIECE = PIECE

    # -- interpreting

    def run(self, actions: list[Action]) -> None:
        """Do all of it."""
        for name, number in actions:
            self.act(name, number)

    def act(self, name: str, number: int) -> None:
        """One action; `number` chooses its details. Whatever makes no sense now does nothing."""
        if name in AGENT_ACTIONS or name == "capture":
            self.agent(name, number)
        elif name == "crash":
            self.crash(AGENT_ACTIONS[number % len(AGENT_ACTIONS)], number // len(AGENT_ACTIONS))
        elif name == "kill":
            self.crash(KILLED[number % len(KILLED)], number // len(KILLED) % 18)
        elif name == "spill":
            self.agent("capture", 0)
            self.writer.write(1 + number % 7)
            self.agent("look", 0)
            self.crash(CAPTURES[number % len(CAPTURES)], number // len(CAPTURES) % 24)
        elif name == "entomb":
            self.entomb(number)
        elif name == "meanwhile":
            self.meanwhile(VISITED[number % len(VISITED)], number // len(VISITED))
        elif name == "fault":
            self.fault(AGENT_ACTIONS[number % (len(AGENT_ACTIONS) - 2)], number // len(AGENT_ACTIONS))
        else:
            getattr(self, f"_{name}")(number)
        self.promised.update(path.name for path in self.directory.glob("*.gz"))

    # -- the agent

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

    def entomb(self, number: int) -> None:
        """Nobody writes until the empty file is buried; the agent is killed on the way."""
        self.writer.close()
        self._rules = (3, self._rules[1])
        if self.keeper:
            self.keeper.engine.catalog.configure(self._config())
        for _ in range(number % 6):
            self.agent("step", 0)
            self.clock.sleep(70.0)
        self.crash("step", number // 6 % 24)

    def meanwhile(self, name: str, number: int) -> None:
        """The writer writes, and acts once more at an event of the agent's action.

        It has the file open already: whoever opens one on which the agent has a lease waits, here for ever.
        """
        if self.writer.away or self.writer.unlinked:
            return
        self.writer.write(1 + number % 30)
        self.agent("look", 0)
        what = VISITORS[number % len(VISITORS)]

        def visit(event: str) -> None:
            self.visits[what, event] += 1
            getattr(self, f"_{what}")(number // 140)

        self.gate.arm()
        self.gate.visit_at, self.gate.visitor = 1 + number // len(VISITORS) % 20, visit
        try:
            self.agent(name, number)
        finally:
            self.gate.visitor = None

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
        assert self.keeper
        rotation = 3 if number // 36 % 4 == 1 else 2 if number // 12 % 3 == 1 else number % 2
        self._rules = (rotation, number // 2 % len(RULES))
        self.keeper.engine.catalog.configure(self._config())

    # -- the writer

    def _write(self, number: int) -> None:
        self.writer.write(1 + number % 70)

    def _half(self, number: int) -> None:
        self.writer.half(number % 101)

    def _let_go(self, _: int) -> None:
        self.writer.close()

    def _reopen(self, number: int) -> None:
        self.writer.reopen(MODES[number % len(MODES)])

    def _truncate(self, _: int) -> None:
        self.writer.truncate()

    def _delete(self, number: int) -> None:
        self.writer.delete(hold=bool(number % 2))

    def _rename(self, number: int) -> None:
        """Only once the agent knows the file that goes, and could note that: else nobody could know of it."""
        if self.gate.room is not None:
            return
        stream = self.keeper.engine.catalog.streams.get(STREAM) if self.keeper else None
        if stream is None or stream.incarnation is None or stream.departed or not self.writer.path.exists():
            return
        if stream.incarnation.identity.inode == self.writer.path.stat().st_ino:
            self.writer.rename()
            if number % 2:
                self.writer.reopen("append")

    def _rewrite(self, _: int) -> None:
        self.writer.rewrite()

    def _link(self, number: int) -> None:
        if number % 2:
            self.writer.link()
        else:
            self.writer.unlink()

    # -- the world

    def _tick(self, number: int) -> None:
        if self.writer.away:
            self.writer.close()
        self.clock.sleep(TICKS[number % len(TICKS)])

    def _jump(self, number: int) -> None:
        self.clock.wall = max(1.0, self.clock.wall + JUMPS[number % len(JUMPS)])

    def _fill(self, number: int) -> None:
        """The disk has room for some bytes more; what the agent gives back, it may use."""
        self.gate.room = number % 20_000 * (number % 3)

    def _free(self, _: int) -> None:
        self.gate.room = None

    def _reboot(self, _: int) -> None:
        self._close()
        self.writer.emptied.append(0)  # as in _forget: what a hint tells of a reset is doubtful after power loss
        self._boots += 1
        self._boot = f"boot-{self._boots}"

    def _forget(self, _: int) -> None:
        """Somebody removes the state directory while the agent is stopped.

        Not once a file was moved away: nobody could know any more what of it was finished.
        """
        if self.writer.renamed:
            return
        self._close()
        # A reset cannot be told from a truncation then: positions may stay unused, of which no audit tells.
        self.writer.emptied.append(0)
        self._forgotten = True
        shutil.rmtree(self.directory / STATE, ignore_errors=True)

    # -- the end

    def settle(self) -> None:
        """The writer goes home; the agent is left alone for some minutes, and stopped."""
        self.writer.close()
        self.writer.unlink()
        self.gate.arm()
        self.gate.room = None
        self.rest()
        self._close()

    def rest(self) -> None:
        """Some minutes without a new action."""
        self._rules = (1, 0)
        if self.keeper:
            self.keeper.engine.catalog.configure(self._config())
        else:
            self._start()
        assert self.keeper
        for _ in range(14):
            self.keeper.step(self.clock.monotonic())
            self.clock.sleep(31.0)

    def findings(self) -> list[str]:
        """What is wrong, by the judge and by what was there before; the agent is stopped."""
        names = {path.name for path in self.directory.glob("*.gz")}
        for path in self.album.glob("*.gz"):
            if path.name not in names:
                os.link(path, self.directory / path.name)
                names.add(path.name)
        verdict = judge(self.directory, [self.writer.truth()])[0]
        found = list(verdict.findings)
        counts = {what: getattr(verdict, what) for what in ("lost", "twice", "torn", "disorder")}
        found += [f"{what} {count} of {verdict.written}" for what, count in counts.items() if count]
        if self.promised - names:
            found.append(f"segments vanished: {sorted(self.promised - names)}")
        if verdict.live:
            found.append(f"{verdict.live} records were left unsealed")
        aside = [path.name for path in (self.directory / STATE / "quarantine").glob("*")]
        if [name for name in aside if not (self._forgotten and ".part." in name)]:
            found.append(f"quarantined: {aside}")
        return found
