"""The checks as metrics."""

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from agent.control import CheckStatus
from agent.health.exposition import CLASSICS, ROWS, BoardCollector
from tests.unit.web.conftest import CHECK


def samples(*checks: CheckStatus) -> dict[str, float]:
    """Every sample that a strict parser reads, by name and check."""
    registry = CollectorRegistry()
    registry.register(BoardCollector(lambda: list(checks)))
    text = generate_latest(registry).decode("utf-8")  # type: ignore[no-untyped-call]
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
        for sample in family.samples
    }


def named(name: str, **keys: object) -> CheckStatus:
    """A check of this name."""
    return msgspec.structs.replace(CHECK, name=name, **keys)


def test_every_check_has_its_numbers() -> None:
    """State, times, counters."""
    one = named("api", level=3, runs=7, failures=3, timeouts=2, transitions=1, seconds=0.5, last_run=9.0)

    assert {
        "system_health_status": 3,
        "telemetry_agent_check_status api": 3,
        "telemetry_agent_check_last_run_timestamp_seconds api": 9,
        "telemetry_agent_check_last_duration_seconds api": 0.5,
        "telemetry_agent_check_runs_total api": 7,
        "telemetry_agent_check_failures_total api": 3,
        "telemetry_agent_check_timeouts_total api": 2,
        "telemetry_agent_check_transitions_total api": 1,
    } == samples(one)


@pytest.mark.parametrize("name", CLASSICS)
def test_a_classic_has_a_metric_of_its_own(name: str) -> None:
    """Dashboards know it by that name."""
    assert 2 == samples(named(name, level=2))[f"{name}_health_status"]


def test_the_whole_is_the_worst_part() -> None:
    """Without any check nothing is known."""
    assert 2 == samples(named("a"), named("b", level=2), named("c", level=0))["system_health_status"]
    assert {"system_health_status": 0} == samples()


def test_what_has_not_run_has_no_time() -> None:
    """A 0 would be 1970."""
    found = samples(named("a", last_run=None))

    assert "telemetry_agent_check_last_run_timestamp_seconds a" not in found
    assert 8 == len(ROWS)
