"""What arrives at an Alertmanager and at a webhook, and what a failure tells."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.alerts import outlets
from agent.alerts.alertmanager import Alertmanager
from agent.alerts.message import DeliveryError, Message
from agent.alerts.services import Service, secrets_of
from agent.config.alerts import Notification
from agent.kit.errors import ConfigError
from tests.support.clock import ManualClock
from tests.support.hook import Hook, listening

FIRED = 1_700_000_000.0
SECRET = "T0kenOfTheHook"  # noqa: S105 - a test's own


def message(**keys: Any) -> Message:
    """An alert that fires, but for these keys."""
    given: dict[str, Any] = {
        "word": "firing", "name": "busy", "severity": "critical", "labels": {"alertname": "busy", "empty": ""},
        "value": 93.5, "description": "93.5 % busy", "fired": FIRED, "ends": FIRED + 240,
    }  # fmt: skip
    return Message(**{**given, **keys})


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A web server that remembers."""
    with listening() as found:
        yield found


def test_an_alertmanager_gets_labels_annotations_and_times(hook: Hook) -> None:
    """By its API, below the path of the base URL; empty labels are none."""
    Alertmanager([f"http://{hook.address}/am/"], 10).send([message()])

    assert hook.received == [
        (
            "/am/api/v2/alerts",
            [
                {
                    "labels": {"alertname": "busy"},
                    "annotations": {"description": "93.5 % busy", "value": "93.5"},
                    "startsAt": "2023-11-14T22:13:20.000Z",
                    "endsAt": "2023-11-14T22:17:20.000Z",
                }
            ],
        )
    ]


def test_one_alertmanager_of_a_cluster_is_enough(hook: Hook) -> None:
    """Every one is told; only when none listens it is a failure, which names them all without their passwords."""
    Alertmanager(["http://127.0.0.1:9", f"http://{hook.address}"], 10).send([message()])
    hook.status, hook.text = 400, "bad labels"

    with pytest.raises(DeliveryError) as caught:
        Alertmanager([f"http://me:{SECRET}@127.0.0.1:9", f"http://me:{SECRET}@{hook.address}"], 10).send([message()])

    assert len(hook.received) == 2
    assert "http://127.0.0.1:9: " in str(caught.value)
    assert f"http://{hook.address}: status 400: bad labels" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_webhook_gets_words(hook: Hook) -> None:
    """By Apprise: what, how bad, since when, the labels."""
    Service(f"json://{hook.address}/{SECRET}", 10).send([message(labels={"alertname": "busy", "disk": "sda"})])

    ((path, body),) = hook.received
    assert path == f"/{SECRET}"
    assert (body["title"], body["type"]) == ("FIRING: busy", "failure")
    assert body["message"] == ("busy (critical): 93.5 % busy\nfired 2023-11-14 22:13:20Z; alertname=busy, disk=sda")


def test_many_alerts_are_one_message(hook: Hook) -> None:
    """The first ones are named, the others counted; a recovery is a success."""
    many = [message(word="resolved", severity="info", name=f"a{number}") for number in range(25)]
    Service(f"json://{hook.address}", 10).send(many)

    ((_, body),) = hook.received
    assert (body["title"], body["type"]) == ("RESOLVED: 25 alerts", "success")
    assert "and 5 more" in body["message"]
    assert "resolved 2023-11-14 22:17:20Z" in body["message"]


@pytest.mark.parametrize(("severity", "kind"), [("info", "info"), ("warning", "warning"), ("critical", "failure")])
def test_the_worst_severity_gives_the_kind(hook: Hook, severity: str, kind: str) -> None:
    """As services colour it."""
    Service(f"json://{hook.address}", 10).send([message(severity="info"), message(severity=severity)])

    assert hook.received[0][1]["type"] == kind


def test_a_failure_tells_why_and_no_secret(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in what is raised nor in a log."""
    hook.status = 503
    service = Service(f"json://user:{SECRET}@{hook.address}/path/{SECRET}", 10)

    with pytest.raises(DeliveryError, match="503") as caught:
        service.send([message()])

    assert SECRET not in str(caught.value) + caplog.text


@pytest.mark.parametrize(
    "url",
    [
        f"mailto://me:{SECRET}@example.org?to=you@example.org", f"slack://{SECRET}/B1234/XYZ",
        f"pagerduty://{SECRET}@A1B2C3", f"json://h/?-X-Token={SECRET}&verify=no", f"json://u:{SECRET[:-2]}%6Fk@h",
    ],
)  # fmt: skip
def test_every_part_of_a_url_may_be_secret(url: str) -> None:
    """For Apprise puts tokens into any of them; escaped and not."""
    text = url
    for secret in secrets_of(url):
        text = text.replace(secret, "***")

    assert SECRET[:-2] not in text


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ({"urls": (f"nosuch://{SECRET}",)}, "one of its urls is not understood by Apprise (nosuch)"),
        ({"urls": (SECRET,)}, "(no scheme)"),
        ({"urls": (f"ftp://{SECRET}",), "kind": "alertmanager"}, "no http:// or https:// address"),
        (
            {"urls": (f"https://me:{SECRET}@h",), "kind": "alertmanager", "ca_file": "/none.pem"},
            "authorities cannot be",
        ),
        ({"urls": ("json://${env:NOT_THERE}",)}, "the variable NOT_THERE is not set"),
    ],
)
def test_a_notifier_that_cannot_be_made_is_an_error_without_secrets(keys: dict[str, Any], what: str) -> None:
    """It names the entry."""
    with pytest.raises(ConfigError) as caught:
        outlets.build([Notification(name="ops", **keys)], {}, ManualClock(), lambda: None)

    assert "notifier ops: " in str(caught.value)
    assert what in str(caught.value)
    assert SECRET not in str(caught.value)


def test_each_url_is_an_outlet_and_secrets_come_from_elsewhere(hook: Hook, tmp_path: Path) -> None:
    """So a failure at one repeats nothing at the others; Alertmanagers of a cluster are one."""
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    people = Notification(name="ops", urls=(f"json://{hook.address}/${{file:{tmp_path}/secret}}", "json://${env:H}"))
    cluster = Notification(name="am", kind="alertmanager", urls=("http://a", "http://b"))

    made = outlets.build([people, cluster], {"H": "h"}, ManualClock(), lambda: None)

    assert [(one.name, one.notifier) for one in made] == [("ops[0]", "ops"), ("ops[1]", "ops"), ("am", "am")]
    made[0].sender.send([message()])
    assert hook.received[0][0] == f"/{SECRET}"


def test_apprise_is_only_needed_with_such_a_notifier(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its absence is an error that names the extra."""
    monkeypatch.setitem(sys.modules, "apprise", None)

    with pytest.raises(ConfigError) as caught:
        outlets.build([Notification(name="ops", urls=("json://h",))], {}, ManualClock(), lambda: None)

    assert "telemetry-agent[apprise]" in caught.value.hint
