"""Random action lists from a seed, run and judged; a list that fails is shrunk to the actions that matter."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.model.machine import Action, Machine
from tests.support.gate import gated

WEIGHTS = {
    "write": 30, "half": 6, "let_go": 8, "reopen": 6, "truncate": 3, "delete": 2, "rename": 4, "rewrite": 4, "link": 2,
    "step": 12, "look": 8, "seal": 14, "release": 8, "reset": 6, "retain": 4, "reload": 3, "close": 2, "open": 2,
    "crash": 12, "kill": 20, "fault": 6, "tick": 12, "jump": 2, "reboot": 2, "forget": 1,
    "capture": 12, "spill": 10, "meanwhile": 12, "fill": 3, "free": 5, "entomb": 3, "empty": 5, "expire": 5,
    "aside": 6, "overtake": 3,
}  # fmt: skip
LONGEST = 40
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108 - directories in it are made by tempfile
"""Where lists run fast: nothing here is about the medium."""


@dataclass
class Tally:
    """What many sequences came to."""

    sequences: int = 0
    actions: int = 0
    records: int = 0
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    visits: Counter[tuple[str, str]] = field(default_factory=Counter)
    """What the writer did at an event within an action of the agent."""
    refused: Counter[str] = field(default_factory=Counter)
    """Calls that found the disk full."""

    def report(self) -> str:
        """What was done, and how often the agent died, or its writer acted, where."""
        counts = {"kills": self.kills, "failing calls": self.faults, "acts of the writer within a step": self.visits}
        told = ", ".join(f"{sum(found.values()):,} {what}" for what, found in counts.items())
        lines = [f"{self.sequences:,} lists, {self.actions:,} actions, {self.records:,} records, {told}"]
        lines += [f"{action:8} killed at {event:16} {times}" for (action, event), times in sorted(self.kills.items())]
        lines += [f"writer: {act:8} at {event:16} {times}" for (act, event), times in sorted(self.visits.items())]
        lines += [f"no room for {call:12} {times}" for call, times in sorted(self.refused.items())]
        return "\n".join(lines)

    def add(self, other: Tally) -> None:
        """Take in another one."""
        for name in ("sequences", "actions", "records"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("kills", "faults", "visits", "refused"):
            getattr(self, name).update(getattr(other, name))


def make(seed: int) -> list[Action]:
    """The action list of a seed."""
    chance = random.Random(seed)
    names, weights = list(WEIGHTS), list(WEIGHTS.values())
    count = chance.randint(4, LONGEST)
    return [(name, chance.randrange(1_000_000)) for name in chance.choices(names, weights, k=count)]


def fails(actions: list[Action], place: Path, tally: Tally | None = None) -> list[str]:
    """Run a list in a fresh directory below `place`; what is wrong afterwards, empty when nothing is."""
    home = Path(tempfile.mkdtemp(dir=place))
    machine = Machine(home)
    try:
        with gated(machine.gate):
            try:
                machine.run(actions)
                machine.settle()
            except Exception as error:  # noqa: BLE001 - whatever escapes is what the test looks for
                return [f"{type(error).__name__}: {error}"]
            finally:
                machine._bury()
                machine.writer.close()
        return machine.findings()
    finally:
        shutil.rmtree(home)
        if tally is not None:
            tally.sequences += 1
            tally.actions += len(actions)
            tally.records += machine.writer.written
            tally.kills.update(machine.kills)
            tally.faults.update(machine.faults)
            tally.visits.update(machine.visits)
            tally.refused.update(machine.gate.refused)


def run(first: int, count: int) -> tuple[Tally, list[str]]:
    """The lists of `count` seeds from `first` on; what they came to, and which went wrong, each with its seed."""
    tally, wrong = Tally(), []
    with tempfile.TemporaryDirectory(dir=MEMORY) as place:
        for seed in range(first, first + count):
            found = fails(make(seed), Path(place), tally)
            wrong += [f"seed {seed}: {found[0]}"] if found else []
    return tally, wrong


def shrink(actions: list[Action], place: Path) -> list[Action]:
    """The shortest list found by leaving actions out that still fails."""
    size = max(1, len(actions) // 2)
    while True:
        at = 0
        shorter = False
        while at < len(actions):
            tried = actions[:at] + actions[at + size :]
            if fails(tried, place):
                actions, shorter = tried, True
            else:
                at += size
        if size == 1 and not shorter:
            return actions
        size = max(1, size // 2)
