"""What Prometheus gets of a running agent: clean by its own linter, exact by a strict parser, and not much."""

from __future__ import annotations

import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as strict
from prometheus_client.samples import Sample

from agent.config.checks import BUILT_IN
from tests.support.program import AGENT, Program

KNOWN = {
    "node_memory_": "node_exporter writes the keys of /proc/meminfo as they are, and dashboards know them so",
}
"""Beginnings of names that promtool may complain of, each with what fixes the name. By default there are none."""
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PLACES = ("device", "mountpoint")
SETTINGS = {"system.interval": "500ms", "health.interval": "500ms", "files.scan_interval": "500ms"}


def scrape(program: Program, accept: str = OPENMETRICS) -> str:
    """One scrape, which must succeed."""
    request = urllib.request.Request(f"http://127.0.0.1:{program.port}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - an address of the test's own
        assert answer.headers["Content-Type"].startswith(accept.partition(";")[0])
        return str(answer.read().decode())


def samples(text: str) -> list[Sample]:
    """Every sample of an OpenMetrics exposition, by a parser that forgives nothing."""
    return [sample for family in strict(text) for sample in family.samples]


def total(text: str, name: str) -> float:
    """The sum over a family's series."""
    return sum(sample.value for sample in samples(text) if sample.name == f"telemetry_agent_{name}")


def until(found: Callable[[], bool], limit: float = 60) -> None:
    """Ask again until it is so."""
    give_up = time.monotonic() + limit
    while not found():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def has_all(text: str) -> bool:
    """Every part has made a step and every check a run, so that all series are there."""
    found = {(one.name.removeprefix("telemetry_agent_"), *one.labels.values()) for one in samples(text)}
    steps = {("duty_steps_total", duty) for duty in ("keeper", "vitals", "health", "alerts")}
    runs = {("check_last_run_timestamp_seconds", check) for check in BUILT_IN}
    return found >= steps | runs and "system_cpu_usage_percent" in text


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """An agent with defaults but for its patience, once every part of it has numbers."""
    with Program(AGENT, tmp_path / "t", SETTINGS) as started:
        started.wait_ready()
        until(lambda: has_all(scrape(started)))
        yield started


def complaints(text: str) -> list[str]:
    """What promtool says about an exposition."""
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False,
                          timeout=60)  # fmt: skip
    assert (done.returncode, done.stdout) in ((0, ""), (3, ""))
    return done.stderr.splitlines()


@pytest.mark.peer
@pytest.mark.skipif(not shutil.which("promtool"), reason="needs: apt-get install prometheus")
def test_prometheus_own_linter_is_silent(program: Program) -> None:
    """`curl /metrics | promtool check metrics` prints nothing by default."""
    assert [] == complaints(scrape(program, "text/plain"))


@pytest.mark.peer
@pytest.mark.skipif(not shutil.which("promtool"), reason="needs: apt-get install prometheus")
def test_with_everything_on_the_linter_names_only_known_names(tmp_path: Path) -> None:
    """The names of node_exporter are its own; a family without help would be noticed."""
    everything = {"system.node_exporter_names": "true", "web.stream_series": "10"}
    with Program(AGENT, tmp_path / "t", SETTINGS | everything) as program:
        program.wait_ready()
        until(lambda: "node_memory_MemTotal_bytes" in scrape(program))
        found = complaints(scrape(program, "text/plain"))

    assert found
    assert [] == [line for line in found if not line.startswith(tuple(KNOWN))]
    assert ["x no help text"] == complaints("# TYPE x gauge\nx 1\n")


def test_the_number_of_series_does_not_depend_on_the_files(tmp_path: Path) -> None:
    """Fewer than 300 by default, on a machine of one disk and one network interface; 10,000 files change nothing."""
    directory = tmp_path / "t"
    with Program(AGENT, directory, SETTINGS) as program:
        program.wait_ready()
        until(lambda: has_all(scrape(program)))
        before = {(one.name, *one.labels.values()) for one in samples(scrape(program))}
        for number in range(10_000):
            (directory / f"{number}.json").write_bytes(b"")
        until(lambda: total(scrape(program), "streams") == 10_000)
        after = {(one.name, *one.labels.values()) for one in samples(scrape(program))}
        named = samples(scrape(program))

    assert before == after
    first = {place: min((one.labels[place] for one in named if place in one.labels), default="") for place in PLACES}
    counted = [one for one in named if all(one.labels.get(place, first[place]) == first[place] for place in PLACES)]
    assert len(counted) < 300


def test_sixteen_scrapers_see_seals_advance(tmp_path: Path) -> None:
    """At once and while files are sealed: each scrape is whole, none fails, and the counters only grow."""
    directory = tmp_path / "t"
    with Program(AGENT, directory, SETTINGS | {"rotation.max_size": "50KB"}) as program:
        program.wait_ready()
        (directory / "a.json").write_bytes(b"")
        with ThreadPoolExecutor(16) as pool:
            seen = list(pool.map(lambda _: _watch(program, directory / "a.json"), range(16)))

    for numbers in seen:
        assert sorted(numbers) == numbers
        assert numbers[0][0] < numbers[-1][0]
        assert numbers[0][1] < numbers[-1][1]


def _watch(program: Program, live: Path) -> list[tuple[float, float]]:
    """Append and scrape in turn until five more segments are published: seals and appended bytes of each scrape."""
    numbers: list[tuple[float, float]] = []
    give_up = time.monotonic() + 60
    while not numbers or numbers[-1][0] < numbers[0][0] + 5:
        assert time.monotonic() < give_up, program.output()
        with live.open("ab", buffering=0) as file:
            file.write(b'{"resourceSpans":[],"pad":"%s"}\n' % (b"x" * 20_000))
        text = scrape(program)
        numbers.append((total(text, "seals_total"), total(text, "appended_bytes_total")))
    return numbers
