"""The status page: one document with everything in it, made afresh for each request.

Invariants: it needs nothing from elsewhere and nothing of it needs JavaScript, which only fetches the page again and
puts new parts in place of old ones. Its style and script are known by their digests, so the policy that the browser
gets allows these and nothing else, whatever a file is called.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from agent import __version__
from agent.control import AlertsStatus, Status
from agent.kit.words import count, duration, moment
from agent.web import sections
from agent.web.history import History
from agent.web.markup import Child, Markup, join, tag
from agent.web.messages import Health
from agent.web.sections import Entry
from agent.web.tables import state
from agent.web.trouble import Grade, Trouble, alerting, troubles

_GRADES: dict[str, Grade] = {"healthy": "ok", "degraded": "warn", "unhealthy": "bad"}
_LINKS = (
    ("metrics", "Metrics"), ("livez", "Live?"), ("readyz", "Ready?"), ("startupz", "Started?"), ("health", "Health"),
    ("api/v1/status", "Status"), ("api/v1/streams", "Streams"), ("api/v1/segments", "Segments"),
    ("api/v1/checks", "Checks"), ("api/v1/alerts", "Alerts"), ("api/v1/config", "Configuration"),
    ("openapi.json", "OpenAPI"),
)  # fmt: skip


class Seen(NamedTuple):
    """What the page shows."""

    now: float
    """Wall time."""
    stuck: list[str]
    """Why the main loop counts as stuck."""
    status: Status | None
    health: Health | None
    """With its checks."""
    audit: Sequence[Entry]
    """Entries of the audit trail, the newest first."""
    history: History
    alerts: AlertsStatus
    missing: str = ""
    """Why there is no status."""


def render(seen: Seen) -> bytes:
    """The document."""
    status, health = seen.status, seen.health
    word = health.status if health else "starting"
    service = status.service_name if status else "telemetry-agent"
    body = tag(
        "body",
        tag("a", "Skip to what needs attention", href="#attention", class_="skip"),
        tag("header", *_head(seen, word), id="head"),
        tag("main", *_main(seen)),
        tag("footer", _footer()),
        tag("script", Markup(_asset("page.js"))),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{word.capitalize()} · {service}"),
        tag("link", rel="icon", href="data:,"),
        tag("style", Markup(_asset("page.css"))),
    )
    return ("<!DOCTYPE html>\n" + tag("html", head, body, lang="en")).encode("utf-8")


def _head(seen: Seen, word: str) -> list[Child]:
    status = seen.status
    grade = _GRADES.get(word, "warn")
    of = " · ".join(part for part in (status.service_name, status.environment) if part) if status else ""
    about = ""
    if status:
        about = f"version {status.version}, pid {status.pid}, up {duration(seen.now - status.started)}"
    now = moment(seen.now)
    return [
        tag("p", tag("span", "telemetry-agent", class_="brand"), tag("span", of, class_="of"), class_="who"),
        tag("h1", state(grade, word.capitalize()), id="verdict"),
        tag("p", tag("span", about), " ", tag("span", "as of ", tag("time", now, datetime=now.replace(" ", "T"))),
            class_="about"),
        tag("p", id="live", class_="about", role="status"),
    ]  # fmt: skip


def _main(seen: Seen) -> list[Child]:
    status, health = seen.status, seen.health
    found = troubles(seen.stuck, health.components if health else [], health.checks if health else [], status)
    found += alerting(seen.alerts)
    if seen.missing:
        found = [*found, Trouble("warn", "agent", seen.missing, "try again in a second")]
    parts: list[Child] = [_section("attention", "What needs attention", _attention(found))]
    if status is None:
        return parts
    watcher = status.watcher
    directory = f"{status.directory.path}, watched by {watcher.mode}" + (f" ({watcher.why})" if watcher.why else "")
    return [
        *parts,
        _section("figures", "At a glance", sections.figures(status, seen.history), directory),
        _section("streams", "Streams", sections.streams(status, seen.history)),
        _section("forwards", "Destinations", sections.forwards(status, seen.history)),
        _section("checks", "Health checks", sections.checks(health.checks if health else [], seen.now)),
        _section("segments", "Newest segments", sections.segments(seen.audit, seen.now)),
        _section("audit", "Audit trail", sections.audit(seen.audit), "the newest first, without releases"),
    ]


def _section(key: str, title: str, content: Markup, below: str = "") -> Markup:
    heading = tag("h2", title, tag("span", below, class_="below") if below else None, id=f"{key}-title")
    return tag("section", heading, content, id=key, aria_labelledby=f"{key}-title", tabindex="-1")


def _attention(found: list[Trouble]) -> Markup:
    if not found:
        return tag("p", state("ok", "Nothing. Every part works and every check is satisfied."), class_="calm")
    items = [
        tag(
            "li",
            tag("p", state(one.grade, "Problem" if one.grade == "bad" else "Warning"), " ",
                tag("strong", one.what), class_="subject"),
            tag("p", one.why),
            tag("p", tag("span", "What to do: ", class_="todo"), one.todo) if one.todo else None,
            class_=one.grade,
        )
        for one in found
    ]  # fmt: skip
    return tag("ul", *items, aria_label=count(len(found), "problem"))


def _footer() -> Markup:
    links = [tag("li", tag("a", words, href=path)) for path, words in _LINKS]
    return join(
        tag("nav", tag("ul", *links), aria_label="For programs"),
        tag("noscript", tag("p", "Without JavaScript this page shows the moment in which it was loaded.")),
        tag("p", f"telemetry-agent {__version__}; times are UTC, sizes decimal", class_="below"),
    )


@cache
def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8")


@cache
def policy() -> str:
    """The Content-Security-Policy: this style, this script, this page again, and nothing else."""
    style, script = (_digest(_asset(name)) for name in ("page.css", "page.js"))
    return (
        f"default-src 'none'; style-src '{style}'; script-src '{script}'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _digest(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode("utf-8")).digest()).decode("ascii")
