"""The agent's own memory: who may read how much, so that no backlog ends in an out-of-memory kill.

Invariants:

- A batch is read only when what it takes at its largest fits below the limit, beside what is in use and what was
  granted before and may still be taken. What does not fit waits on disk.
- From `TIGHT` of the limit on batches are small and a consumer has one under way; nothing may begin beyond `FULL`, but
  for what cannot be less (`decide`).
- No consumer waits for long unless people are told who, for how much, and what to do.
- Without a limit everything is granted.

How much a batch takes was measured, as multiples of its records' bytes, and rounded up: `WEIGHTS`.
"""

from __future__ import annotations

import resource
import threading
from collections.abc import Callable
from typing import NamedTuple

from agent.components import State
from agent.config import Forward
from agent.control import MemoryState, Own
from agent.kit import linux, log
from agent.kit.clock import Clock
from agent.kit.priority import WORK
from agent.system.memory_limit import Memory, MemoryReader

_log = log.get("budget")

TIGHT = 0.75
FULL = 0.9
SMALL = 512 << 10
"""Bytes of a batch while memory is tight."""
LEAST = 128 << 10
"""A batch of fewer bytes is not worth a request: rather wait."""
SPARE = 2 << 20
"""Segments are read by the member: so much may be read beyond a batch."""
LONGEST = 1 << 20
"""A record of so many bytes is no dead letter for want of memory, however low the limit: at worst it waits."""

_FRESH = 0.05
"""Seconds for which a measurement serves; what is granted meanwhile is counted beside it."""
_TRIM_EVERY = 1.0
_PATIENCE = 10.0
"""Seconds of waiting for memory after which people are told."""


class Weight(NamedTuple):
    """Memory that a batch takes, as a multiple of its bytes."""

    read: int
    """At most, from reading to the end."""
    send: int
    """Still to come once it is read and checked: the request, encoded and compressed."""


WEIGHTS = {"json": Weight(7, 3), "protobuf": Weight(15, 12), "processed": Weight(12, 5)}


def weigh(forward: Forward, *, processed: bool = False) -> Weight:
    """What the batches of a forward take: encoding as protobuf takes the most."""
    encodings = {forward.encoding, forward.traces.encoding, forward.logs.encoding, forward.metrics.encoding}
    found = WEIGHTS["protobuf" if forward.kind == "otlp" and encodings & {"protobuf", "grpc"} else "json"]
    more = WEIGHTS["processed"]
    return Weight(max(found.read, more.read), max(found.send, more.send)) if processed else found


class Ask(NamedTuple):
    """What a consumer wants to read."""

    bytes: int
    weight: Weight
    busy: bool = False
    """It has batches under way."""
    whole: bool = False
    """It cannot be less: a long record, or a batch that is sent again."""
    who: str = ""
    """The consumer."""


def decide(memory: Memory, reserved: int, ask: Ask) -> int:
    """How many bytes may be read now; 0: wait. `reserved` bytes are granted and not in use yet.

    What cannot be less, and waits for no batch of its own consumer, has nothing to wait for where the agent alone fills
    the memory: it would stand for ever, and all behind it. So it may have all below the limit itself; weights say what
    is taken at most. Beyond that it does wait: killed, the agent would read the same batch at its next start and be
    killed again, and capture would end with delivery.
    """
    if not memory.limit:
        return ask.bytes
    most_used = memory.limit if ask.whole and not ask.busy else int(FULL * memory.limit)
    room = most_used - memory.used - reserved - SPARE
    if ask.whole:
        return ask.bytes if ask.bytes * ask.weight.read <= room else 0
    most = min(ask.bytes, room // ask.weight.read)
    if memory.share >= TIGHT:
        most = 0 if ask.busy else min(most, SMALL)
    return most if most >= min(LEAST, ask.bytes) else 0


class Grant:
    """Leave to read `bytes`; its memory stays reserved until `end`."""

    def __init__(self, budget: Budget, ask: Ask, granted: int) -> None:
        self.bytes = granted
        self._budget = budget
        self._weight = ask.weight
        self.reserved = granted * ask.weight.read

    def read(self, size: int) -> None:
        """`size` bytes were read and checked: they count as used now, what sending takes is still to come."""
        self._budget.change(self, size * self._weight.send)

    def end(self) -> None:
        """All of it is free again; a second call does nothing."""
        self._budget.change(self, 0)


class Budget:
    """Grants memory to consumers, and tells how things are. From any thread."""

    def __init__(
        self, clock: Clock, reader: MemoryReader | None = None,
        report: Callable[[State, str, str], None] = lambda _state, _message, _hint: None,
    ) -> None:  # fmt: skip
        """`report(state, message, hint)` is told when waiting lasts, and when it is over; no reader is no limit."""
        self._clock = clock
        self._reader = reader
        self._report = report
        self._lock = threading.Lock()
        self._memory = Memory(0, 0, "none")
        self._measured = self._trimmed = float("-inf")
        self._reserved = 0
        self._state: MemoryState = "unlimited"
        self._waiting: dict[str, float] = {}
        """Consumers that wait for memory, and since when."""
        self._told: str | None = None
        """Of which of them people were told."""
        self.pauses = 0
        self._first = self._measure(clock.monotonic())

    def longest(self, weight: Weight, wanted: int) -> int:
        """Bytes of the longest record that may be read, `wanted` without a limit; the same for the whole run."""
        if not self._first.limit:
            return wanted
        room = int(TIGHT * self._first.limit) - self._first.used
        return min(wanted, max(LONGEST, room // weight.read))

    def ask(self, ask: Ask) -> Grant | None:
        """Leave to read, or None: ask again later."""
        with self._lock:
            now = self._clock.monotonic()
            memory = self._measure(now)
            granted = decide(memory, self._reserved, ask)
            if not granted and self._trim(now):
                memory = self._memory
                granted = decide(memory, self._reserved, ask)
            self._note(memory, ask, granted, now)
            if not granted:
                return None
            grant = Grant(self, ask, granted)
            self._reserved += grant.reserved
        return grant

    def change(self, grant: Grant, reserved: int) -> None:
        """Note that a grant reserves more or less from now on."""
        with self._lock:
            self._reserved += reserved - grant.reserved
            grant.reserved = reserved

    def own(self) -> Own:
        """How much the agent uses now."""
        times = resource.getrusage(resource.RUSAGE_SELF)
        reader = self._reader or MemoryReader()
        with self._lock:
            memory, reserved = self._measure(self._clock.monotonic()), self._reserved
        if not memory.limit:
            memory = reader.read()
        return Own(
            cpu_seconds=times.ru_utime + times.ru_stime,
            resident_bytes=reader.resident(),
            memory_used=memory.used,
            memory_limit=memory.limit,
            memory_source=memory.source,
            memory_state=self._state if memory.limit else "unlimited",
            memory_pauses=self.pauses,
            granted_bytes=reserved if memory.limit else 0,
            cpu_limit=reader.cpus(),
            nice=WORK.nice,
            ionice=WORK.io,
            priority_problem=WORK.problem,
        )

    def _measure(self, now: float) -> Memory:
        if self._reader is not None and now - self._measured >= _FRESH:
            self._measured = now
            self._memory = self._reader.read()
            if self._memory.share >= TIGHT:
                self._trim(now)
            if self._state != "paused":
                self._state = _state(self._memory)
        return self._memory

    def _trim(self, now: float) -> bool:
        """Give free memory back to the system, once a second at most; True when that was done."""
        if self._reader is None or now - self._trimmed < _TRIM_EVERY:
            return False
        self._trimmed = now
        linux.trim_memory()
        self._memory = self._reader.read()
        return True

    def _note(self, memory: Memory, ask: Ask, granted: int, now: float) -> None:
        """Keep state and counts; people are told only of a wait that lasts, and whose it is."""
        if granted:
            self._waiting.pop(ask.who, None)
            self._state = "paused" if self._waiting else _state(memory)
            if self._told == ask.who:
                self._tell_end(memory)
            return
        if ask.busy and TIGHT <= memory.share < FULL:
            if not self._waiting:
                self._state = "tight"  # one batch at a time, and it is under way
            return
        if self._state != "paused":
            self.pauses += 1
        self._state = "paused"
        if ask.busy:  # it waits for its own batches, which is no trouble
            return
        if now - self._waiting.setdefault(ask.who, now) >= _PATIENCE and self._told is None:
            self._tell(memory, ask)

    def _tell(self, memory: Memory, ask: Ask) -> None:
        self._told = ask.who
        _log.warning("delivery waits for memory", forward=ask.who, used=memory.used, limit=memory.limit,
                     source=memory.source)  # fmt: skip
        what = f"{memory.used >> 20} of {memory.limit >> 20} MiB are in use ({memory.source})"
        hint = "records wait on disk; raise the limit, or lower forward.batch.max_bytes and in_flight"
        if ask.whole:
            what += f", {ask.bytes:,} bytes that cannot be divided may take {ask.bytes * ask.weight.read >> 20} more"
            hint = "records wait on disk; raise the limit, or lower forward.max_record: longer ones are dead letters"
        self._report("degraded", f"delivery to {ask.who} waits for memory: {what}", hint)

    def _tell_end(self, memory: Memory) -> None:
        self._told = None
        _log.info("delivery goes on, there is memory again", used=memory.used, limit=memory.limit)
        self._report("ok", "", "")


def _state(memory: Memory) -> MemoryState:
    if not memory.limit:
        return "unlimited"
    return "tight" if memory.share >= TIGHT else "normal"
