import asyncio
import gzip

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily

from agent.web import exposition

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PLAIN = "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", PLAIN),
        ("*/*", PLAIN),
        ("text/plain;version=0.0.4", PLAIN),
        ("application/openmetrics-text;version=1.0.0", OPENMETRICS),
        ("application/openmetrics-text;version=2.0.0", OPENMETRICS),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text;version=nonsense", PLAIN),
        ("application/openmetrics-text;version=", OPENMETRICS),
        (PROMETHEUS, OPENMETRICS),
    ],
)
def test_the_promise_is_what_is_written(accept: str, expected: str) -> None:
    """OpenMetrics is always promised as 1.0.0, nonsense gets plain text."""
    assert expected == exposition.encoder(accept)[1]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", False),
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000, *", False),
        ("*", True),
        ("*;q=0", False),
        ("identity", False),
        ("gzip;q=0.001", True),
        ("gzip;q=1", True),
    ],
)
def test_gzip_is_sent_to_those_who_take_it(header: str, expected: bool) -> None:
    """By name or by star, and never against a weight of 0."""
    assert expected == exposition.accepts_gzip(header)


def test_compressed_content_is_ordinary_gzip() -> None:
    """The standard library reads it back."""
    content = b"line\n" * 1000

    assert content == gzip.decompress(exposition.gzip(content))
    assert len(exposition.gzip(content)) < len(content)


class Counting:
    """A collector that says how often it was asked, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls = 0
        self.error = error

    def collect(self) -> list[GaugeMetricFamily]:
        """One gauge: the number of calls."""
        self.calls += 1
        if self.error:
            raise self.error
        return [GaugeMetricFamily("calls", "Calls.", value=self.calls)]


def over(collector: Counting) -> exposition.Exposition:
    """The exposition of this collector alone."""
    registry = CollectorRegistry()
    registry.register(collector)
    return exposition.Exposition(registry)


def test_scrapers_at_once_share_a_collection_and_later_ones_do_not() -> None:
    """Sixteen at once are one collection for each format; whoever comes after gets newer numbers."""
    collector = Counting()
    rendered = over(collector)

    async def scrape() -> tuple[set[bytes], set[bytes], bytes]:
        plain = [rendered.render("") for _ in range(8)]
        open_metrics = [rendered.render("application/openmetrics-text") for _ in range(8)]
        answers = await asyncio.gather(*plain, *open_metrics)
        contents = [content for content, _ in answers]
        return set(contents[:8]), set(contents[8:]), (await rendered.render(""))[0]

    plain, open_metrics, later = asyncio.run(scrape())

    assert len(plain) == len(open_metrics) == 1
    assert collector.calls == 3
    assert b"calls 3.0" in later


def test_a_scraper_that_leaves_takes_nobodys_answer() -> None:
    """The one who asked first is cancelled, the others are served."""
    rendered = over(Counting())

    async def scrape() -> bytes:
        first = asyncio.ensure_future(rendered.render(""))
        second = asyncio.ensure_future(rendered.render(""))
        asyncio.get_running_loop().call_soon(first.cancel)
        return (await second)[0]

    assert b"calls 1.0" in asyncio.run(scrape())


def test_a_collector_that_fails_fails_every_scraper_of_the_moment() -> None:
    """And the next ones ask it again."""
    collector = Counting(RuntimeError("broken"))
    rendered = over(collector)

    async def scrape() -> list[object]:
        return list(await asyncio.gather(rendered.render(""), rendered.render(""), return_exceptions=True))

    assert [str(error) for error in asyncio.run(scrape())] == ["broken", "broken"]
    collector.error = None
    assert len(asyncio.run(scrape())) == 2
    assert collector.calls == 2
