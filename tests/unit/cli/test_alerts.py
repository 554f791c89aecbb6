"""`alerts`: what it prints, and what its exit code says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.components import Components
from agent.config import Config
from agent.control import AlertRuleStatus, AlertsStatus, AlertStatus, NotifierStatus, Trial
from agent.kit.clock import SystemClock
from agent.kit.disk import Directory
from agent.kit.errors import AgentError
from agent.metrics import Metrics
from agent.web.facts import Facts
from agent.web.server import WebServer
from tests.support.hook import Hook, listening

from .conftest import Stage

NOW = 1_700_000_100.0
FIRING = AlertStatus(
    state="firing", labels={"alertname": "full"}, value=93.5, description="93.5 % full", since=NOW - 60, fired=NOW
)


def rule(**keys: Any) -> AlertRuleStatus:
    """A rule at rest, but for these keys."""
    given: dict[str, Any] = {
        "name": "full", "when": "disk > 90", "for_seconds": 60.0, "severity": "critical", "notify": ["ops"],
        "state": "inactive",
    }  # fmt: skip
    return AlertRuleStatus(**{**given, **keys})


class FakeAlerting:
    """Answers what a test prepared, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answer = AlertsStatus(evaluated=NOW, rules=[rule()])
        self.tested = [Trial(notifier="ops", ok=True)]
        self.asked: list[Any] = []

    def alerts(self) -> AlertsStatus:
        """The prepared one."""
        return self.answer

    def test_alert(self, name: str, *, timeout: float = 60.0) -> list[Trial]:  # noqa: ARG002 - Alerting's
        """The prepared one."""
        self.asked.append(("test", name))
        if name != "full":
            raise AgentError(f"there is no alert {name!r}", hint="known are full")
        return self.tested

    def silence(
        self, name: str, seconds: float, comment: str, *, timeout: float = 10.0  # noqa: ARG002 - Alerting's
    ) -> AlertsStatus:  # fmt: skip
        """The prepared one."""
        self.asked.append(("silence", name, seconds, comment))
        return self.answer


@pytest.fixture
def agent(stage: Stage) -> Iterator[FakeAlerting]:
    """A running agent's real web server, over prepared alerts."""
    fake, clock = FakeAlerting(), SystemClock()
    with Directory.make(str(stage.state), 0o700) as state:
        control: Any = None
        server = WebServer(
            control, Metrics(), Components(clock), clock, listen="", state=state, heartbeat=clock.monotonic,
            ready=lambda: True, facts=Facts(alerts=fake.alerts), alerting=fake,
        )  # fmt: skip
        server.start()
        try:
            yield fake
        finally:
            server.stop()


@pytest.mark.usefixtures("agent")
def test_rules_at_rest_are_listed(stage: Stage) -> None:
    """With 0: nothing is wrong."""
    code, out, _ = stage.run("alerts")

    assert code == 0
    assert "full" in out
    assert "inactive" in out
    assert "disk > 90" in out


def test_an_alert_that_fires_is_a_finding(stage: Stage, agent: FakeAlerting) -> None:
    """With 1, for whom, since when, and how the notifiers fare."""
    agent.answer = AlertsStatus(
        evaluated=NOW,
        rules=[rule(state="firing", alerts=[FIRING])],
        notifiers=[
            NotifierStatus(name="ops", kind="apprise", sent=3, failures=2, failing=True, last_error="status 503")
        ],
    )
    code, out, _ = stage.run("alerts")

    assert code == 1
    assert "firing" in out
    assert "1m ago" in out
    assert "93.5 % full" in out
    assert "failing: status 503" in out
    assert json.loads(stage.run("alerts", "--json")[1])["rules"][0]["alerts"][0]["value"] == 93.5


def test_a_silenced_one_is_none(stage: Stage, agent: FakeAlerting) -> None:
    """Somebody knows."""
    agent.answer = AlertsStatus(evaluated=NOW, rules=[rule(state="firing", alerts=[FIRING], silenced_until=NOW + 60)])
    code, out, _ = stage.run("alerts")

    assert code == 0
    assert "silenced until 2023-11-14 22:16:00Z" in out


def test_a_rule_that_cannot_be_evaluated_is_one(stage: Stage, agent: FakeAlerting) -> None:
    """It would never fire."""
    agent.answer = AlertsStatus(evaluated=NOW, rules=[rule(error="too many series")])
    code, out, _ = stage.run("alerts")

    assert code == 1
    assert "cannot be evaluated" in out
    assert "too many series" in out


def test_silences_are_asked_for(stage: Stage, agent: FakeAlerting) -> None:
    """Two hours where nothing is said; 0 ends one."""
    for arguments in (["--silence", "full"], ["--silence", "full", "--for", "30m", "--comment", "known"],
                      ["--unsilence", "full"]):  # fmt: skip
        assert stage.run("alerts", *arguments)[0] == 0

    assert agent.asked == [
        ("silence", "full", 7200.0, ""), ("silence", "full", 1800.0, "known"), ("silence", "full", 0.0, "")
    ]  # fmt: skip


def test_a_test_tells_who_took_it(stage: Stage, agent: FakeAlerting) -> None:
    """1 where somebody did not, or where there is no such alert."""
    assert stage.run("alerts", "--test", "full")[0] == 0
    agent.tested = [Trial(notifier="ops", ok=False, message="status 503")]
    code, out, _ = stage.run("alerts", "--test", "full")
    assert (code, "status 503" in out) == (1, True)
    code, _, err = stage.run("alerts", "--test", "fill")
    assert (code, "known are full" in err) == (1, True)


def test_without_an_agent_only_a_test_works(stage: Stage, tmp_path: Path) -> None:
    """75 else: what fires is what a running agent finds."""
    with listening() as hook:
        config = written(tmp_path, hook)

        assert stage.run("--config", config, "alerts")[0] == 75
        code, out, _ = stage.run("--config", config, "alerts", "--test", "full")

    assert (code, "taken" in out) == (0, True)
    assert hook.received[0][1]["title"] == "TEST FIRING: full"


def written(tmp_path: Path, hook: Hook) -> str:
    """A configuration with one alert."""
    path = tmp_path / "alerts.toml"
    path.write_text(
        '[[alert]]\nname = "full"\nwhen = "telemetry_agent_directory_critical == 1"\nnotify = ["ops"]\n'
        f'[[notifier]]\nname = "ops"\nurls = ["json://{hook.address}/hidden-word"]\n'
    )
    return str(path)


def test_secrets_are_not_printed(stage: Stage, tmp_path: Path) -> None:
    """Not by check-config, and not by an error about them."""
    with listening() as hook:
        code, out, err = stage.run("--config", written(tmp_path, hook), "check-config")
    assert code == 0
    assert "hidden-word" not in out + err
    path = tmp_path / "wrong.toml"
    path.write_text('[[notifier]]\nname = "ops"\nurls = "json://h/hidden-word"\n')
    code, out, err = stage.run("--config", str(path), "check-config")
    assert (code, "hidden-word" in out + err) == (78, False)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[[alert]]\nname = "full"\nwhen = "topk(1, a) > 1"\n', "alert full: when has topk"),
        ('[[alert]]\nname = "full"\nwhen = "a > 1"\nnotify = ["ops"]\n', "no [[notifier]] is called"),
        ('[[alert]]\nname = "full"\nwhen = "a > 1"\nrepeat = "1m"\n', "less than cooldown"),
        (
            '[[alert]]\nname = "a"\nwhen = "a > 1"\n[[alert]]\nname = "a"\nwhen = "a > 1"\n',
            "as that of an entry before",
        ),
        ('[[notifier]]\nname = "o s"\nurls = ["json://h"]\n', "use 1 to 64 letters"),
        ('[[notifier]]\nname = "ops"\nurls = []\n', "is empty"),
        ('[[notifier]]\nname = "ops"\nurls = ["nosuch://x"]\n', "notifier ops: one of its urls"),
        ('[alerts]\nlabels = { "a-b" = "c" }\n', "alerts.labels has 'a-b'"),
        ('[alerts]\ninterval = "10ms"\n', "shorter than 1000ms"),
        ('[web]\nconfig_file = "/none/web.yml"\n', "web configuration cannot be read"),
        ('[web]\nadmin_token_file = "/none/token"\n', "admin token cannot be read"),
    ],
)
def test_a_wrong_configuration_is_found_before_the_start(stage: Stage, tmp_path: Path, text: str, why: str) -> None:
    """By check-config, and by run itself, with 78."""
    path = tmp_path / "wrong.toml"
    path.write_text(text)

    for command in (["check-config"], ["run", str(stage.directory)]):
        code, _, err = stage.run("--config", str(path), *command, at=False)
        assert code == 78
        assert why in err


def test_the_defaults_need_no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the extras is imported for a configuration without them."""
    import sys

    from agent.alerts.build import build
    from agent.web.doors import read

    for module in ("promql_parser", "apprise", "yaml", "bcrypt"):
        monkeypatch.setitem(sys.modules, module, None)

    assert not build(Config(), SystemClock()).rules
    read(Config().web)


def test_a_port_that_is_open_to_the_network_is_warned_of_until_it_is_guarded(stage: Stage, tmp_path: Path) -> None:
    """Passwords without TLS are not enough."""
    token = tmp_path / "token"
    token.write_text("a-token-of-enough-length")
    token.chmod(0o600)
    (tmp_path / "web.yml").write_text(f"basic_auth_users: {{a: {'$2b$04$' + 'x' * 53}}}\n")
    open_port = ["check-config", "--set", "web.listen=:9464"]

    for given, expected in (
        ([], ["anybody who reaches it may read"]),
        (["--set", f"web.config_file={tmp_path}/web.yml"], ["can be overheard"]),
        (["--set", f"web.admin_token_file={token}"], ["anybody who reaches it may read", "can be overheard"]),
    ):
        err = stage.run(*open_port, *given)[2]
        assert [part for part in ("anybody who reaches it may read", "can be overheard") if part in err] == expected
