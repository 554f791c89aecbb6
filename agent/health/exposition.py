"""The checks as metric families, built anew for each scrape from the board's values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import Metric
from prometheus_client.registry import Collector

from agent.control import CheckStatus
from agent.health.board import overall
from agent.metrics import Family as Row
from agent.system.exposition import metric
from agent.system.family import Column, Family, kind_of, single, table

CLASSICS = ("disk_space", "memory", "database", "external_api", "ffmpeg")
"""Checks of these names have a metric of their own, `<name>_health_status`, which dashboards know since long."""

_STATES = "0 unknown, 1 healthy, 2 warning, 3 unhealthy"
_OVERALL = ("system_health_status", f"The worst state of all checks: {_STATES}.")
_COLUMNS: tuple[Column[CheckStatus], ...] = (
    Column("telemetry_agent_check_status", f"State of the check: {_STATES}.", lambda one: one.level),
    Column(
        "telemetry_agent_check_last_run_timestamp_seconds",
        "When the check last had a result, in seconds since 1970.",
        lambda one: one.last_run,
    ),
    Column("telemetry_agent_check_last_duration_seconds", "How long its last run took.", lambda one: one.seconds),
    Column("telemetry_agent_check_runs_total", "Runs that ended or timed out.", lambda one: one.runs),
    Column(
        "telemetry_agent_check_failures_total",
        "Runs that found it unhealthy, or could not find out.",
        lambda one: one.failures,
    ),
    Column("telemetry_agent_check_timeouts_total", "Runs that did not end in time.", lambda one: one.timeouts),
    Column("telemetry_agent_check_transitions_total", "Changes of its state.", lambda one: one.transitions),
)
ROWS = (
    Row(_OVERALL[0], "gauge", (), _OVERALL[1]),
    *(Row(column.name, kind_of(column.name), ("check",), column.help) for column in _COLUMNS),
)
"""For the reference of metrics."""


class BoardCollector(Collector):
    """Serves the newest states to a CollectorRegistry."""

    def __init__(self, newest: Callable[[], list[CheckStatus]]) -> None:
        self._newest = newest

    def describe(self) -> list[Metric]:
        """Nothing: which classics there are depends on the configuration."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Fresh families."""
        return (metric(family) for family in families(self._newest()))


def families(checks: Sequence[CheckStatus]) -> list[Family]:
    """The families of these states."""
    rows = [((one.name,), one) for one in checks]
    classics = [
        single(f"{one.name}_health_status", f"State of the check {one.name}: {_STATES}.", one.level)
        for one in checks
        if one.name in CLASSICS
    ]
    return [single(*_OVERALL, overall(checks)), *table(_COLUMNS, rows, ("check",)), *classics]
