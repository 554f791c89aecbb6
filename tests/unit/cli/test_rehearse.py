"""`generate` and `rehearse outage`, as somebody types them."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from agent.control.drills import STREAM, OutageProgress, OutageReport
from agent.rehearsal import outage
from agent.rehearsal.outage import Plan
from tests.unit.cli.conftest import Stage

REPORT = OutageReport(
    written=1817, delivered=1817, dead_lettered=0, lost=0, twice=3, strange=0, outage_seconds=12.0, trips=1,
    opened_after=1.4, recovered_after=1.4, caught_up_after=2.4, longest_lag=18.3, largest_backlog=3_800_000,
)  # fmt: skip


def spans(content: str) -> int:
    """How many are in these lines."""
    scopes = [
        scope
        for line in content.splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
    ]
    return sum(len(scope["spans"]) for scope in scopes)


def test_generated_spans_go_into_the_watched_directory(stage: Stage) -> None:
    """Exactly as many as asked for, behind those of the last time."""
    for _ in range(2):
        code, out, _ = stage.run("generate", "--spans", "100", "--errors")
        assert code == 0
        assert "100 spans" in out
        assert STREAM in out
    assert 200 == spans((stage.directory / STREAM).read_text("utf-8"))


def test_generated_spans_go_where_they_are_wanted(stage: Stage) -> None:
    """Into a file of any name, or to standard output for a pipe."""
    target = stage.directory.parent / "elsewhere" / "mine.jsonl"
    assert 0 == stage.run("generate", "--spans", "7", "--delay", "1ms", "-o", str(target), at=False)[0]
    assert 7 == spans(target.read_text("utf-8"))
    assert [] == list(stage.directory.iterdir())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("generate", "--spans", "0"), "--spans"),
        (("generate", "--delay", "soon"), "--delay"),
        (("rehearse", "outage", "--for", "long"), "--for"),
        (("rehearse", "outage", "--for", "30d"), "longer than 1d"),
        (("rehearse", "outage", "--forward", "nobody"), "none is configured"),
    ],
)
def test_nonsense_is_a_wrong_command_line(words: tuple[str, ...], told: str, stage: Stage) -> None:
    """Told by the option's name."""
    code, _, err = stage.run(*words, at=words[0] == "generate")

    assert 2 == code
    assert told in err


class Sham:
    """An outage that was."""

    kept = None
    plan: Plan
    report = REPORT

    def __init__(self, plan: Plan, told: Callable[[OutageProgress], None], _: threading.Event) -> None:
        Sham.plan = plan
        self._told = told

    def play(self) -> OutageReport:
        """Tell once."""
        now = OutageProgress(
            phase="outage", at=17.5, received=366, backlog_bytes=339_000, lag_seconds=5.0, breaker="open"
        )
        self._told(now)
        return self.report


@pytest.fixture
def sham(monkeypatch: pytest.MonkeyPatch) -> type[Sham]:
    """Nothing is really played."""
    monkeypatch.setattr(outage, "Outage", Sham)
    return Sham


def test_a_rehearsal_is_told_as_it_goes_and_counted(stage: Stage, sham: type[Sham]) -> None:
    """With the patience of the first OTLP forward of the configuration."""
    (stage.directory.parent / "agent.toml").write_text(
        '[[forward]]\nname = "lines"\nkind = "console"\n[[forward]]\nname = "far"\n[forward.breaker]\nfailures = 9\n',
        "utf-8",
    )
    code, out, _ = stage.run("rehearse", "outage", "--for", "12s", "--rate", "50", at=False)

    assert 0 == code
    assert (12.0, 50.0, "far", 9) == (
        sham.plan.seconds, sham.plan.rate, sham.plan.forward.name, sham.plan.forward.breaker.failures
    )  # fmt: skip
    for part in (
        "patience of 'far'", "opens after 9 failures", "17.5s  outage", "366", "339 kB", "circuit open",
        "written    1,817", "lost           0", "twice          3", "opened 1.4 s into it", "arrived in 1.4 s",
        "Every record arrived",
    ):  # fmt: skip
        assert part in out
    assert "dead letters" not in out


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"lost": 1}, "Records are missing"),
        ({"strange": 1}, "Records are missing, or strange ones"),
        ({"recovered_after": None}, "did not come back"),
    ],
)
def test_a_rehearsal_that_failed_is_said_so(
    change: dict[str, Any], sentence: str, stage: Stage, sham: type[Sham], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1, also with JSON."""
    monkeypatch.setattr(sham, "report", msgspec.structs.replace(REPORT, **change))
    code, out, _ = stage.run("rehearse", "outage", at=False)
    assert (1, True) == (code, sentence in out)
    code, out, _ = stage.run("rehearse", "outage", "--json", at=False)
    assert 1 == code
    assert msgspec.json.decode(out, type=OutageReport) == sham.report


def test_a_directory_that_cannot_be_made_is_an_error(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variable that helps."""
    monkeypatch.setattr(tempfile, "tempdir", str(stage.directory / "nowhere"))
    code, _, err = stage.run("rehearse", "outage", "--for", "1s", at=False)

    assert 1 == code
    assert "TMPDIR" in err
