"""Checks of the agent itself: streams, the watched directory, the main loop, sinks, clock, a Collector."""

from pathlib import Path
from typing import Any

import pytest

from agent.config import checks as rules
from agent.health.clock import ClockCheck
from agent.health.collector import CollectorCheck, samples
from agent.health.loop import LoopCheck
from agent.health.sink import SinkCheck
from agent.health.stream import StreamCheck
from agent.health.telemetry import TelemetryCheck
from agent.kit import timex
from agent.kit.units import Duration, Size
from tests.support.program import free_port
from tests.unit.health.conftest import Around, Serve
from tests.unit.web.conftest import status_with


def stream(around: Around, **keys: Any) -> StreamCheck:
    """A check of all streams, unless told otherwise."""
    return StreamCheck(rules.Stream(kind="stream", name="s", **keys), around.made)


@pytest.mark.parametrize(
    ("found", "state", "message"),
    [
        ({}, "healthy", "1 stream is fine"),
        ({"state": "refused", "why": "a symlink"}, "warning", "a.json is refused: a symlink"),
        ({"state": "failing", "why": "no space"}, "unhealthy", "a.json is failing: no space"),
        ({"flags": ["overdue"]}, "warning", "a.json should have been rotated by now"),
        ({"flags": ["warn_size"]}, "healthy", "1 stream is fine"),
        (
            {"flags": ["size_limit"], "apparent_size": 60, "size_limit": 100, "days_left": 7.9},
            "warning",
            (
                "a.json is longer than 50% of the longest file possible here, 7 days left; its disk space is given "
                "back, its length only once nobody has it open: restart its writer when it suits"
            ),
        ),
        ({"state": "gone", "flags": ["overdue"]}, "healthy", "1 stream is fine"),
    ],
)
def test_streams_in_trouble_are_named(around: Around, found: dict[str, Any], state: str, message: str) -> None:
    """What cannot be sealed is unhealthy, the rest a warning."""
    around.status = status_with(streams=[found])
    finding = stream(around).run()

    assert (state, message) == (finding.level.word, finding.message)


def test_lost_bytes_are_news_once(around: Around) -> None:
    """What was lost before the run before is no longer news."""
    check = stream(around)
    levels = []
    for lost in (0, 5, 5, 9):
        around.status = status_with(streams=[{"lost_bytes": lost}])
        levels.append(check.run().level.word)

    assert ["healthy", "warning", "healthy", "warning"] == levels


def test_a_stream_that_stopped_growing_is_found(around: Around) -> None:
    """By its position, over the agent's own clock."""
    check = stream(around, max_idle=Duration("60s"))
    levels = []
    for position, passed in ((5, 0), (5, 60), (5, 1), (6, 1)):
        around.clock.sleep(passed)
        around.status = status_with(streams=[{"position": position}])
        levels.append(check.run().level.word)

    assert ["healthy", "healthy", "warning", "healthy"] == levels


def test_a_stream_that_grows_too_fast_is_found(around: Around) -> None:
    """In bytes a minute."""
    around.status = status_with(streams=[{"growth_per_minute": 2000.0}])

    assert "a.json grows by 2kB a minute" == stream(around, max_growth=Size("1kB")).run().message


def test_only_matching_streams_count(around: Around) -> None:
    """And one may have to be there."""
    around.status = status_with(streams=[{"state": "refused"}])

    assert "healthy" == stream(around, match="b*").run().level.word
    assert "unhealthy" == stream(around, match="b*", present=True).run().level.word


@pytest.mark.parametrize(("signals", "state"), [(("traces",), "warning"), (("logs", "traces"), "healthy")])
def test_a_signal_that_should_not_be_there_is_found(around: Around, signals: tuple[str, ...], state: str) -> None:
    """By the ends of the live files; attributes that hold such words are none."""
    text = '{"resourceSpans":[]}\n{ "resourceLogs" : [{"x":"{\\"resourceMetrics\\""}]}\n'
    Path(around.made.directory, "a.json").write_text(text, "utf-8")

    assert state == stream(around, signals=signals).run().level.word


def test_many_streams_in_trouble_are_counted(around: Around) -> None:
    """Five are named."""
    around.status = status_with(streams=[{"name": f"{n}.json", "state": "refused", "why": "x"} for n in range(9)])

    assert stream(around).run().message.endswith("4.json is refused: x; and 4 more")


def test_the_watched_directory_must_be_the_same_one(around: Around) -> None:
    """Gone, replaced by a file or by another directory, or critical."""
    place = Path(around.made.directory)
    check = TelemetryCheck(around.made)
    assert "healthy" == check.run().level.word

    around.status = status_with({"critical": True, "problems": ["60 bytes are used"]})
    assert ("unhealthy", "60 bytes are used") == (check.run().level.word, check.run().message)
    place.rename(place.with_name("moved"))
    assert "No such file" in check.run().message
    place.write_text("", "utf-8")
    assert "is no directory" in check.run().message
    place.unlink()
    place.mkdir()
    assert "another directory" in check.run().message


@pytest.mark.parametrize(("age", "state"), [(2.9, "healthy"), (3, "warning"), (10, "unhealthy")])
def test_the_main_loop_by_its_heartbeat(around: Around, age: float, state: str) -> None:
    """Silence grows worse."""
    around.clock.sleep(age)
    check = LoopCheck(rules.Loop(kind="loop", name="l"), around.clock, lambda: around.beat)

    assert state == check.run().level.word


def test_a_sink_is_what_its_consumer_reports(around: Around) -> None:
    """An unknown name is nothing found out, and tells the known ones."""
    check = SinkCheck(rules.Sink(kind="sink", name="s", sink="otlp"), around.components)
    around.components.report("keeper", "ok")
    assert ("unknown", "there are: keeper") == (check.run().level.word, check.run().hint)
    levels = []
    for state in ("ok", "degraded", "failed"):
        around.components.report("otlp", state, "why")
        levels.append(check.run().level.word)

    assert ["healthy", "warning", "unhealthy"] == levels
    assert "otlp is failed: why" == check.run().message


@pytest.mark.parametrize(
    ("synchronised", "error", "state"),
    [(True, 0.01, "healthy"), (True, 2.0, "unhealthy"), (False, 16.0, "warning")],
)
def test_the_clock_is_what_the_kernel_says(around: Around, synchronised: bool, error: float, state: str) -> None:
    """An error that nobody corrects is told as that."""
    rule = rules.Clock(kind="clock", name="c")
    check = ClockCheck(rule, around.clock, lambda: timex.Discipline(synchronised, error))

    assert state == check.run().level.word


def test_a_clock_that_jumps_is_unhealthy_once() -> None:
    """Wall time against steady time."""

    class Jumping:
        wall = 1000.0

        def now(self) -> float:
            return self.wall

        def monotonic(self) -> float:
            return 5.0

        def sleep(self, seconds: float) -> None:
            raise AssertionError(seconds)

    clock = Jumping()
    check = ClockCheck(rules.Clock(kind="clock", name="c"), clock, lambda: timex.Discipline(True, 0.0))
    levels = []
    for wall in (1000.0, 995.0, 995.5):
        clock.wall = wall
        levels.append(check.run().level.word)

    assert ["healthy", "unhealthy", "healthy"] == levels


def test_the_kernel_is_asked_for_its_clock() -> None:
    """It answers with an error of at least 0 and at most the 16 s at which it gives up counting."""
    assert 0 <= timex.read().max_error <= 16.1


METRICS = """\
# TYPE otelcol_exporter_send_failed_spans_total counter
otelcol_exporter_send_failed_spans_total{{exporter="otlp",data_type="traces"}} {failed}
# TYPE otelcol_exporter_queue_size gauge
otelcol_exporter_queue_size{{exporter="otlp"}} {queued}
# TYPE otelcol_exporter_queue_capacity gauge
otelcol_exporter_queue_capacity{{exporter="otlp"}} 100
# TYPE other gauge
other 1
"""


def test_a_collectors_health_endpoint_is_asked(serve: Serve) -> None:
    """Anything but 200, and silence, are unhealthy."""
    urls = (serve(200), serve(503), f"http://127.0.0.1:{free_port()}/")
    found = [CollectorCheck(rules.Collector(kind="collector", name="c", url=url), 5.0).run() for url in urls]

    assert ["healthy", "unhealthy", "unhealthy"] == [finding.level.word for finding in found]


@pytest.mark.parametrize(
    ("failed", "queued", "state", "message"),
    [
        (7, 79, "healthy", "the Collector is fine"),
        (8, 79, "warning", "otlp failed to send 1 items since the run before"),
        (7, 80, "warning", "the queue of otlp is 80.0% full"),
    ],
)
def test_a_collectors_own_metrics_are_judged(serve: Serve, failed: int, queued: int, state: str, message: str) -> None:
    """What it failed to send since the run before, and how full its queues are."""
    before, after = (serve(200, METRICS.format(failed=f, queued=q).encode()) for f, q in ((7, 0), (failed, queued)))
    check = CollectorCheck(rules.Collector(kind="collector", name="c", url="", metrics_url=before), 5.0)
    assert "healthy" == check.run().level.word
    check._rule = rules.Collector(kind="collector", name="c", url="", metrics_url=after)

    finding = check.run()
    assert (state, message) == (finding.level.word, finding.message)


def test_only_the_collectors_own_samples_count() -> None:
    """Summed over all other labels."""
    text = 'otelcol_x{exporter="a",l="1"} 1\notelcol_x{exporter="a",l="2"} 2\nother 5\n'

    assert {("otelcol_x", "a"): 3.0} == samples(text)
