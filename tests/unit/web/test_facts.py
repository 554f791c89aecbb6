"""Pages about checks, segments and the configuration."""

import msgspec
import pytest

from agent.kit.errors import StoppingError
from agent.web.messages import Health

from .conftest import CHECK, SEGMENT, Site


def test_checks_segments_and_configuration_are_shown(site: Site) -> None:
    """As the structs that messages and control define."""
    assert site.tcp.get("/api/v1/checks").json() == [msgspec.to_builtins(CHECK)]
    assert site.tcp.get("/api/v1/segments").json() == {"total": 7, "segments": [msgspec.to_builtins(SEGMENT)]}
    assert site.tcp.get("/api/v1/config").json() == [
        {"key": "rotation.max_size", "value": '"10MB"', "origin": "default"}
    ]


def test_segments_of_one_stream_and_only_so_many(site: Site) -> None:
    """The default limit is part of the contract."""
    site.tcp.get("/api/v1/segments")
    site.tcp.get("/api/v1/segments?stream=a.json&limit=5")

    assert [("", 1000), ("a.json", 5)] == site.asked_segments


@pytest.mark.parametrize("limit", ["", "0", "-1", "many", "10001", "1" * 30, "٣"])
def test_a_wrong_limit_is_a_bad_request(site: Site, limit: str) -> None:
    """It says what would be right, and nobody is asked."""
    answer = site.tcp.get("/api/v1/segments", params={"limit": limit})

    assert 400 == answer.status_code
    assert "limit is no number from 1 to 10000" == answer.json()["what"]
    assert [] == site.asked_segments


def test_a_busy_keeper_is_told_as_unavailable(site: Site) -> None:
    """The page gives up, the others go on."""
    site.control.error = StoppingError("no answer within 10 s")

    assert 503 == site.tcp.get("/api/v1/segments").status_code
    assert 200 == site.tcp.get("/api/v1/checks").status_code


@pytest.mark.parametrize(
    ("level", "word", "status", "code"),
    [(2, "warning", "degraded", 200), (3, "unhealthy", "unhealthy", 503), (0, "unknown", "degraded", 200)],
)
def test_a_check_in_trouble_shows_in_health_and_nowhere_else(
    site: Site, level: int, word: str, status: str, code: int
) -> None:
    """Its sentence is an issue; /livez, /readyz and /startupz do not ask it."""
    site.checks = [msgspec.structs.replace(CHECK, level=level, state=word, message="95% in use", hint="free some")]
    answer = site.tcp.get("/health")

    assert (code, status) == (answer.status_code, answer.json()["status"])
    assert [f"check memory is {word}: 95% in use; free some"] == answer.json()["issues"]
    assert [200, 200, 200] == [site.tcp.get(path).status_code for path in ("/livez", "/readyz", "/startupz")]


def test_a_check_that_was_not_run_yet_is_no_issue(site: Site) -> None:
    """It says nothing, neither good nor bad."""
    site.checks = [msgspec.structs.replace(CHECK, level=0, state="unknown", last_run=None)]

    assert "healthy" == site.tcp.get("/health").json()["status"]


def test_verbose_health_has_the_tree_the_checks_and_the_sources(site: Site) -> None:
    """Without it the answer is short."""
    site.components.report("health", "ok")
    short = msgspec.json.decode(site.tcp.get("/health").content, type=Health)
    long = msgspec.json.decode(site.tcp.get("/health?verbose").content, type=Health)

    assert ([], {}, [[], []]) == (short.checks, short.sources, [part.parts for part in short.components])
    assert ([CHECK], "/proc/stat") == (long.checks, long.sources["cpu"].source)
    (health,) = (part for part in long.components if part.name == "health")
    assert [("memory", "ok", "10.0% in use")] == [(part.name, part.state, part.message) for part in health.parts]
