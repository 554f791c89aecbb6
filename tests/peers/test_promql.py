"""Alert expressions mean what they mean in Prometheus: the same series, the same time, judged by promtool."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from agent.alerts.history import Data, History
from agent.alerts.nodes import Ranged, walk
from agent.alerts.promql import compile_expression
from agent.alerts.vector import NAME, Labels, Vector

pytestmark = pytest.mark.peer

STEP = 15
SERIES: dict[str, list[float | None]] = {
    'requests_total{job="a",code="200"}': [float(8 * n) for n in range(41)],
    'requests_total{job="a",code="500"}': [0.0] * 20 + [float(n) for n in range(21)],
    'requests_total{job="b",code="200"}': [float(64 * n if n < 25 else 32 * (n - 25)) for n in range(41)],
    'limit{job="a"}': [512.0] * 41,
    'limit{job="b"}': [1024.0] * 41,
    'temperature{room="hall"}': [float(n % 8) for n in range(41)],
    'temperature{room="attic"}': [16.0 - n / 4 for n in range(41)],
    'late_total{job="a"}': [None] * 30 + [float(4 * n) for n in range(11)],
    'gone{job="a"}': [1.0] * 10 + [None] * 31,
    "plain": [-4.0] * 41,
}
"""A value each 15 s; None: the series is not there."""

EXPRESSIONS = (
    "requests_total > 100",
    'requests_total{code="200"} >= 320',
    'requests_total{code=~"5.."} != 0',
    'requests_total{code!~"5..",job!="b"}',
    "requests_total > bool 100",
    "100 < requests_total",
    "100 < bool requests_total",
    '{__name__="plain"} < 0',
    "-plain",
    "abs(plain) * 2 ^ 3 % 5",
    "plain / 0",
    "plain + 1 - 2 * 3",
    "2 ^ 3 ^ 2 - plain",
    'limit - on(job) sum by (job) (requests_total{code="200"})',
    'requests_total{code="200"} / ignoring(code) limit > 0.5',
    'requests_total{code="200"} > ignoring(code) limit',
    "limit == bool on(job) limit",
    'requests_total and on(job) limit{job="a"}',
    'requests_total unless on(job) limit{job="a"}',
    'limit{job="a"} or limit',
    "limit or plain",
    'limit{job="a"} or ignoring(job) limit{job="b"}',
    "sum(requests_total)",
    "sum without (code) (requests_total)",
    "min by (job) (requests_total)",
    "max(requests_total) by (code)",
    "avg by (job) (limit)",
    "count(requests_total) > 2",
    "count by (nothing) (limit)",
    "rate(requests_total[1m])",
    "rate(requests_total[5m])",
    "increase(requests_total[2m])",
    "increase(late_total[5m])",
    "sum by (job) (increase(requests_total[5m])) > 100",
    "increase(requests_total[10s])",
    "changes(temperature[5m])",
    "avg_over_time(temperature[1m])",
    "min_over_time(temperature[5m])",
    "max_over_time(temperature[5m]) > 8",
    "sum_over_time(temperature[1m])",
    "count_over_time(late_total[5m])",
    "avg_over_time(gone[10m])",
    "gone",
    "absent(gone)",
    'absent(missing{job="a",code=~"2..",host="x"})',
    "absent(limit)",
    "absent(sum(missing))",
    "time() - 300",
    "time() - plain > bool 5",
    'vector_that_is_not_there > 1',
    '(temperature > 3) * on(room) temperature',
    "limit > 1000 or on() plain < 0",
)  # fmt: skip
FAILING = (
    "requests_total / on(job) limit",
    "limit / on(job) requests_total",
)
"""Prometheus says that series match more than once."""


def labels_of(text: str) -> Labels:
    """The labels in PromQL's writing, with the name."""
    tree = compile_expression(text)
    selector = next(node for node in walk(tree)).selector  # type: ignore[attr-defined]  # an Instant
    return tuple(sorted([(NAME, selector.metric), *((one.label, one.value) for one in selector.matchers)]))


def ours(expression: str, seconds: int) -> Vector:
    """What the agent makes of it after it looked every 15 s."""
    tree = compile_expression(expression)
    history = History()
    history.want((node.selector, node.span) for node in walk(tree) if isinstance(node, Ranged))
    data = None
    for number in range(seconds // STEP + 1):
        now: dict[str, list[tuple[Labels, float]]] = {}
        for text, values in SERIES.items():
            labels, value = labels_of(text), values[number]
            if value is not None:
                now.setdefault(dict(labels)[NAME], []).append((labels, value))
        time = float(number * STEP)
        history.record(time, now)
        data = Data(time, time, now, history)
    assert data is not None
    value = tree.evaluate(data)
    return value if isinstance(value, dict) else {(): value}


def judged(place: Path, cases: Sequence[tuple[str, Vector]], seconds: int) -> subprocess.CompletedProcess[str]:
    """What promtool says to these results."""
    tests = [
        {
            "expr": expression,
            "eval_time": f"{seconds}s",
            "exp_samples": [{"labels": written(labels), "value": value} for labels, value in vector.items()],
        }
        for expression, vector in cases
    ]
    series = [
        {"series": text, "values": " ".join("stale" if value is None else number(value) for value in values)}
        for text, values in SERIES.items()
    ]
    content = {"evaluation_interval": "15s",
               "tests": [{"interval": "15s", "input_series": series, "promql_expr_test": tests}]}  # fmt: skip
    (place / "test.yml").write_text(yaml.safe_dump(content))
    command = ["promtool", "test", "rules", "test.yml"]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=60, check=False)


def written(labels: Labels) -> str:
    """Labels as promtool reads them."""
    found: Mapping[str, str] = dict(labels)
    inside = ",".join(f'{name}="{value}"' for name, value in found.items() if name != NAME)
    return f"{found.get(NAME, '')}{{{inside}}}"


def number(value: float) -> str:
    """A value as promtool reads it."""
    return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}.get(repr(value), repr(value))


@pytest.mark.parametrize("seconds", [300, 390, 600])
def test_expressions_have_the_values_that_prometheus_gives(tmp_path: Path, seconds: int) -> None:
    """To the last bit, after resets, with late series and series that ended."""
    assert shutil.which("promtool")
    cases = [(expression, ours(expression, seconds)) for expression in EXPRESSIONS]

    done = judged(tmp_path, cases, seconds)

    assert done.returncode == 0, done.stdout + done.stderr
    assert sum(bool(vector) for _, vector in cases) > 35


@pytest.mark.parametrize("expression", ["sum(requests_total)", "rate(requests_total[5m])", "limit == 512"])
def test_the_judge_sees_a_wrong_value(tmp_path: Path, expression: str) -> None:
    """A comparison that cannot fail proves nothing."""
    wrong = {labels: value * 1.0000001 for labels, value in ours(expression, 600).items()}

    assert judged(tmp_path, [(expression, wrong)], 600).returncode != 0
    assert judged(tmp_path, [(expression, {})], 600).returncode != 0


@pytest.mark.parametrize("expression", FAILING)
def test_both_refuse_series_that_match_more_than_once(tmp_path: Path, expression: str) -> None:
    """Neither picks one of them."""
    from agent.alerts.vector import EvaluationError

    with pytest.raises(EvaluationError, match="more than one series on the"):
        ours(expression, 600)
    done = judged(tmp_path, [(expression, {})], 600)
    assert "many-to-" in done.stdout + done.stderr
