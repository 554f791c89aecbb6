"""The rehearsed outage: its count can fail, it leaves nothing behind, and a real agent passes it."""

from __future__ import annotations

import os
import tempfile
import threading
import tomllib
from pathlib import Path
from typing import Any

import pytest

from agent.config import Forward
from agent.config.forward import Breaking, Retrying
from agent.control.drills import OutageProgress, OutageReport
from agent.kit.errors import AgentError, StoppingError
from agent.kit.units import Duration
from agent.rehearsal import outage
from agent.rehearsal.outage import Outage, Plan

COURIER = "tests.unit.rehearsal.courier"
QUICK = Forward(
    name="quick",
    retry=Retrying(initial=Duration("50ms"), maximum=Duration("200ms")),
    breaker=Breaking(failures=2, recovery=Duration("200ms")),
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where rehearsals make their directories; short phases."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(outage, "_BEFORE", 0.2)
    monkeypatch.setattr(outage, "_TELL", 0.05)
    return tmp_path


def rehearse(
    *, agent: tuple[str, ...] = outage.AGENT, told: list[OutageProgress] | None = None, **plan: Any
) -> OutageReport:
    """Play a short outage."""
    heard = told if told is not None else []
    given = {"seconds": 0.3, "rate": 100.0, "forward": QUICK, **plan}
    return Outage(Plan(agent=agent, **given), heard.append, threading.Event()).play()


def test_a_real_agent_delivers_everything(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The circuit opens, the lag grows, delivery comes back, every id arrives; no variable of the user's reaches it."""
    user = place / "user"
    monkeypatch.setenv("TELEMETRY_AGENT__FILES__DIRECTORY", str(user))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9/v1/traces")
    told: list[OutageProgress] = []
    report = rehearse(seconds=1.5, told=told)

    assert report.passed
    assert (report.written, report.lost, report.strange) == (report.delivered, 0, 0)
    assert report.trips >= 1
    assert report.opened_after is not None
    assert report.recovered_after is not None
    assert report.largest_backlog > 0
    assert ["before", "outage", "recovery"] == [
        phase for phase in ("before", "outage", "recovery") if any(one.phase == phase for one in told)
    ]
    assert "open" in {one.breaker for one in told if one.phase == "outage"}
    assert not user.exists()
    assert [] == list(place.iterdir())


@pytest.mark.parametrize(
    ("mode", "found"), [("good", set()), ("drops", {"lost"}), ("doubles", {"twice"}), ("invents", {"strange"})]
)
@pytest.mark.usefixtures("place")
def test_every_fault_of_an_agent_is_counted(mode: str, found: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines left out, doubled and invented are found out by the ids alone: the count can fail."""
    if mode == "drops":
        monkeypatch.setattr(Plan, "patience", 1.0)
    report = rehearse(agent=(COURIER, mode))

    assert report.written > 20
    # What was on its way when the collector went away comes again, whoever carries it.
    seen = {name for name in ("lost", "twice", "strange") if getattr(report, name)}
    assert found <= seen <= found | {"twice"}
    assert report.twice < 3 or mode == "doubles"
    assert report.passed == (mode in ("good", "doubles"))
    assert report.delivered + report.lost == report.written


def test_an_agent_that_does_not_start_is_told_by_its_last_words(place: Path) -> None:
    """And nothing is left."""
    with pytest.raises(AgentError, match="the rehearsal's agent ended with 3: the disk is on fire"):
        rehearse(agent=("tests.unit.cli.idle_agent", "broken"))
    assert [] == list(place.iterdir())


def test_a_killed_rehearsal_ends_its_processes_at_once(place: Path) -> None:
    """Without a count; whoever asked hears that it was ended."""
    errors: list[Exception] = []
    begun = threading.Event()
    plan = Plan(agent=(COURIER, "good"), seconds=600.0, forward=QUICK)
    played = Outage(plan, lambda one: begun.set() if one.phase == "outage" else None, threading.Event())

    def play() -> None:
        try:
            played.play()
        except AgentError as error:
            errors.append(error)
            begun.set()

    thread = threading.Thread(target=play)
    thread.start()
    assert begun.wait(60)
    played.kill()
    thread.join(30)
    assert not thread.is_alive()
    assert [StoppingError] == [type(error) for error in errors]
    assert [] == list(place.iterdir())
    assert [] == processes(str(place))


def processes(word: str) -> list[str]:
    """Command lines with this word in them, but for our own."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                line = Path(f"/proc/{entry}/cmdline").read_bytes().decode("utf-8", "replace")
            except OSError:
                continue
            if word in line:
                found.append(line)
    return found


def test_the_rules_of_a_rehearsal_are_the_users_patience_and_nothing_else() -> None:
    """Batch, retry, breaker and timeout are his; endpoints, headers and files are not."""
    forward = Forward(
        name="his", endpoints=("https://his.example",), headers={"authorization": "secret"}, timeout=Duration("7s"),
        retry=Retrying(maximum=Duration("9s"), jitter="full", max_attempts=4), breaker=Breaking(failures=8),
    )  # fmt: skip
    text = Outage(Plan(forward=forward), lambda _: None, threading.Event())._rules(4318)
    rules = tomllib.loads(text.format(directory='"/private"'))

    assert "secret" not in text
    (one,) = rules["forward"]
    assert ["http://127.0.0.1:4318"] == one["endpoints"]
    assert ("7.0s", "9.0s", "full", 4, 8) == (
        one["timeout"], one["retry"]["maximum"], one["retry"]["jitter"], one["retry"]["max_attempts"],
        one["breaker"]["failures"],
    )  # fmt: skip
    assert {"directory": "/private", "critical_total": "off"} == rules["files"]


def test_progress_without_a_forward_is_still_told() -> None:
    """The first looks come before the agent has one."""
    assert OutageProgress(phase="before", at=1.0, received=3) == outage._progress("before", 1.0, 3, None)
