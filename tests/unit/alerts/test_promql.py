"""Which expressions are evaluated, which are errors, and how much of the past is kept."""

from __future__ import annotations

import math

import pytest

from agent.alerts import rule
from agent.alerts.history import Data, History, Selector
from agent.alerts.promql import UnsupportedError, compile_expression
from agent.alerts.ranges import Sample, increase, rate
from agent.alerts.vector import NAME, EvaluationError, Matching, Vector, binary, render
from agent.config.alerts import Alert
from agent.kit.errors import ConfigError

NOW = {
    "a": [(((NAME, "a"), ("x", "1")), 5.0), (((NAME, "a"), ("x", "2")), 9.0)],
    "b": [(((NAME, "b"), ("x", "1")), 2.0)],
}


def value(expression: str) -> float | Vector:
    """What an expression gives on NOW."""
    return compile_expression(expression).evaluate(Data(1000.0, 7.0, NOW, History()))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a > 6", {((NAME, "a"), ("x", "2")): 9.0}),
        ('a{x="1"} * 2', {(("x", "1"),): 10.0}),
        ("sum(a) > bool 3", {(): 1.0}),
        ("a / on(x) b", {(("x", "1"),): 2.5}),
        ("a unless b", {((NAME, "a"), ("x", "2")): 9.0}),
        ("time() - 1", 999.0),
        ("absent(c)", {(): 1.0}),
        ("c > 1", {}),
    ],
)
def test_expressions_have_values(expression: str, expected: object) -> None:
    """A sample of each form; tests/peers compares them all with Prometheus."""
    assert value(expression) == expected


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("a >", "is no PromQL"),
        ("a offset 5m > 1", "has offset"),
        ("a @ 5 > 1", "has @"),
        ("topk(3, a)", "has topk"),
        ("stddev(a)", "has stddev"),
        ("predict_linear(a[1h], 60) < 0", "has predict_linear()"),
        ("max_over_time(a[5m:1m]) > 1", "anything but a selector with a span"),
        ("rate(a[2d]) > 1", "more than a day"),
        ("a[5m]", "a span without a function"),
        ("a * on(x) group_left b", "group_left"),
        ('{x="1"} > 1', "a selector without a metric's name"),
        ('{__name__=~"a.*"} > 1', "a pattern of metric names"),
        ('a{x="1" or x="2"}', "or between matchers"),
        ('a{x=~"[[:alpha:]]+(?U)b"}', "not understood here"),
        ('"text"', "a string"),
        ("a atan2 b", "has atan2"),
        ("rate(a)", "expected type matrix"),
        ("", "is no PromQL"),
    ],
)
def test_what_is_not_evaluated_is_an_error_that_names_the_alert(expression: str, why: str) -> None:
    """At start, not when it should fire."""
    with pytest.raises(UnsupportedError, match=why.replace("(", r"\(").replace(")", r"\)")):
        compile_expression(expression)
    with pytest.raises(ConfigError, match="alert busy: when ") as caught:
        rule.build([Alert(name="busy", when=expression)])
    assert "README" in caught.value.hint


@pytest.mark.parametrize(
    "text", ["{{ value", "{{ labels.x }} {{value}} {{ $labels.x }}", "{{ name }} {{ severity }}", "}} %"]
)
def test_known_placeholders_are_accepted(text: str) -> None:
    """With and without Prometheus' dollar."""
    assert rule.build([Alert(name="busy", when="a > 1", description=text)])


@pytest.mark.parametrize("text", ["{{ valeu }}", "{{ humanize value }}", "{{ }}", "{{ labels.a-b }}"])
def test_an_unknown_placeholder_is_an_error(text: str) -> None:
    """At start."""
    with pytest.raises(ConfigError, match="alert busy: description has"):
        rule.build([Alert(name="busy", when="a > 1", description=text)])


def test_a_description_is_filled() -> None:
    """A label that the series has not is empty; without a description there is one."""
    alert = Alert(name="busy", when="a > 1", description="{{ $value }}% on {{ labels.x }}{{ labels.y }} ({{ name }})")

    assert rule.describe(alert, {"x": "disk"}, 93.20001) == "93.2% on disk (busy)"
    assert rule.describe(Alert(name="busy", when="a > 1"), {}, 2.0) == "a > 1, the value is 2"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (0.0, "0"),
        (5e9, "5000000000"),
        (0.5, "0.5"),
        (1 / 3, "0.3333"),
        (1e-9, "1e-09"),
        (math.inf, "inf"),
        (-2.5, "-2.5"),
    ],
)
def test_numbers_are_for_people(given: float, text: str) -> None:
    """Whole ones whole, others short."""
    assert rule.number(given) == text


def test_the_parser_is_only_needed_with_an_alert(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its absence is an error that names the extra."""
    import sys

    monkeypatch.setitem(sys.modules, "promql_parser", None)

    assert rule.build([]) == []
    with pytest.raises(ConfigError, match="alert busy") as caught:
        rule.build([Alert(name="busy", when="a > 1")])
    assert "telemetry-agent[alerts]" in caught.value.hint


@pytest.mark.parametrize(
    ("symbol", "left", "right", "expected"),
    [
        ("/", 1.0, 0.0, math.inf), ("/", -1.0, 0.0, -math.inf), ("/", 1.0, -0.0, -math.inf), ("%", 5.0, 3.0, 2.0),
        ("^", 1e300, 2.0, math.inf), ("^", -1e300, 3.0, -math.inf), ("^", 0.0, -1.0, math.inf),
    ],
)  # fmt: skip
def test_arithmetic_never_raises(symbol: str, left: float, right: float, expected: float) -> None:
    """As IEEE 754 has it."""
    assert binary(symbol, left, right, Matching(), keep_bool=False) == expected


@pytest.mark.parametrize(("symbol", "left", "right"), [("/", 0.0, 0.0), ("%", 1.0, 0.0), ("^", -8.0, 0.5)])
def test_what_has_no_value_is_no_number(symbol: str, left: float, right: float) -> None:
    """And no exception."""
    result = binary(symbol, left, right, Matching(), keep_bool=False)
    assert isinstance(result, float)
    assert math.isnan(result)


def test_a_reset_is_not_a_fall() -> None:
    """The counter began at zero again."""
    samples = [Sample(0, 10), Sample(10, 20), Sample(20, 5), Sample(30, 15)]

    assert increase(samples, 0, 30) == 25
    assert rate(samples, 0, 30) == pytest.approx(25 / 30)
    assert rate(samples[:1], 0, 30) is None


def test_history_keeps_what_is_asked_for_and_no_longer() -> None:
    """Other metrics and old samples are not there; a selector that stays keeps its past."""
    wanted, other = Selector("a"), Selector("b")
    history = History()
    history.want([(wanted, 10.0), (wanted, 30.0), (other, 5.0)])
    for time in range(0, 100, 5):
        history.record(float(time), NOW)
    history.want([(wanted, 20.0)])

    series = dict(history.window(wanted, 70.0))

    assert [len(samples) for samples in series.values()] == [6, 6]
    history.record(100.0, NOW)
    assert [samples[0].time for _, samples in history.window(wanted, 0.0)] == [80.0, 80.0]
    with pytest.raises(KeyError):
        list(history.window(other, 0.0))


def test_history_is_bounded() -> None:
    """Whoever asks for what had no room is told, until there is room again."""
    selector = Selector("a")
    history = History(room=5)
    history.want([(selector, 100.0)])
    for time in range(3):
        history.record(float(time), NOW)

    with pytest.raises(EvaluationError, match="too many series for the history of 5 samples"):
        list(history.window(selector, 0.0))
    history.record(500.0, {})
    history.record(501.0, NOW)
    assert len(list(history.window(selector, 0.0))) == 2


def test_labels_are_written_as_promql_does() -> None:
    """For messages."""
    assert render(((NAME, "a"), ("x", "1"))) == 'a{x="1"}'
