"""The status page: everything on it, nothing executable but its own script, readable as it is."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest

from agent.components import Component
from agent.control import AlertRuleStatus, AlertsStatus, AlertStatus, CheckStatus, ForwardStatus, Own, Status
from agent.kit.errors import AgentError
from agent.web import spark
from agent.web.history import EVERY, MOST, POINTS, History
from agent.web.markup import Markup, tag, text
from agent.web.trouble import troubles

from .conftest import CHECK, STREAM, Site, status_with

NOW = 1_700_000_000.0
EVIL = "</style></script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\x1b[31m\u202e.json"
OWN = Own(
    cpu_seconds=12.5, resident_bytes=48_000_000, memory_used=44_000_000, memory_limit=134_217_728,
    memory_source="cgroup v2", memory_state="tight", memory_pauses=0, granted_bytes=0, cpu_limit=None, nice=0,
    ionice="",
)  # fmt: skip
VOID = {"meta", "link", "path", "rect", "polyline"}


class Outline(HTMLParser):
    """What elements there are; an end tag that does not fit is an error."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert [] == self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open."""
        assert len(dict(attrs)) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Only some have no content."""
        assert tag in VOID
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Close."""
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        """Visible text."""
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        """All visible text."""
        return " ".join(" ".join(self.words).split())


def sink(**changes: Any) -> ForwardStatus:
    """A destination, but for `changes`."""
    fields = {field.name: 0 for field in msgspec.structs.fields(ForwardStatus) if field.required}
    given = {"name": "archive", "kind": "otlp", "destination": "http://127.0.0.1:4318", "breaker": "closed"}
    return msgspec.convert({**fields, **given, **changes}, ForwardStatus)


def busy() -> Status:
    """An agent with something of everything."""
    streams = [
        {"name": "traces.json", "growth_per_minute": 5e6, "segments": 3, "segment_bytes": 9_000_000, "oldest": NOW - 90,
         "next_rotation": {"reason": "size", "at": NOW + 75}, "lost_bytes": 4096},
        {"name": "package.json", "state": "refused", "method": "refused", "why": "it is a document; exclude it"},
    ]  # fmt: skip
    found = msgspec.structs.replace(status_with(streams=streams), now=NOW, started=NOW - 3600, own=OWN, lost_bytes=4096)
    failing = sink(breaker="open", backlog_bytes=49_200_000, lag_seconds=61.0, last_failure=NOW, last_error="refused",
                   left_out={"filter": 1204, "sample": 5311}, filtered=85)  # fmt: skip
    return msgspec.structs.replace(found, forwards=[failing])


def page_of(site: Site) -> Outline:
    """The page as it is served."""
    answer = site.tcp.get("/")
    assert (200, "text/html; charset=utf-8") == (answer.status_code, answer.headers["content-type"])
    return Outline(answer.text)


def test_one_sees_what_is_where_why_and_what_to_do(site: Site) -> None:
    """Verdict, problems with remedies, streams, destinations, checks, segments and audit trail, without a script."""
    site.control.answer = busy()
    site.checks = [
        CHECK,
        CheckStatus(name="disk", kind="disk", state="unhealthy", level=3, since=NOW - 5, message="99% full",
                    hint="delete something", last_run=NOW),
    ]  # fmt: skip
    site.entries = [
        {"time": NOW - 9, "event": "seal", "stream": "traces.json", "segment": "traces_1.json.gz", "records": 6537,
         "bytes": 3_000_000, "compressed": 262_000, "reason": "size"},
        {"time": NOW - 10, "event": "retire", "stream": "traces.json", "segment": "traces_0.json.gz", "reason": "keep"},
    ]  # fmt: skip
    words = page_of(site).text

    for wanted in (
        "■ Unhealthy", "Problem disk 99% full What to do: delete something",
        "Warning package.json refused: it is a document What to do: exclude it",
        "Problem traces.json lost at least 4.1 kB since the agent started What to do: run: telemetry-agent audit",
        "in about 1m 15s, by size", "3 · 9.0 MB", "1m 30s ago", "circuit open", "49.2 MB", "1m 1s",
        "traces_1.json.gz", "6,537", "3.0 MB → 262 kB", "retire", "33% of 134 MB memory, tight", "120% of 50 B",
        "version 1.2.3, pid 7, up 1h", "1,204 filtered, 5,311 sampled 85 records whole",
    ):  # fmt: skip
        assert wanted in words


def test_alerts_that_fire_need_attention(site: Site) -> None:
    """Those that nobody silenced; a rule without a value too."""
    firing = AlertStatus(state="firing", labels={}, value=91.0, description="", since=NOW)
    rule = AlertRuleStatus(
        name="busy", when="cpu > 90", for_seconds=0, severity="critical", notify=[], state="firing", alerts=[firing]
    )
    quiet = msgspec.structs.replace(rule, name="quiet", when="x > 1", silenced_until=NOW + 60)
    wrong = msgspec.structs.replace(rule, name="wrong", alerts=[], error="no such series", state="inactive")
    site.alerts = AlertsStatus(rules=[rule, quiet, wrong])
    words = page_of(site).text

    assert "Problem alert busy cpu > 90 (now 91.0) What to do: run: telemetry-agent alerts" in words
    assert "Warning alert wrong no such series" in words
    assert "quiet" not in words


def test_nothing_wrong_is_said_in_one_calm_sentence(site: Site) -> None:
    """And no alarm is on the page."""
    site.control.answer = status_with({"total_bytes": 10})
    page = page_of(site)

    assert "Nothing. Every part works and every check is satisfied." in page.text
    assert "● Healthy" in page.text
    assert "bad" not in {word for _, given in page.elements for word in (given.get("class") or "").split()}


def test_a_name_is_text_wherever_it_stands(site: Site) -> None:
    """Files, messages, hints, destinations, services and audit entries cannot make an element or an attribute."""
    status = busy()
    site.control.answer = msgspec.structs.replace(
        status,
        service_name=EVIL, environment=EVIL, config_path=EVIL,
        directory=msgspec.structs.replace(status.directory, path=EVIL, filesystem=EVIL, problems=[EVIL]),
        streams=[msgspec.structs.replace(one, name=EVIL, why=f"{EVIL}; {EVIL}") for one in status.streams],
        forwards=[msgspec.structs.replace(one, name=EVIL, destination=EVIL, last_error=EVIL)
                  for one in status.forwards],
        components=[Component(EVIL, "degraded", NOW, None, EVIL, EVIL)],
    )  # fmt: skip
    site.components.report(EVIL, "failed", EVIL, EVIL)
    site.checks = [msgspec.structs.replace(CHECK, name=EVIL, level=2, message=EVIL, hint=EVIL, state=EVIL)]
    site.entries = [{"time": NOW, "event": "seal", "stream": EVIL, "segment": EVIL, "reason": EVIL, EVIL: [EVIL]}]
    for step in range(3):
        site.history.take(site.control.answer, step * EVERY)
    evil = page_of(site)

    names = {tag for tag, _ in evil.elements}
    assert "img" not in names
    assert 1 == sum(tag == "script" for tag, _ in evil.elements)
    assert {key for _, given in evil.elements for key in given if key.startswith("on")} == set()
    assert "\x1b" not in evil.text
    assert "\u202e" not in evil.text


def test_the_policy_allows_this_style_and_this_script_alone(site: Site) -> None:
    """By their digests: no inline attribute, no other source, no frame; and what stands there has these digests."""
    answer = site.tcp.get("/")
    (policy,) = answer.headers.get_list("content-security-policy")
    parts = dict(part.strip().partition(" ")[::2] for part in policy.split(";"))

    for element, directive in (("style", "style-src"), ("script", "script-src")):
        (content,) = re.findall(f"<{element}>(.*?)</{element}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"'sha256-{digest}'" == parts[directive]
    assert "'none'" == parts["default-src"] == parts["frame-ancestors"] == parts["base-uri"] == parts["form-action"]
    assert "'self'" == parts["connect-src"]
    assert "unsafe" not in policy
    outline = Outline(answer.text)
    assert [] == [given for _, given in outline.elements if "style" in given]


def test_other_pages_keep_the_strictest_policy(site: Site) -> None:
    """Only the page that has a style and a script allows them."""
    assert "sha256" not in site.tcp.get("/livez").headers["content-security-policy"]


def test_it_needs_nothing_from_elsewhere(site: Site) -> None:
    """No address but relative ones, in elements, style or script."""
    site.control.answer = msgspec.structs.replace(busy(), forwards=[])
    page = site.tcp.get("/").text

    assert [] == re.findall(r"(?:https?:)?//[a-z]", page.replace("// The", "").replace("// Said", ""))
    assert [] == re.findall(r"@import|url\(", page)
    addresses = [given[key] for _, given in Outline(page).elements for key in ("src", "href") if key in given]
    assert all(not re.match(r"[a-z]+:(?!,)|/", address or "") for address in addresses)


def test_the_page_outlines_itself_for_screen_readers(site: Site) -> None:
    """One h1, named sections, tables and cells with their roles, charts with words, and every id once."""
    site.control.answer = busy()
    for step in range(3):
        site.history.take(site.control.answer, step * EVERY)
    elements = page_of(site).elements

    ids = [given["id"] for _, given in elements if "id" in given]
    assert len(set(ids)) == len(ids)
    assert 1 == sum(tag == "h1" for tag, _ in elements)
    assert all(given["aria-labelledby"] in ids for tag, given in elements if tag == "section")
    assert all(given.get("aria-label") for tag, given in elements if tag in ("svg", "table", "nav"))
    roles = {"table": "table", "tr": "row", "td": "cell", "thead": "rowgroup", "tbody": "rowgroup"}
    assert all(given.get("role") == roles[tag] for tag, given in elements if tag in roles)
    assert sum(tag == "svg" for tag, _ in elements) > 5


def test_while_there_is_no_status_the_page_says_so(site: Site) -> None:
    """An agent that just starts, or whose main loop is stuck, has a page, too."""
    site.control.error = AgentError("the agent is still starting", hint="try again in a second")
    site.heartbeat = site.clock.steady - 60
    words = page_of(site).text

    assert "the agent is still starting" in words
    assert "the main loop has not answered for 60.0 s" in words


def test_many_streams_are_counted_and_those_in_trouble_come_first(site: Site) -> None:
    """The page stays small, whatever the directory holds."""
    crowd: list[dict[str, Any]] = [{"name": f"{number:05}.json", "id": str(number)} for number in range(10_000)]
    crowd[7_000].update(state="failing", why="no permission; run it as root")
    site.control.answer = status_with({"total_bytes": 10}, crowd)
    answer = site.tcp.get("/")

    assert "07000.json" in answer.text
    assert "9,900 more streams; telemetry-agent status lists them all" in answer.text
    assert len(answer.content) < 300_000


def test_what_is_said_twice_is_shown_once_and_the_worst_comes_first() -> None:
    """A part and a check that found the same are one problem."""
    check = msgspec.structs.replace(CHECK, level=2, message="it is full", hint="")
    other = msgspec.structs.replace(CHECK, name="b", level=3, message="it is gone", hint="bring it back")

    found = troubles([], [], [check, msgspec.structs.replace(check, name="again"), other], None)

    assert [("bad", "b", "it is gone", "bring it back"), ("warn", "memory", "it is full", "")] == found


def test_history_is_bounded_and_forgets_what_is_gone() -> None:
    """So many points, at so large a distance, of so many streams."""
    history = History()
    crowd = status_with(streams=[{"name": f"{number}.json", "growth_per_minute": number} for number in range(MOST + 9)])
    for step in range(3 * POINTS):
        history.take(crowd, step * EVERY / 2)
    history.take(crowd, step * EVERY / 2)

    assert POINTS == len(history.values("disk"))
    assert [] == history.values("position", "0.json")
    assert POINTS == len(history.values("position", f"{MOST + 8}.json"))
    history.take(status_with(streams=[STREAM]), 1e6)
    assert [] == history.values("position", f"{MOST + 8}.json")


def test_rates_are_of_what_grew() -> None:
    """A second; a position that went back, which would be another stream, counts as standing still."""
    history = History()
    for at, position in ((0, 0), (10, 1000), (20, 500), (40, 1500)):
        history.take(status_with(streams=[{"name": "a.json", "position": position}]), float(at))

    assert [100.0, 0.0, 50.0] == history.rates("position", "a.json")


@pytest.mark.parametrize("values", [[], [1.0]])
def test_a_line_needs_two_points(values: list[float]) -> None:
    """One would be no trend."""
    assert spark.line(values, "x") is None


def test_a_line_lies_within_its_box() -> None:
    """Its right end is now; the largest value touches the top, nought the bottom."""
    drawn = spark.line([0.0, 5.0, 10.0], "told") or ""
    points = [tuple(map(float, pair.split(","))) for pair in re.findall(r'points="([^"]+)"', drawn)[0].split()]

    assert [26.0, 14.0, 2.0] == [y for _, y in points]
    assert 180.0 == points[-1][0]
    assert 'aria-label="told"' in drawn
    assert spark.line([0.0, 0.0], "flat") is not None


def test_markup_escapes_what_is_no_markup() -> None:
    """Children and attributes; None leaves no trace."""
    assert '<a title="&quot;&gt;&#x27;" hidden>&lt;b&gt;<b></b></a>' == tag(
        "a", "<b>", None, tag("b"), title="\">'", hidden=True, lang=None, open=False
    )
    assert isinstance(text("x"), Markup)
    assert "\\x00" == text("\x00")
