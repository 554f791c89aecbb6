"""A backlog in a container of 128 MiB: everything is delivered, nothing is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cgroups import Group, limited
from tests.support.program import AGENT, KEEP_ALL, ROOT, Program, free_port

LIMIT = 128 << 20
LINE = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"GET /cart","startTimeUnixNano":"1581452772000000321","endTimeUnixNano":"1581452772000000322","traceState":"%s"}]}]}]}\n'  # noqa: E501 - one record
GREEDY = {"max_bytes": "32MiB", "max_records": 1_000_000, "in_flight": 8}

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes a control group")]


class Receiver:
    """The OTLP receiver that only counts, in a process that can be stopped and continued."""

    def __init__(self) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        command = [sys.executable, "-m", "tests.bench.blackhole", str(port)]
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        wait_for(self._answers)

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(self.url, timeout=1).close()  # noqa: S310 - its own URL
        except OSError:
            return False
        return True


def wait_for(condition: Callable[[], bool], limit: float = 60) -> None:
    """Until it is true; TimeoutError when that takes too long."""
    until = time.monotonic() + limit
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(condition)
        time.sleep(0.05)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """One that runs."""
    found = Receiver()
    yield found
    found.process.kill()
    found.process.wait()


def fill(path: Path, size: int, width: int = 1000) -> int:
    """Write about `size` bytes of records quickly; how many there are."""
    line = LINE % (b"x" * width)
    block = line * max(1, (8 << 20) // len(line))
    count = 0
    with path.open("wb") as file:
        while file.tell() < size:
            file.write(block)
            count += block.count(b"\n")
    return count


def config(home: Path, url: str, forwards: int, **batch: Any) -> str:
    """A configuration with so many forwards to the same receiver."""
    keys = "".join(f"{key} = {json.dumps(value)}\n" for key, value in batch.items())
    text = "".join(
        f'[[forward]]\nname = "f{number}"\nendpoints = ["{url}"]\nretry.initial = "100ms"\n[forward.batch]\n{keys}'
        for number in range(forwards)
    )
    path = home / "agent.toml"
    path.write_text(text, "utf-8")
    return str(path)


def status(program: Program) -> dict[str, Any]:
    """What the agent says, or nothing yet."""
    code, text = program.get("/api/v1/status")
    program.check_alive()
    found: dict[str, Any] = json.loads(text) if code == 200 else {}
    return found


def delivered(program: Program) -> list[int]:
    """Records that each forward delivered."""
    return [one["delivered"] for one in status(program).get("forwards", [])]


def watch(program: Program, group: Group, done: Callable[[], bool], limit: float) -> int:
    """Wait for `done`; the most memory that was seen in use."""
    peak, until = 0, time.monotonic() + limit
    while not done():
        assert group.kills() == 0, program.output()
        peak = max(peak, group.used())
        if time.monotonic() > until:
            raise TimeoutError(f"{delivered(program)}, own: {status(program).get('own')}")
        time.sleep(0.05)
    return peak


def test_a_backlog_is_delivered_within_the_limit_of_the_container(tmp_path: Path, receiver: Receiver) -> None:
    """Three greedy forwards, 768 MiB of batches if they might: the agent reads what fits, and knows its limit."""
    directory = tmp_path / "live"
    directory.mkdir()
    count = fill(directory / "traces.json", 100_000_000)
    settings = {"rotation.max_size": "20MB", **KEEP_ALL}

    with limited(LIMIT) as group:
        os.kill(receiver.process.pid, signal.SIGSTOP)
        command = (*group.enter(), *AGENT, "--config", config(tmp_path, receiver.url, 3, **GREEDY))
        with Program(command, directory, settings) as program:
            # Nobody answers: batches stay in memory until there is no room for another one.
            watch(program, group, lambda: status(program).get("own", {}).get("memory_pauses", 0) > 0, 60)
            os.kill(receiver.process.pid, signal.SIGCONT)
            peak = watch(program, group, lambda: delivered(program) == [count] * 3, 100)
            health = json.loads(program.get("/health")[1])
            _, metrics = program.get("/metrics")

        assert group.kills() == 0
    assert peak < 0.95 * LIMIT
    assert health["own"]["memory_limit"] == LIMIT
    assert health["own"]["memory_source"].endswith(group.path.name)
    assert "\ntelemetry_agent_memory_limit_bytes 1.34217728e+08\n" in metrics
    assert program.ended is not None
    assert program.ended.status == 0


def test_without_the_budget_the_same_backlog_ends_in_a_kill(tmp_path: Path, receiver: Receiver) -> None:
    """The negative control: the limit is real, and the batches would not fit below it."""
    directory = tmp_path / "live"
    directory.mkdir()
    fill(directory / "traces.json", 100_000_000)
    blind = "import agent.duties.budget as b, agent.cli; b.FULL = b.TIGHT = 99.0; agent.cli.main()"

    with limited(LIMIT) as group:
        os.kill(receiver.process.pid, signal.SIGSTOP)
        command = (
            *group.enter(),
            sys.executable,
            "-c",
            blind,
            "run",
            "-c",
            config(tmp_path, receiver.url, 3, **GREEDY),
        )
        with Program(command, directory, KEEP_ALL) as program:
            wait_for(lambda: group.kills() > 0)

    assert program.ended is not None
    assert program.ended.status == -signal.SIGKILL


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_backlog_of_10_gb_is_delivered_within_128_mib(tmp_path: Path, receiver: Receiver) -> None:
    """Unsealed at first, so that it is compressed, compared, released, read and sent beside each other."""
    directory = tmp_path / "live"
    directory.mkdir()
    count = fill(directory / "traces.json", 10_000_000_000)

    with limited(LIMIT) as group:
        command = (*group.enter(), *AGENT, "--config", config(tmp_path, receiver.url, 1))
        with Program(command, directory, {"rotation.max_size": "100MB", **KEEP_ALL}) as program:
            peak = watch(program, group, lambda: delivered(program) == [count], 1500)
            own = status(program)["own"]

        assert group.kills() == 0
    print(f"10 GB, {count} records: at most {peak / 2**20:.0f} MiB of {LIMIT >> 20} in use, {own}")
    assert peak < 0.95 * LIMIT
