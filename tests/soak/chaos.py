"""A real agent in trouble: a receiver that fails in every way, seals, retention, SIGKILL, and a scrape all the while.

Two destinations get the same stream: one behaves at random, the other always takes everything. What the agent says of
itself is only ever compared with what came, and with itself: the books must balance at each scrape.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.soak.oracle import Outcome, bad, record
from tests.support.hostile import Heard, Hostile, Say, serving
from tests.support.program import AGENT, Program

LEAF = "telemetry.json"
IN_FLIGHT, RECORDS = 3, 50
BOOKS = ("delivered", "dead_lettered", "filtered", "empty", "unsettled")
CONFIG = """
[rotation]
max_size = "24KiB"
[retention]
keep = 2
"""
FORWARD = """
[[forward]]
name = "{name}"
endpoints = ["{url}"]
timeout = "2s"
dead_letters = "1GB"
[forward.batch]
max_records = 50
max_delay = "20ms"
in_flight = 3
[forward.retry]
initial = "10ms"
maximum = "100ms"
[forward.breaker]
failures = 3
recovery = "200ms"
"""
ANSWERS = (
    (40, Say()),
    (4, Say(400)),
    (4, Say(413)),
    (4, Say(500)),
    (6, Say(429, headers={"Retry-After": "0"})),
    (6, Say(502)),
    (8, Say(503)),
    (6, Say(504)),
    (6, Say(end="reset")),
    (6, Say(end="close")),
    (6, Say(end="half")),
    (1, Say(end="stall")),
    (4, Say(200, b"<html>", {"Content-Type": "text/html"})),
)


class Chaotic(Hostile):
    """Answers by chance, from a seed, until it is told to be calm; remembers what it took."""

    chance: random.Random
    calm: bool
    took: list[bytes]
    said: Counter[str]

    def next(self, heard: Heard) -> Say:
        """Draw an answer."""
        with self._lock:
            weights, answers = zip(*ANSWERS, strict=True)
            say = Say() if self.calm else self.chance.choices(answers, weights)[0]
            self.said[f"{say.status} {say.end}"] += 1
            if say.status == 200 and say.end == "whole":
                self.took.append(heard.body)
            return say


@dataclass
class Result:
    """What came of a run."""

    outcomes: dict[str, Outcome]
    seconds: float
    kills: int
    scrapes: int
    unbalanced: list[str]
    said: dict[str, int]
    segments: int
    """Most that were on disk at once."""
    sealed: int
    losses: list[str]
    fresh: float
    """Seconds from a write to its arrival after the faults ended."""
    final: dict[str, float] = field(default_factory=dict)
    """The last scrape's counters of the destination that failed."""

    def report(self) -> str:
        """For a failing test, and for the curious."""
        lines = [f"{name}: {one.report()}" for name, one in self.outcomes.items()]
        lines.append(
            f"{self.seconds:.0f} s, {self.kills} kills, {self.scrapes} scrapes, {self.sealed} seals, at most "
            f"{self.segments} segments on disk, losses {self.losses}, a fresh event after {self.fresh:.2f} s"
        )
        return "\n".join([*lines, f"answers: {self.said}", *self.unbalanced[:5]])


class Stage:
    """The directory, the writer, the receivers and the agent of one run."""

    def __init__(self, home: Path, seed: int, servers: dict[str, Hostile]) -> None:
        self.watched = home / "watched"
        self.watched.mkdir()
        self.chance = random.Random(seed)
        self.servers: dict[str, Chaotic] = {}
        for name, server in servers.items():
            server.__class__ = Chaotic
            assert isinstance(server, Chaotic)
            server.chance, server.took, server.said = random.Random(seed + 1), [], Counter()
            server.calm = name == "good"
            self.servers[name] = server
        self.config = home / "agent.toml"
        text = CONFIG + "".join(FORWARD.format(name=name, url=one.url) for name, one in self.servers.items())
        self.config.write_text(text, "utf-8")
        self.program: Program | None = None
        self.produced = self.written = 0
        self.kills = self.scrapes = self.segments = 0
        self.unbalanced: list[str] = []
        self.books: dict[str, dict[str, float]] = {}
        self.over = threading.Event()

    def start(self) -> None:
        """Let an agent run."""
        self.program = Program((*AGENT, "--config", str(self.config)), self.watched, {})

    def wait_ready(self, limit: float = 600) -> None:
        """Wait until the agent has looked at everything."""
        end = time.monotonic() + limit
        while self.ask("/readyz")[0] != 200:
            assert time.monotonic() < end, "not ready"
            time.sleep(0.02)

    def end(self, number: int) -> None:
        """End it by a signal."""
        assert self.program is not None
        program, self.program = self.program, None
        program.stop(number)
        self.kills += number == signal.SIGKILL

    def write(self) -> None:
        """Append lines in bursts, some of them useless, some in two halves, until the run is over."""
        with (self.watched / LEAF).open("ab", buffering=0) as file:
            while not self.over.is_set():
                for _ in range(self.chance.randint(1, 20)):
                    self.append(file.write)
                self.over.wait(0.05)

    def append(self, write: Callable[[bytes], object]) -> None:
        """One more line, or two."""
        number = self.produced
        line = bad(number) if number % 97 == 13 else record(number)
        self.written += len(line) + (3 if number % 53 == 3 and number % 31 != 7 else 0)
        if number % 31 == 7:
            write(line[:25])
            line = line[25:]
        elif number % 53 == 3:
            line += b"{}\n"
        write(line)
        self.produced += 1

    def watch(self) -> None:
        """Scrape as often as it answers, and look at the books and at the directory."""
        while not self.over.wait(0.02):
            self.segments = max(self.segments, len(list(self.watched.glob("*.gz"))))
            self.scrape()

    def scrape(self) -> None:
        """One scrape, judged."""
        code, text = self.ask("/metrics")
        if code != 200:
            return
        books = _books(text)
        for name, found in books.items():
            if found["read"] != sum(found[one] for one in BOOKS):
                self.unbalanced.append(f"{name}: {found}")
        self.books = books or self.books
        self.scrapes += bool(books)

    def ask(self, path: str) -> tuple[int, str]:
        """Status and body of a GET; status 0 where nobody answers, or was killed in the middle of it."""
        program = self.program
        try:
            return program.get(path) if program else (0, "")
        except http.client.HTTPException:
            return 0, ""

    def settled(self) -> bool:
        """True when every line that was written has found its end, by the agent's own account."""
        self.scrape()
        code, text = self.ask("/api/v1/status")
        if code != 200:
            return False
        status = json.loads(text)
        seen = sum(one["position"] for one in status["streams"])
        return seen >= self.written and all(
            not one["backlog_bytes"] and not one["unsettled"] for one in status["forwards"]
        )

    def outcomes(self) -> dict[str, Outcome]:
        """What became of everything, by destination."""
        found: dict[str, Outcome] = {}
        for name, server in self.servers.items():
            outcome = found[name] = Outcome(set(range(self.produced)))
            for body in server.took:
                outcome.took(body)
            for letters in (self.watched / ".telemetry-agent").glob(f"dead-letters-{name}.jsonl*"):
                outcome.buried(json.loads(line)["record"] for line in letters.read_text("utf-8").splitlines())
        return found

    def audited(self) -> list[dict[str, object]]:
        """The audit trail."""
        files = sorted((self.watched / ".telemetry-agent").glob("audit.jsonl*"), reverse=True)
        return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]


def _books(text: str) -> dict[str, dict[str, float]]:
    """Each forward's record counters, from one scrape."""
    found: dict[str, dict[str, float]] = {}
    pattern = re.compile(r"telemetry_agent_forward_(\w+?)_records(?:_total)?")
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if match := pattern.fullmatch(sample.name):
                books = found.setdefault(sample.labels["forward"], dict.fromkeys(("read", *BOOKS), 0.0))
                books[match[1]] = books.get(match[1], 0.0) + sample.value
    return found


def run(home: Path, seconds: float, seed: int) -> Result:
    """Write for that long while everything goes wrong, then let it end, and judge."""
    with serving() as hostile, serving() as good:
        stage = Stage(home, seed, {"hostile": hostile, "good": good})
        threads = [threading.Thread(target=one, daemon=True) for one in (stage.write, stage.watch)]
        stage.start()
        for thread in threads:
            thread.start()
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            # A life that delivers something, however busy the machine is.
            stage.wait_ready()
            time.sleep(min(left, stage.chance.uniform(0.8, 2.5)))
            first = not stage.kills
            stage.end(signal.SIGKILL if first else stage.chance.choice((signal.SIGKILL, signal.SIGTERM)))
            stage.start()
        stage.over.set()
        for thread in threads:
            thread.join()
        fresh = _calm_down(stage)
        stage.end(signal.SIGTERM)
    trail = stage.audited()
    return Result(
        stage.outcomes(), seconds, stage.kills, stage.scrapes, stage.unbalanced, dict(stage.servers["hostile"].said),
        stage.segments, sum(one["event"] == "seal" for one in trail),
        [str(one) for one in trail if one["event"] == "loss"], fresh, stage.books.get("hostile", {}),
    )  # fmt: skip


def _calm_down(stage: Stage, limit: float = 300) -> float:
    """Every fault is over: wait until all is settled, and see how long a fresh event takes."""
    for server in stage.servers.values():
        server.calm = True
    end = time.monotonic() + limit
    while not (stage.settled() and any(stage.watched.glob("*.gz"))):
        assert time.monotonic() < end, f"not settled after {limit} s: {stage.books}"
        time.sleep(0.05)
    began = time.monotonic()
    with (stage.watched / LEAF).open("ab", buffering=0) as file:
        stage.append(file.write)
    wanted = b'"n%d"' % (stage.produced - 1)
    while not all(any(wanted in body for body in server.took[-3:]) for server in stage.servers.values()):
        assert time.monotonic() < end, "the fresh event did not arrive"
        time.sleep(0.01)
    fresh = time.monotonic() - began
    while not stage.settled():
        assert time.monotonic() < end
        time.sleep(0.05)
    return fresh
