"""The duty that evaluates alerts and tells of them: never waiting, through failures, reloads and restarts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.components import Components
from agent.config import Config
from agent.config.alerts import Alert, Alerts, Notification
from agent.control import AlertRuleStatus
from agent.duties.alerter import Alerter
from agent.kit.disk import Directory
from agent.kit.errors import AgentError, ConfigError
from agent.kit.units import Duration
from agent.metrics import Metrics
from tests.support.clock import ManualClock
from tests.support.hook import Hook, listening


@pytest.fixture
def hook() -> Iterator[Hook]:
    """Who is told."""
    with listening() as found:
        yield found


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Directory]:
    """A state directory."""
    with Directory.make(str(tmp_path / "state"), 0o700) as directory:
        yield directory


class Scene:
    """An alerter over metrics that a test sets, one rule on `directory_critical`."""

    def __init__(self, hook: Hook, state: Directory | None, **keys: Any) -> None:
        self.hook = hook
        self.clock = ManualClock()
        self.metrics = Metrics()
        self.components = Components(self.clock)
        self.audited: list[str] = []
        self.woken = threading.Event()
        self.config = self.make(**keys)
        self.alerter = self.start(state)

    def make(self, **keys: Any) -> Config:
        """A configuration with one rule of these keys."""
        given = {"name": "full", "when": "telemetry_agent_directory_critical == 1", "for_": Duration("30s"),
                 "notify": ("hook",), **keys}  # fmt: skip
        return Config(
            alerts=Alerts(interval=Duration("15s"), labels={"instance": "here"}),
            alert=(Alert(**given),),
            notifier=(Notification(name="hook", urls=(f"json://{self.hook.address}",)),),
        )

    def start(self, state: Directory | None) -> Alerter:
        """A new process."""
        alerter = Alerter(
            self.config, self.clock, self.metrics, self.components, wake=self.woken.set,
            audit=lambda reason, details: self.audited.append(f"{reason} {details['alert']}"),
        )  # fmt: skip
        alerter.open(state)
        return alerter

    def step(self, seconds: float = 0.0) -> float | None:
        """Let time pass and make a step."""
        self.clock.advance(seconds)
        return self.alerter.step(self.clock.monotonic())

    def settle(self) -> None:
        """Step until what is on its way has ended."""
        deadline = time.monotonic() + 30
        while any(outlet.busy for outlet in self.alerter._outlets):
            assert time.monotonic() < deadline
            self.woken.wait(1)
            self.woken.clear()
            self.step()

    def titles(self) -> list[str]:
        """What the hook was told."""
        return [body["title"] for _, body in self.hook.received]

    def rule(self) -> AlertRuleStatus:
        """The rule as it is shown."""
        (found,) = self.alerter.alerts().rules
        return found

    def value(self, name: str, **labels: str) -> float | None:
        """A metric's value."""
        return self.metrics.registry.get_sample_value(f"telemetry_agent_{name}", labels)


def fire(scene: Scene) -> None:
    """Until the alert fires."""
    scene.metrics.directory_critical.set(1)
    for _ in range(4):
        scene.step(15)
    scene.settle()


def test_an_alert_goes_from_its_threshold_to_the_message_and_its_end(hook: Hook, state: Directory) -> None:
    """Shown, counted and audited on its way."""
    scene = Scene(hook, state)
    scene.metrics.directory_critical.set(0)
    scene.step()
    assert scene.rule().state == "inactive"

    fire(scene)
    assert scene.rule().state == "firing"
    assert scene.value("alerts", state="firing") == 1
    scene.metrics.directory_critical.set(0)
    scene.step(15)
    scene.settle()

    assert scene.titles() == ["FIRING: full", "RESOLVED: full"]
    assert scene.audited == ["firing full", "resolved full"]
    assert scene.value("alerts", state="firing") == 0
    assert scene.value("notifications_total", notifier="hook") == 2
    assert [scene.value("alert_transitions_total", state=word) for word in ("pending", "firing", "resolved")] == [
        1,
        1,
        1,
    ]
    (alert,) = scene.rule().alerts
    assert alert.labels["instance"] == "here"
    msgspec.json.encode(scene.alerter.alerts())


def test_nothing_is_done_without_a_rule(hook: Hook) -> None:
    """It sleeps until woken, and collects no metric."""
    scene = Scene(hook, None)
    scene.config = Config()
    scene.alerter = scene.start(None)

    assert scene.step() is None
    assert scene.value("alert_evaluations_total") == 0


def test_a_notifier_that_fails_is_tried_again_at_growing_intervals(hook: Hook, state: Directory) -> None:
    """It is told as soon as it works; until then evaluations go on, and the part is degraded."""
    scene = Scene(hook, state)
    hook.status = 500
    fire(scene)
    (component,) = scene.components.all()
    assert component.state == "degraded"
    assert "500" in component.message
    tries = len(hook.received)
    for _ in range(40):
        scene.step(15)
        scene.settle()

    assert 2 < len(hook.received) - tries < 15
    assert scene.value("notification_failures_total", notifier="hook") == len(hook.received)
    assert scene.alerter.alerts().notifiers[0].failing
    hook.status = 200
    scene.step(400)
    scene.settle()
    assert scene.value("notifications_total", notifier="hook") == 1
    assert scene.components.all()[0].state == "ok"


def test_a_notifier_that_hangs_blocks_nothing(hook: Hook, state: Directory) -> None:
    """Evaluations and commands go on; nothing is sent twice beside it."""
    scene = Scene(hook, state)
    hook.gate.clear()
    scene.metrics.directory_critical.set(1)
    for _ in range(10):
        scene.step(15)

    assert scene.rule().state == "firing"
    assert scene.value("alert_evaluations_total") == 10
    assert len(hook.received) <= 1
    hook.gate.set()
    scene.settle()
    assert scene.titles() == ["FIRING: full"]


def test_state_survives_a_reload(hook: Hook, state: Directory) -> None:
    """Firing goes on, nobody is told again, a new threshold holds from the next look on."""
    scene = Scene(hook, state)
    fire(scene)

    scene.alerter.configure(scene.alerter.prepare(scene.make(description="other words")))
    scene.step(15)
    scene.settle()
    assert scene.rule().state == "firing"
    assert scene.rule().alerts[0].description == "other words"
    scene.alerter.configure(scene.alerter.prepare(scene.make(when="telemetry_agent_directory_critical > 1")))
    scene.step(15)
    scene.settle()

    assert scene.titles() == ["FIRING: full", "RESOLVED: full"]


def test_history_survives_a_reload(hook: Hook, state: Directory) -> None:
    """An increase over minutes is known at once afterwards."""
    when = "increase(telemetry_agent_audit_unwritten_total[2m]) > 5"
    scene = Scene(hook, state, when=when, for_=Duration(0))
    for _ in range(5):
        scene.metrics.audit_unwritten.inc(3)
        scene.step(15)
    scene.settle()
    assert scene.titles() == ["FIRING: full"]
    scene.alerter.configure(scene.alerter.prepare(scene.make(when=when, for_=Duration(0))))
    scene.step(15)

    assert scene.rule().state == "firing"


def test_state_survives_a_restart(hook: Hook, state: Directory) -> None:
    """Nobody is told twice, and everybody hears of the end."""
    scene = Scene(hook, state)
    fire(scene)
    scene.alerter = scene.start(state)
    scene.step(15)
    scene.settle()
    assert scene.titles() == ["FIRING: full"]
    assert scene.rule().state == "firing"
    scene.metrics.directory_critical.set(0)
    scene.step(15)
    scene.settle()

    assert scene.titles() == ["FIRING: full", "RESOLVED: full"]


@pytest.mark.parametrize("content", ["{", '{"new":' + "[" * 100_000])
def test_a_damaged_state_is_no_obstacle(hook: Hook, state: Directory, tmp_path: Path, content: str) -> None:
    """What was told is not known then."""
    (tmp_path / "state" / "alerts.json").write_text(content)
    scene = Scene(hook, state)
    fire(scene)

    assert scene.titles() == ["FIRING: full"]


def asked(scene: Scene, ask: Callable[[], Any]) -> Any:
    """What a request from another thread is answered."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(ask())
        except AgentError as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 30
    while thread.is_alive():
        assert time.monotonic() < deadline
        scene.step()
        thread.join(0.01)
    return found[0]


def test_a_silence_is_begun_and_ended(hook: Hook, state: Directory) -> None:
    """Nobody is told in between; both are audited and shown."""
    scene = Scene(hook, state)
    scene.step()
    answer = asked(scene, lambda: scene.alerter.silence("full", 3600, "maintenance"))
    assert (answer.rules[0].silence_comment, answer.rules[0].silenced_until) == (
        "maintenance",
        scene.clock.now() + 3600,
    )

    fire(scene)
    assert scene.titles() == []
    assert (scene.value("alerts", state="silenced"), scene.value("alerts", state="firing")) == (1, 0)
    asked(scene, lambda: scene.alerter.silence("full", 0, ""))
    scene.step(15)
    scene.settle()

    assert scene.titles() == ["FIRING: full"]
    assert scene.audited == ["silence full", "firing full", "unsilence full"]


def test_a_silence_ends_by_itself(hook: Hook, state: Directory) -> None:
    """Who was to be told is told then, and nothing is left of it."""
    scene = Scene(hook, state)
    scene.step()
    asked(scene, lambda: scene.alerter.silence("full", 90, "a short while"))
    fire(scene)
    assert (scene.titles(), scene.rule().silence_comment) == ([], "a short while")
    scene.step(45)
    scene.settle()

    assert scene.titles() == ["FIRING: full"]
    assert (scene.rule().silenced_until, scene.rule().silence_comment) == (None, "")


def test_what_only_held_for_a_while_begins_anew_with_a_restart(hook: Hook, state: Directory) -> None:
    """Nobody knows whether it held while no agent looked."""
    scene = Scene(hook, state)
    scene.metrics.directory_critical.set(1)
    scene.step(15)
    scene.step(15)
    asked(scene, lambda: scene.alerter.silence("full", 0, ""))  # everything that is kept is written now
    scene.alerter = scene.start(state)
    scene.step()
    scene.step(15)
    assert scene.rule().state == "pending"
    scene.step(15)

    assert scene.rule().state == "firing"


def test_a_test_message_says_that_it_is_one(hook: Hook, state: Directory) -> None:
    """It changes no state; what went wrong is told."""
    scene = Scene(hook, state)
    scene.step()

    (told,) = asked(scene, lambda: scene.alerter.test_alert("full"))
    hook.status = 500
    (failed,) = asked(scene, lambda: scene.alerter.test_alert("full"))

    assert (told.notifier, told.ok) == ("hook", True)
    assert not failed.ok
    assert "500" in failed.message
    assert scene.titles()[0] == "TEST FIRING: full"
    assert scene.rule().state == "inactive"


def test_a_name_that_is_not_there_is_an_error_with_those_that_are(hook: Hook, state: Directory) -> None:
    """For silences and tests; a rule that notifies nobody cannot be tried."""
    scene = Scene(hook, state, notify=())
    scene.step()

    unknown = asked(scene, lambda: scene.alerter.silence("ful", 60, ""))
    alone = asked(scene, lambda: scene.alerter.test_alert("full"))

    assert (unknown.what, unknown.hint) == ("there is no alert 'ful'", "known are full")
    assert alone.what == "the alert full notifies nobody"


def test_a_metric_that_there_is_not_is_pointed_out(hook: Hook, state: Directory) -> None:
    """A rule with a typing mistake never fires."""
    scene = Scene(hook, state, when="telemetry_agnt_directory_critical == 1")
    scene.step()

    assert scene.rule().note == "there is no metric telemetry_agnt_directory_critical now"


def test_a_rule_without_a_value_is_counted_and_shown(hook: Hook, state: Directory) -> None:
    """The others go on."""
    scene = Scene(hook, state, when="telemetry_agent_streams == on() telemetry_agent_streams")
    scene.step()
    scene.step(15)

    assert "more than one series on the right side" in scene.rule().error
    assert scene.value("alert_evaluation_failures_total", alert="full") == 2
    assert scene.components.all()[0].state == "degraded"


def test_a_wrong_rule_is_an_error_of_the_configuration(hook: Hook) -> None:
    """At start and at a reload."""
    with pytest.raises(ConfigError, match="alert full: when has offset"):
        Scene(hook, None, when="telemetry_agent_streams offset 5m > 1")
