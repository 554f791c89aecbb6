"""The pages for tests: there where they are switched on, bounded, described, behind the token where there is one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis

from agent.config import Web
from agent.control.drills import (
    BusyError,
    Drill,
    DrillCounts,
    ImpossibleError,
    Kind,
    OutageProgress,
    Severity,
)  # fmt: skip
from agent.kit.errors import UnknownError
from agent.web import openapi

from .conftest import Site

BASE = "/telemetry-test"
DRILL = Drill(
    test_id="1f", test_type="collector_failure", status="running", started=1.0, duration_seconds=30.0,
    progress=OutageProgress(phase="outage", at=3.0, received=10, backlog_bytes=5, breaker="open", trips=1),
)  # fmt: skip


class FakeDrills:
    """Remembers what it was asked for; `error` is raised instead of beginning anything."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.error: Exception | None = None

    def load(self, kind: Kind, seconds: float, rate: float, severity: Severity) -> Drill:
        """Pretend."""
        return self._begin("load", kind, seconds, rate, severity)

    def generate(self, spans: int, delay: float, *, errors: bool) -> Drill:
        """Pretend."""
        return self._begin("generate", spans, delay, errors)

    def outage(self, seconds: float, rate: float) -> Drill:
        """Pretend."""
        return self._begin("outage", seconds, rate)

    def one(self, test_id: str) -> Drill:
        """The only one there is."""
        if test_id != DRILL.test_id:
            raise UnknownError("there is no such test")
        return DRILL

    def all(self) -> list[Drill]:
        """The same."""
        return [DRILL]

    def counts(self) -> DrillCounts:
        """Some."""
        return DrillCounts(started=1, running=1, completed=0, failed=0, stopped=0, spans_written=0, bytes_written=0)

    def _begin(self, *asked: Any) -> Drill:
        self.asked.append(asked)
        if self.error:
            raise self.error
        return DRILL


@pytest.fixture
def drills() -> FakeDrills:
    """Drills."""
    return FakeDrills()


@pytest.fixture
def tests(make_site: Callable[..., Site], drills: FakeDrills) -> Site:
    """A site with the pages for tests."""
    return make_site(drills=drills)


@pytest.mark.parametrize("page", openapi.TEST_PAGES, ids=lambda page: page.path)
def test_they_are_not_there_by_default(page: openapi.Page, site: Site) -> None:
    """Neither page nor description."""
    assert 404 == site.tcp.request("POST" if page.body else "GET", page.path, json={}).status_code
    assert page.path not in site.tcp.get("/openapi.json").json()["paths"]


@pytest.mark.parametrize(
    ("path", "body", "asked"),
    [
        ("test/start", {"test_type": "burst_load"}, ("load", "burst_load", 30.0, 10.0, "medium")),
        (
            "test/start",
            {"test_type": "continuous_load", "duration_seconds": 5, "span_rate": 100, "severity": "high"},
            ("load", "continuous_load", 5.0, 100.0, "high"),
        ),
        ("generate-loads", {}, ("generate", 100, 0.0, False)),
        ("generate-loads", {"span_count": 7, "delay_ms": 50, "include_errors": True}, ("generate", 7, 0.05, True)),
        ("simulate/collector-failure", {"duration_seconds": 12}, ("outage", 12.0, 60.0)),
    ],
)
def test_what_is_begun_is_answered_at_once(
    path: str, body: dict[str, Any], asked: tuple[Any, ...], tests: Site, drills: FakeDrills
) -> None:
    """202, and where to look how it goes on."""
    answer = tests.tcp.post(f"{BASE}/{path}", json=body)

    assert (202, "1f") == (answer.status_code, answer.json()["test_id"])
    assert 200 == tests.tcp.get(answer.headers["location"]).status_code
    assert [asked] == drills.asked


@pytest.mark.parametrize(
    ("path", "body", "word"),
    [
        ("test/start", {}, "test_type"),
        ("test/start", {"test_type": "flood"}, "flood"),
        ("test/start", {"test_type": "burst_load", "duration_seconds": 301}, "$.duration_seconds"),
        ("test/start", {"test_type": "burst_load", "span_rate": 1001}, "$.span_rate"),
        ("test/start", {"test_type": "burst_load", "severity": "total"}, "total"),
        ("generate-loads", {"span_count": 0}, "$.span_count"),
        ("generate-loads", {"span_count": 10_001}, "$.span_count"),
        ("generate-loads", {"delay_ms": -1}, "$.delay_ms"),
        ("generate-loads", {"spans": 5}, "spans"),
        ("simulate/collector-failure", {"duration_seconds": 0}, "$.duration_seconds"),
    ],
)
def test_a_body_that_is_wrong_is_400_and_says_where(
    path: str, body: dict[str, Any], word: str, tests: Site, drills: FakeDrills
) -> None:
    """And nothing begins."""
    answer = tests.tcp.post(f"{BASE}/{path}", json=body)

    assert 400 == answer.status_code
    assert word in answer.json()["what"]
    assert [] == drills.asked


def test_a_form_of_a_strange_web_page_begins_nothing(tests: Site, drills: FakeDrills) -> None:
    """A browser posts text and forms to anybody without asking; JSON it does not."""
    for media in ("text/plain", "application/x-www-form-urlencoded", None):
        headers = {"Content-Type": media} if media else {}
        answer = tests.tcp.post(f"{BASE}/generate-loads", content=b"{}", headers=headers)
        assert 400 == answer.status_code
        assert "Content-Type: application/json" in answer.json()["what"]
    assert [] == drills.asked


@pytest.mark.parametrize(
    ("error", "code"), [(BusyError("two loads run"), 409), (ImpossibleError("too large: at most 5 spans"), 422)]
)
def test_what_cannot_be_begun_says_why(error: Exception, code: int, tests: Site, drills: FakeDrills) -> None:
    """As an error of whoever asks, not of the agent."""
    drills.error = error
    answer = tests.tcp.post(f"{BASE}/generate-loads", json={})

    assert (code, str(error)) == (answer.status_code, answer.json()["what"])


def test_tests_are_listed_and_looked_at(tests: Site) -> None:
    """One by its id, all, and the sums; an unknown one is 404."""
    assert 200 == tests.tcp.get(f"{BASE}/test/1f").status_code
    assert ["1f"] == [one["test_id"] for one in tests.tcp.get(f"{BASE}/tests").json()]
    assert 404 == tests.tcp.get(f"{BASE}/test/2f").status_code
    assert 1 == tests.tcp.get(f"{BASE}/metrics").json()["tests"]["running"]
    health = tests.tcp.get(f"{BASE}/health")
    assert ["1f"] == health.json()["running"]
    assert "telemetry-agent-test.json" == health.json()["stream"]


def test_where_there_is_a_token_it_is_asked_for(
    make_site: Callable[..., Site], drills: FakeDrills, tmp_path: Path
) -> None:
    """What begins something takes it on TCP; what only tells does not, nor does the owner's own socket."""
    token = tmp_path / "token"
    token.write_text("0123456789abcdef0123456789abcdef\n", "ascii")
    token.chmod(0o600)
    site = make_site(Web(admin_token_file=str(token)), drills=drills)
    refused = site.tcp.post(f"{BASE}/generate-loads", json={})
    bearer = {"Authorization": "Bearer 0123456789abcdef0123456789abcdef"}

    assert 401 == refused.status_code
    assert [] == drills.asked
    assert 202 == site.tcp.post(f"{BASE}/generate-loads", json={}, headers=bearer).status_code
    assert 200 == site.tcp.get(f"{BASE}/tests").status_code
    assert 202 == site.local.post(f"{BASE}/generate-loads", json={}).status_code


def test_they_answer_as_they_are_described(tests: Site) -> None:
    """Each page, with what its schema allows and with what it does not."""
    url = f"http://{tests.addresses.tcp}/openapi.json"
    called: list[str] = []
    found: Any
    for found in schemathesis.openapi.from_url(url).get_all_operations():
        operation = found.ok()
        if not operation.path.startswith(BASE):
            continue

        @hypothesis.given(case=operation.as_strategy())
        @hypothesis.settings(max_examples=4, deadline=None, derandomize=True, database=None)
        def call(case: Any) -> None:
            case.call_and_validate()

        call()
        called.append(operation.path)

    assert [page.path for page in openapi.TEST_PAGES] == called
