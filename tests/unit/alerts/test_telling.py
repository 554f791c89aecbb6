"""When an alert fires and ends, and who is told when."""

from __future__ import annotations

import pytest

from agent.alerts.book import Book
from agent.alerts.message import DeliveryError
from agent.alerts.outlet import Batch, Outlet, Settled, group
from agent.alerts.rule import Rule, build
from agent.alerts.state import Active
from agent.alerts.vector import EvaluationError, Vector
from agent.config.alerts import Alert
from tests.support.clock import ManualClock

SERIES = (("__name__", "a"), ("x", "1"))


class Silent:
    """A sender that is never used."""

    def send(self, messages: object) -> None:
        """Not here."""
        raise AssertionError(messages)


class Scene:
    """A book with one rule, people and an Alertmanager; time moves by hand."""

    def __init__(self, **keys: object) -> None:
        self.rules = build([Alert(**{"name": "busy", "when": "a > 1", "notify": ("people", "am"), **keys})])  # type: ignore[arg-type]
        self.book = Book()
        self.book.configure(self.rules, 60.0, 15.0, 0.0)
        clock = ManualClock()
        self.people = Outlet("people", "people", "apprise", Silent(), clock, lambda: None)
        self.am = Outlet("am", "am", "alertmanager", Silent(), clock, lambda: None)
        self.now = 1000.0

    def look(self, vector: Vector | None, seconds: float = 15.0) -> list[str]:
        """Evaluate some seconds later; the states that alerts came into."""
        self.now += seconds

        def value_of(_: Rule) -> Vector:
            if vector is None:
                raise EvaluationError("no value")
            return vector

        changes = self.book.evaluate(value_of, {"instance": "here"}, now=self.now, elapsed=seconds)
        return [change.alert.state for change in changes]

    def told(self, outlet: Outlet, *, fails: bool = False) -> list[str]:
        """What the outlet is told now, with the outcome noted."""
        batch = group(self.book.due(outlet, self.now))
        if batch is None:
            return []
        self.book.settled(outlet, Settled(batch, DeliveryError("down") if fails else None), self.now)
        return [f"{message.word}: {message.description}" for message in batch.messages]

    def alert(self) -> Active:
        """The only one there is."""
        (found,) = self.book.active.values()
        return found


ON: Vector = {SERIES: 5.0}
OFF: Vector = {}


def test_an_alert_fires_once_its_condition_held_long_enough() -> None:
    """At every evaluation; a pause begins the time anew, and is not told."""
    scene = Scene(for_=30.0)

    assert scene.look(ON) == ["pending"]
    assert scene.look(ON) == []
    assert scene.look(OFF) == []
    assert not scene.book.active
    assert [scene.look(ON) for _ in range(4)] == [["pending"], [], ["firing"], []]
    assert scene.look(OFF) == ["resolved"]
    assert scene.alert().labels == {"x": "1", "instance": "here", "alertname": "busy", "severity": "warning"}
    assert (scene.alert().since, scene.alert().fired, scene.alert().resolved) == (1060.0, 1090.0, 1120.0)


def test_for_0_fires_at_once() -> None:
    """Nothing is pending then."""
    assert Scene(for_=0.0).look(ON) == ["firing"]


def test_people_are_told_once_and_of_the_end() -> None:
    """However long it fires."""
    scene = Scene(for_=0.0)
    scene.look(ON)

    assert scene.told(scene.people) == ["firing: a > 1, the value is 5"]
    scene.look(ON, 3600)
    assert scene.told(scene.people) == []
    scene.look(OFF)
    assert scene.told(scene.people) == ["resolved: a > 1, the value is 5"]
    assert scene.told(scene.people) == []


def test_an_alert_that_flaps_is_told_once_in_a_cooldown() -> None:
    """And again when it still fires at the end of it."""
    scene = Scene(for_=0.0, cooldown=300.0)
    scene.look(ON)
    scene.told(scene.people)
    heard: list[str] = []
    for number in range(30):
        scene.look(OFF if number % 2 == 0 else ON)
        heard += [one.partition(":")[0] for one in scene.told(scene.people)]

    assert heard[:2] == ["resolved", "firing"]
    assert heard.count("firing") == 1


def test_a_reminder_is_sent_where_it_is_wanted() -> None:
    """At its interval, no sooner."""
    scene = Scene(for_=0.0, repeat=600.0)
    heard = [len(scene.told(scene.people)) for _ in range(41) if scene.look(ON, 60) is not None]

    assert [number for number, count in enumerate(heard) if count] == [0, 10, 20, 30, 40]


def test_what_could_not_be_delivered_is_due_again_in_the_words_of_then() -> None:
    """Also when the alert is over by then: an incident is not kept from anybody."""
    scene = Scene(for_=0.0)
    scene.look(ON)
    assert scene.told(scene.people, fails=True) == ["firing: a > 1, the value is 5"]
    scene.look({SERIES: 7.0})
    assert scene.told(scene.people, fails=True) == ["firing: a > 1, the value is 7"]
    scene.look(OFF, 2000)

    assert scene.told(scene.people, fails=True) == ["resolved: a > 1, the value is 7"]
    scene.look(OFF, 40_000)
    assert scene.told(scene.people) == ["resolved: a > 1, the value is 7"]
    scene.look(OFF)
    assert not scene.book.active


def test_a_resolved_alert_is_forgotten_after_a_day_whoever_was_not_reached() -> None:
    """So nothing grows for ever."""
    scene = Scene(for_=0.0)
    scene.look(ON)
    scene.told(scene.people, fails=True)
    scene.look(OFF)
    scene.look(OFF, 86_400)

    assert not scene.book.active


def test_an_alertmanager_is_told_every_minute_what_fires_and_for_15_minutes_what_ended() -> None:
    """As Prometheus does it; what fires is valid for four minutes more."""
    scene = Scene(for_=0.0)
    scene.look(ON)
    (_, first) = scene.book.due(scene.am, scene.now)[next(iter(scene.book.active))]
    assert (first.fired, first.ends) == (scene.now, scene.now + 240)
    heard = [len(scene.told(scene.am)) for _ in range(8) if scene.look(ON) is not None]
    assert heard == [1, 0, 0, 0, 1, 0, 0, 0]

    scene.look(OFF)
    ended = scene.now
    (_, last) = scene.book.due(scene.am, scene.now)[next(iter(scene.book.active))]
    assert (last.word, last.ends) == ("resolved", ended)
    assert scene.told(scene.am) == ["resolved: a > 1, the value is 5"]
    again = [len(scene.told(scene.am)) for _ in range(100) if scene.look(OFF) is not None]
    assert sum(again) == 14
    assert not scene.book.active


def test_an_alert_that_fires_again_is_news_to_an_alertmanager() -> None:
    """At once; cooldown is for people."""
    scene = Scene(for_=0.0, cooldown=3600.0)
    heard = []
    for vector in (ON, OFF, ON, OFF):
        scene.look(vector)
        heard += [one.partition(":")[0] for one in scene.told(scene.am)]

    assert heard == ["firing", "resolved", "firing", "resolved"]


def test_a_silenced_alert_is_told_to_nobody_until_the_silence_ends() -> None:
    """It fires all the same, and is told when the silence is over and it still does."""
    scene = Scene(for_=0.0)
    scene.book.silence("busy", scene.now + 100, "known")
    assert scene.look(ON) == ["firing"]

    assert scene.told(scene.people) == scene.told(scene.am) == []
    scene.look(ON, 100)
    assert len(scene.told(scene.people)) == len(scene.told(scene.am)) == 1
    assert not scene.book.silences


def test_a_silence_makes_no_false_recovery() -> None:
    """An Alertmanager that knows the alert is told on; people hear of the end of what they were told."""
    scene = Scene(for_=0.0)
    scene.look(ON)
    scene.told(scene.people)
    scene.told(scene.am)
    scene.book.silence("busy", scene.now + 10_000, "")
    scene.look(ON, 60)

    assert len(scene.told(scene.am)) == 1
    scene.look(OFF)
    assert len(scene.told(scene.people)) == 1


def test_a_clock_that_was_set_back_silences_nobody() -> None:
    """A cooldown never lasts longer for it."""
    scene = Scene(for_=0.0)
    for vector in (ON, OFF):
        scene.look(vector)
        scene.told(scene.people)
    scene.now -= 1_000_000
    scene.look(ON)

    assert len(scene.told(scene.people)) == 1


def test_state_outlives_the_process() -> None:
    """Nobody is told twice, everybody hears of the end, silences hold; what was pending begins anew."""
    scene = Scene(for_=0.0)
    scene.look(ON)
    scene.told(scene.people)
    scene.book.silence("busy", scene.now + 50, "why")
    content = scene.book.dump()

    scene.book = Book()
    scene.book.load(content)
    scene.book.configure(scene.rules, 60.0, 15.0, scene.now)

    assert scene.look(ON, 100) == []
    assert scene.told(scene.people) == []
    scene.look(OFF)
    assert scene.told(scene.people) == ["resolved: a > 1, the value is 5"]


def test_values_that_json_has_not_are_kept_out_of_the_state() -> None:
    """The file can be read again."""
    scene = Scene(for_=0.0)
    scene.look({SERIES: float("inf")})
    book = Book()
    book.load(scene.book.dump())

    assert [alert.value for alert in book.active.values()] == [None]


def test_a_rule_without_a_value_leaves_its_alerts_as_they_were() -> None:
    """And says so until it has one."""
    scene = Scene(for_=0.0)
    scene.look(ON)

    assert scene.look(None) == []
    assert scene.book.errors == {"busy": "no value"}
    assert scene.alert().state == "firing"
    scene.look(ON)
    assert scene.book.errors == {}


def test_a_flood_is_an_error() -> None:
    """A thousand messages help nobody."""
    scene = Scene(for_=0.0)
    scene.look({(("x", str(number)),): 1.0 for number in range(1001)})

    assert "1001 alerts, more than 1000" in scene.book.errors["busy"]
    assert not scene.book.active


def test_a_rule_that_is_gone_ends_its_alerts() -> None:
    """Those who were told hear of it, so no pager stays open."""
    scene = Scene(for_=0.0)
    scene.look(ON)
    scene.told(scene.people)

    (change,) = scene.book.configure([], 60.0, 15.0, scene.now)

    assert (change.before, change.alert.state) == ("firing", "resolved")
    assert scene.told(scene.people) == ["resolved: a > 1, the value is 5"]


def test_one_message_tells_of_one_kind() -> None:
    """What fires first: a pager closes what a recovery names."""
    scene = Scene(for_=0.0)
    scene.look({SERIES: 1.0, (("x", "2"),): 2.0})
    scene.told(scene.people)
    scene.look({SERIES: 1.0, (("x", "3"),): 3.0})

    batch = group(scene.book.due(scene.people, scene.now))
    assert isinstance(batch, Batch)
    assert [message.labels["x"] for message in batch.messages] == ["3"]
    assert scene.told(scene.people) == ["firing: a > 1, the value is 3"]
    assert scene.told(scene.people) == ["resolved: a > 1, the value is 2"]


@pytest.mark.parametrize("word", ["alertname", "severity"])
def test_a_series_cannot_pose_as_another_rule(word: str) -> None:
    """The rule's own labels win."""
    scene = Scene(for_=0.0)
    scene.look({((word, "forged"), ("instance", "there")): 1.0})

    assert scene.alert().labels == {"alertname": "busy", "severity": "warning", "instance": "there"}
