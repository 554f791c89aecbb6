import re
from types import SimpleNamespace
from typing import get_args

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.openmetrics import exposition, parser

from agent import control
from agent.control.status import MemoryState
from agent.metrics import OTHER, PREFIX, Family, Metrics, StreamSeries, memory, own
from agent.streams.plan import RetireReason

BASE_UNITS = ("bytes", "seconds")
OTHER_UNITS = (
    "milliseconds",
    "ms",
    "minutes",
    "hours",
    "days",
    "kb",
    "kilobytes",
    "megabytes",
    "mib",
    "percent",
    "bits",
)
BANNED_LABELS = {"type", "le", "quantile", "job", "instance", "service", "env", "zone", "cluster", "host"}
FOREIGN = ("process_", "python_")


def samples(registry: CollectorRegistry) -> dict[str, float]:
    """Every sample as `name{label=value}`."""
    found = {}
    for family in registry.collect():
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def streams(*names: str, live: int = 10, lost: int = 1) -> list[SimpleNamespace]:
    """Streams of equal numbers."""
    return [SimpleNamespace(name=name, live_bytes=live, lost_bytes=lost) for name in names]


def live_of(series: StreamSeries) -> dict[str, float]:
    """The live bytes by label."""
    first = next(iter(series.collect()))
    return {sample.labels["stream"]: sample.value for sample in first.samples}


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (own.StreamState, get_args(control.StreamState)),
        (memory.MemoryState, get_args(MemoryState)),
        (own.RetireReason, get_args(RetireReason)),
    ],
    ids=["streams", "memory", "retired_segments"],
)
def test_a_labels_words_are_those_of_the_rooms_above(label: object, words: tuple[str, ...]) -> None:
    """Metrics know no room above them, so the words stand twice: a series of each is there from the start."""
    assert words == get_args(label)


@pytest.mark.parametrize("row", Metrics().reference(), ids=lambda row: row.name)
def test_a_family_follows_the_naming_rules(row: Family) -> None:
    """Prefix, snake_case, base units, `_total` on counters alone, a help sentence, no label of a target's own."""
    assert re.fullmatch(PREFIX + r"[a-z][a-z0-9]*(_[a-z0-9]+)*", row.name)
    assert (row.type == "counter") == row.name.endswith("_total")
    words = row.name.removesuffix("_total").split("_")
    assert not set(words) & set(OTHER_UNITS)
    assert not set(words[:-1]) & set(BASE_UNITS)
    assert row.type != "histogram" or words[-1] == "seconds"
    assert re.fullmatch(r"[A-Z0-9].*\.", row.help)
    assert not set(row.labels) & BANNED_LABELS


def test_the_reference_is_what_is_exposed() -> None:
    """Names, types, labels and helps of the reference are those of the exposition, and none is missing."""
    metrics = Metrics()
    metrics.attach(StreamSeries(lambda: streams("a"), lambda: 9), *StreamSeries.families)
    metrics.duty_steps.labels("keeper")
    metrics.duty_failures.labels("keeper")
    metrics.duty_step_seconds.labels("keeper")
    metrics.http_requests.labels("/", "200")
    metrics.alert_evaluation_failures.labels("busy")
    metrics.notifications.labels("operators")
    metrics.notification_failures.labels("operators")

    exposed = set()
    for family in metrics.registry.collect():
        if family.name.startswith(FOREIGN):
            continue
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        labels = {key for sample in family.samples for key in sample.labels} - {"le"}
        exposed.add((family.name + suffix, family.type, frozenset(labels), family.documentation))

    assert exposed == {(row.name, row.type, frozenset(row.labels), row.help) for row in metrics.reference()}
    assert len(metrics.reference()) == len({row.name for row in metrics.reference()})


def test_every_unit_is_declared() -> None:
    """A name that ends in a base unit declares it to OpenMetrics; no other does."""
    for family in Metrics().registry.collect():
        if not family.name.startswith(FOREIGN):
            last = family.name.rpartition("_")[2]
            assert family.unit == (last if last in BASE_UNITS else "")


def test_both_formats_are_valid_and_free_of_created_series() -> None:
    """The strict OpenMetrics parser takes the exposition; neither format has `_created`."""
    registry = Metrics().registry
    openmetrics = exposition.generate_latest(registry).decode()  # type: ignore[no-untyped-call]

    assert len(list(parser.text_string_to_metric_families(openmetrics))) > 50  # type: ignore[no-untyped-call]
    assert "_created" not in openmetrics
    assert b"_created" not in generate_latest(registry)


def test_known_label_values_are_there_from_the_first_scrape() -> None:
    """An alert on a rate needs the 0 before the 1."""
    found = samples(Metrics().registry)

    for series in ("lost_bytes_total{reason=truncated}", "retired_bytes_total{reason=max_age}",
                   "retired_segments_total{reason=keep}", "seals_total{reason=schedule}", "streams{state=refused}",
                   "refused_files{reason=hardlink}", "log_messages_total{level=error}", "resets_total{}"):  # fmt: skip
        assert found[PREFIX + series] == 0


def test_one_watcher_mode_is_set_at_a_time() -> None:
    """The mode is one of three, or none while the watcher is stopped."""
    metrics = Metrics()

    def modes() -> list[float]:
        found = samples(metrics.registry)
        return [found[f"{PREFIX}watcher_mode{{mode={mode}}}"] for mode in ("events", "timer", "polling")]

    metrics.set_watcher_mode("events")
    metrics.set_watcher_mode("timer")
    assert modes() == [0, 1, 0]
    metrics.set_watcher_mode("stopped")
    assert modes() == [0, 0, 0]


def test_two_agents_in_a_process_do_not_share_numbers() -> None:
    """Nothing is registered globally."""
    one, two = Metrics(), Metrics()

    one.resets.inc()

    assert samples(one.registry)[f"{PREFIX}resets_total{{}}"] == 1
    assert samples(two.registry)[f"{PREFIX}resets_total{{}}"] == 0


def test_the_build_is_told() -> None:
    """Version, revision and Python's version are labels of one series."""
    found = samples(Metrics(revision="abc123").registry)

    (series,) = (name for name in found if name.startswith(f"{PREFIX}build_info"))
    assert "revision=abc123" in series
    assert found[series] == 1


def test_an_attached_collector_is_exposed_and_documented() -> None:
    """Derived families come later and are in the reference as all others."""

    class Later:
        def collect(self) -> list[GaugeMetricFamily]:
            return [GaugeMetricFamily("telemetry_agent_later", "Later.", value=3)]

    metrics = Metrics()
    row = Family("telemetry_agent_later", "gauge", (), "Later.")
    metrics.attach(Later(), row)

    assert samples(metrics.registry)["telemetry_agent_later{}"] == 3
    assert row in metrics.reference()


def test_streams_beyond_the_cap_are_summed() -> None:
    """The first streams have series, the rest is one number."""
    series = StreamSeries(lambda: streams("a", "b", "c", "d"), lambda: 2)

    assert live_of(series) == {"a": 10, "b": 10, OTHER: 20}


def test_the_number_of_series_does_not_grow_with_the_files() -> None:
    """Ten thousand files make as many series as the cap allows, and all series together stay below 300."""
    metrics = Metrics()
    crowd = streams(*(f"{number:05}.json" for number in range(10_000)))
    metrics.attach(StreamSeries(lambda: crowd, lambda: 50), *StreamSeries.families)

    found = samples(metrics.registry)

    assert sum(f"{PREFIX}stream_" in name for name in found) == 2 * 51
    assert sum(value for name, value in found.items() if f"{PREFIX}stream_live_bytes" in name) == 100_000
    assert len(found) < 300


def test_a_stream_keeps_its_series_while_it_lives() -> None:
    """A newcomer that sorts before the others takes nobody's series; a stream that is gone leaves its place."""
    now = streams("m", "n")
    series = StreamSeries(lambda: now, lambda: 2)
    live_of(series)

    now = streams("a", "m", "n")
    assert live_of(series) == {"m": 10, "n": 10, OTHER: 10}
    now = streams("a", "n")
    assert live_of(series) == {"a": 10, "n": 10}


def test_a_stream_called_other_does_not_double_a_series() -> None:
    """It counts among the others, whatever the cap."""
    series = StreamSeries(lambda: streams(OTHER, "a", "b"), lambda: 1)

    assert live_of(series) == {"a": 10, OTHER: 20}


def test_a_lower_cap_holds_at_once() -> None:
    """A reload may change it."""
    cap = 3
    series = StreamSeries(lambda: streams("a", "b", "c"), lambda: cap)
    live_of(series)
    cap = 1

    assert live_of(series) == {"a": 10, OTHER: 20}


def test_a_cap_of_zero_exposes_no_stream() -> None:
    """Then there is not even a family."""
    assert list(StreamSeries(lambda: streams("a"), lambda: 0).collect()) == []
