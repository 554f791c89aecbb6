"""What a running agent practises: bounded, remembered for a while, and ended with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.config import Config, Files, Retention
from agent.control.drills import STREAM, BusyError, Drill, ImpossibleError, OutageProgress, OutageReport
from agent.kit.clock import SystemClock
from agent.kit.errors import StoppingError, UnknownError
from agent.kit.units import Size
from agent.rehearsal import practice as practising
from agent.rehearsal.outage import Outage, Plan
from agent.rehearsal.practice import Practice

REPORT = OutageReport(
    written=10, delivered=10, dead_lettered=0, lost=0, twice=0, strange=0, outage_seconds=3.0, trips=1,
    opened_after=1.0, recovered_after=1.0, caught_up_after=1.0, longest_lag=3.0, largest_backlog=100,
)  # fmt: skip


class Sham(Outage):
    """An outage that is played by hand."""

    played: list[Sham]
    gate: threading.Event
    report = REPORT

    def __init__(self, plan: Plan, told: Callable[[OutageProgress], None], stop: threading.Event) -> None:
        super().__init__(plan, told, stop)
        self.plan, self.told = plan, told
        self.played.append(self)

    def play(self) -> OutageReport:
        """Tell once, and wait."""
        self.told(OutageProgress(phase="outage", at=1.0, received=5))
        assert self.gate.wait(60)
        if self._killed:
            raise StoppingError("ended")
        return self.report

    def kill(self) -> None:
        """Let it end."""
        super().kill()
        self.gate.set()


@pytest.fixture
def sham(monkeypatch: pytest.MonkeyPatch) -> type[Sham]:
    """A fresh one."""
    monkeypatch.setattr(Sham, "played", [], raising=False)
    monkeypatch.setattr(Sham, "gate", threading.Event(), raising=False)
    return Sham


@pytest.fixture
def practice(tmp_path: Path, sham: type[Sham]) -> Iterator[Practice]:
    """Over an empty watched directory."""
    config = Config(files=Files(directory=str(tmp_path)))
    made = Practice(lambda: config, SystemClock(), outage=sham)
    yield made
    made.close(30)


def ended(practice: Practice, drill: Drill) -> Drill:
    """The drill, once it has come to its end."""
    give_up = time.monotonic() + 60
    while practice.one(drill.test_id).status == "running":
        assert time.monotonic() < give_up
        time.sleep(0.01)
    return practice.one(drill.test_id)


def test_a_load_is_written_into_the_watched_directory(practice: Practice, tmp_path: Path) -> None:
    """As many spans as asked for, in whole lines; what was written is told and summed up."""
    done = ended(practice, practice.generate(100, 0.0, errors=True))
    content = (tmp_path / STREAM).read_bytes()

    assert ("completed", "generated_load", 100) == (done.status, done.test_type, done.spans_written)
    assert len(content) == done.bytes_written
    assert content.endswith(b"\n")
    assert done.ended is not None
    counts = practice.counts()
    assert (1, 0, 1, 100) == (counts.started, counts.running, counts.completed, counts.spans_written)


def test_a_steady_load_and_a_burst_run_beside_each_other_and_no_third(practice: Practice) -> None:
    """Two at once; the third hears whom to wait for."""
    first = practice.load("continuous_load", 300, 10, "low")
    second = practice.load("burst_load", 300, 10, "high")
    with pytest.raises(BusyError, match=first.test_id):
        practice.generate(1, 0.0, errors=False)
    practice.close(30)

    assert ["stopped", "stopped"] == [ended(practice, one).status for one in (first, second)]
    assert 3000 == second.span_count


@pytest.mark.parametrize(
    ("config", "spans", "why"),
    [
        (Config(files=Files(include=("*.log",))), 1, "leave telemetry-agent-test.json out"),
        (Config(retention=Retention(max_total=Size("1MB"))), 300, "retention.max_total, .* at most 250 spans"),
        (Config(files=Files(critical_total=Size("1MB"))), 300, "files.critical_total, .* at most 250 spans"),
    ],
)
def test_a_load_that_would_cost_others_their_archives_is_refused(
    config: Config, spans: int, why: str, tmp_path: Path
) -> None:
    """Retention counts the whole directory: so a load may take a quarter of it, and only where it is watched."""
    files = Files(directory=str(tmp_path), include=config.files.include, critical_total=config.files.critical_total)
    made = Practice(lambda: Config(files=files, retention=config.retention), SystemClock())
    with pytest.raises(ImpossibleError, match=why):
        made.generate(spans, 0.0, errors=False)
    assert [] == made.all() == list(tmp_path.iterdir())


def test_a_load_that_would_take_hours_is_refused(practice: Practice) -> None:
    """Five minutes at most."""
    with pytest.raises(ImpossibleError, match="longer than 300 s"):
        practice.generate(10_000, 1.0, errors=False)


def test_an_outage_is_rehearsed_once_at_a_time(practice: Practice, sham: type[Sham]) -> None:
    """Its progress is seen meanwhile, its report in the end; loads may run beside it."""
    drill = practice.outage(30, 60)
    give_up = time.monotonic() + 60
    while practice.one(drill.test_id).progress is None:
        assert time.monotonic() < give_up
        time.sleep(0.01)
    with pytest.raises(BusyError, match="an outage is being rehearsed already"):
        practice.outage(1, 1)
    assert "completed" == ended(practice, practice.generate(1, 0.0, errors=False)).status
    sham.gate.set()
    done = ended(practice, drill)

    assert ("completed", REPORT) == (done.status, done.report)
    assert (30, 20.0) == (sham.played[0].plan.seconds, sham.played[0].plan.rate)


def test_an_outage_with_a_loss_has_failed(
    practice: Practice, sham: type[Sham], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report says what is missing."""
    monkeypatch.setattr(
        sham, "report", OutageReport(**{**{f: getattr(REPORT, f) for f in REPORT.__struct_fields__}, "lost": 1})
    )
    sham.gate.set()
    done = ended(practice, practice.outage(30, 60))

    assert "failed" == done.status
    assert done.report is not None
    assert 1 == done.report.lost


def test_closing_ends_an_outage(practice: Practice) -> None:
    """It has not failed: it was stopped."""
    drill = practice.outage(300, 60)
    practice.close(30)

    assert "stopped" == ended(practice, drill).status


def test_a_disk_that_takes_nothing_is_a_failed_test(practice: Practice, tmp_path: Path) -> None:
    """And no end of the agent."""
    (tmp_path / STREAM).mkdir()
    done = ended(practice, practice.generate(10, 0.0, errors=False))

    assert "failed" == done.status
    assert STREAM in done.message


def test_only_the_newest_tests_are_remembered(practice: Practice, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs is never forgotten."""
    monkeypatch.setattr(practising, "KEPT", 3)
    running = practice.outage(300, 60)
    drills = [ended(practice, practice.generate(1, 0.0, errors=False)) for _ in range(5)]

    assert [running.test_id, *(one.test_id for one in drills[-2:])] == [one.test_id for one in practice.all()]
    with pytest.raises(UnknownError, match="no test"):
        practice.one(drills[0].test_id)
