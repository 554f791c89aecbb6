"""Lists of actions, carried out: what writer, operator and world do, and what befalls the agent meanwhile."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

from agent.kit.disk import Directory
from agent.streams.hints import Hints
from tests.model.driven import RENAMING, STREAM, Driven
from tests.model.writer import MODES
from tests.torture.judge import STATE, judge

TICKS = (0.01, 1.0, 12.0, 70.0, 400.0)
JUMPS = (-3600.0, 3600.0, -1e9, 86_400.0 * 400)
AGENT_ACTIONS = ("step", "look", "seal", "release", "reset", "retain", "reload", "close", "open")
KILLED = ("step", "seal", "release", "reset", "reset", "retain", "open")
"""What a `kill` interrupts, at one of its first events; `crash` chooses among all actions and later events."""
CAPTURES = ("capture", "capture", "seal", "step")
"""What a `spill` interrupts after a capture: another one, or the publication of what was captured."""
VISITED = ("step", "seal", "release", "capture", "seal", "release", "reset", "retain")
"""What a writer with an open file acts in the middle of (`meanwhile`), and as what."""
VISITORS = ("write", "half", "rewrite", "let_go", "reopen", "truncate", "write")
Action = tuple[str, int]


class Machine(Driven):
    """One list: a writer, an agent, a clock."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.visits: Counter[tuple[str, str]] = Counter()
        """What the writer did in the middle of an action of the agent, and at which event."""
        self.promised: set[str] = set()
        """Segments that were seen."""
        self._boots = 0
        self._forgotten = False
        """Somebody removed the state: a part that was never published, and whose file is gone, is nobody's then."""

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
        elif name in ("entomb", "empty", "expire", "aside", "overtake"):
            getattr(self, name)(number)
        elif name == "meanwhile":
            self.meanwhile(VISITED[number % len(VISITED)], number // len(VISITED))
        elif name == "fault":
            self.fault(AGENT_ACTIONS[number % (len(AGENT_ACTIONS) - 2)], number // len(AGENT_ACTIONS))
        else:
            getattr(self, f"_{name}")(number)
        self.promised.update(path.name for path in self.directory.glob("*.gz"))

    # -- the agent

    def empty(self, number: int) -> None:
        """Nobody has the file open any more; the agent is killed while it sets it back to size 0."""
        self.writer.close()
        for name in ("look", "seal", "release"):
            self.agent(name, 0)
        self.clock.sleep(70.0)
        self.crash("reset", number % 14)

    def expire(self, number: int) -> None:
        """Segments become too many, or too old; the agent is killed while it deletes them."""
        self._rule(self._rules[0], 1 + number % 2)
        for _ in range(3):
            self.writer.write(1 + number % 7)
            for name in ("look", "seal", "release"):
                self.agent(name, 0)
            self.clock.sleep(12.0)
        self.clock.sleep(70.0 * (number % 2))  # now the newest is too old as well
        self.crash("retain", number // 14 % 20)

    def entomb(self, number: int) -> None:
        """Nobody writes until the empty file is buried; the agent is killed on the way."""
        self.writer.close()
        self._rule(3, self._rules[1])
        for _ in range(number % 6):
            self.agent("step", 0)
            self.clock.sleep(70.0)
        self.crash("step", number // 6 % 24)

    def aside(self, number: int) -> None:
        """By method `rename`; the agent is killed on the way, and somebody may remove its state."""
        self._rule(RENAMING, self._rules[1])
        self.writer.write(1 + number % 30)
        if number // 30 % 2:
            self.writer.reopen("append")
        self.agent("look", 0)
        self.crash("step" if number // 60 % 4 else "seal", number // 240 % 26)
        if number // 6240 % 2:
            self._forget(0)
        if number // 12_480 % 2:
            self.writer.reopen("append")

    def overtake(self, number: int) -> None:
        """By method `rename`; meanwhile its writer rotates by itself, and the agent may be killed right after."""
        if self.writer.moved or self.writer.unlinked:
            return
        self._rule(RENAMING, self._rules[1])
        self.writer.write(1 + number % 30)
        self.agent("look", 0)

        def visit(event: str) -> None:
            hints = self.keeper.engine.hints.load().values() if self.keeper else ()
            if self.writer.path.exists() and self.writer.path.stat().st_ino in [one.inode for one in hints]:
                self.visits["rotate", event] += 1
                self._rename(number // 30)

        self.gate.visitor = visit
        self.gate.visit_at = 1 + number // 60 % 4
        try:
            self.crash("seal", self.gate.visit_at + number // 240 % 6)
        finally:
            self.gate.visitor = None

    def meanwhile(self, name: str, number: int) -> None:
        """The writer writes, and acts once more at an event of the agent's action.

        It has the file open already: whoever opens one on which the agent has a lease waits, here for ever.
        """
        if self.writer.moved or self.writer.unlinked:
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
        if self.writer.moved:
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
        self._rule(*self._rules)
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

    def _rule(self, rotation: int, retention: int) -> None:
        """As ever. But an operator keeps the method while a file lies aside of which no hint tells."""
        asides, known = {path.stat().st_ino for path in self.directory.glob(".*.rotating")}, set[int]()
        if asides and (self.directory / STATE).exists():
            with Directory.open(str(self.directory / STATE)) as state:
                known = {one.inode for one in Hints(state).load().values()}
        super()._rule(RENAMING if asides - known else rotation, retention)

    def rest(self) -> None:
        """Some minutes without a new action."""
        self._rule(1, 0)
        if not self.keeper:
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
        found += [f"{path.name} was left" for path in self.directory.glob(".*.rotating")]
        aside = [path.name for path in (self.directory / STATE / "quarantine").glob("*")]
        if [name for name in aside if not (self._forgotten and ".part." in name)]:
            found.append(f"quarantined: {aside}")
        return found
