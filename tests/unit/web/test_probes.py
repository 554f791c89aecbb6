import pytest

from agent.components import Components
from agent.web.probes import Probes

from .conftest import FakeControl, Hands, status_with


class House:
    """Probes over a clock with hands."""

    def __init__(self) -> None:
        self.clock = Hands()
        self.components = Components(self.clock)
        self.control = FakeControl()
        self.beat = self.clock.steady
        self.is_ready = True
        self.probes = Probes(
            self.components, self.clock, heartbeat=lambda: self.beat, ready=lambda: self.is_ready, deadline=10
        )


@pytest.fixture
def house() -> House:
    """All is well in it."""
    return House()


def test_live_until_the_deadline_and_again_after_a_beat(house: House) -> None:
    """Silence up to the deadline is fine, beyond it is not, and one beat heals it."""
    house.clock.steady += 10
    assert house.probes.live().ok
    house.clock.steady += 0.5

    stuck = house.probes.live()

    assert not stuck.ok
    assert stuck.heartbeat_age == 10.5
    assert "10.5 s" in stuck.reasons[0]
    house.beat = house.clock.steady
    assert house.probes.live().ok


def test_nothing_but_the_main_loop_decides_about_life(house: House) -> None:
    """A failed part, a critical directory and an agent that is not ready leave it alive."""
    house.components.report("keeper", "failed", "disk full")
    house.is_ready = False
    house.control.answer = status_with({"critical": True})

    assert house.probes.live().ok


def test_not_ready_says_what_it_waits_for(house: House) -> None:
    """The parts that are not at work are the reasons."""
    house.is_ready = False
    house.components.report("keeper", "ok")
    house.components.report("watcher", "starting", "sweeping", "wait")

    probe = house.probes.ready()

    assert not probe.ok
    assert probe.reasons == ["the first sweep is not done", "watcher is starting: sweeping; wait"]


def test_started_stays_started(house: House) -> None:
    """An agent that is no longer ready has still started; one that never was has not."""
    house.is_ready = False
    assert not house.probes.started().ok
    house.is_ready = True
    assert house.probes.started().ok
    house.is_ready = False

    assert house.probes.started().ok
    assert not house.probes.ready().ok


def test_healthy_when_nothing_is_wrong(house: House) -> None:
    """No issue, and the service is named."""
    house.components.report("keeper", "ok")

    health = house.probes.health(house.control, "")

    assert (health.status, health.healthy, health.initialized, health.issues) == ("healthy", True, True, [])
    assert (health.service.name, health.service.version) == ("shop", "1.2.3")
    assert [part.name for part in health.components] == ["keeper"]
    assert house.probes.health(house.control, "9").service.version == "9"


@pytest.mark.parametrize(
    ("state", "expected"), [("degraded", "degraded"), ("starting", "degraded"), ("failed", "unhealthy")]
)
def test_a_part_in_trouble_shows(house: House, state: str, expected: str) -> None:
    """A failed part is unhealthy, one that limps is degraded; the message is an issue."""
    house.components.report("keeper", state, "no space left", "free some")  # type: ignore[arg-type]

    health = house.probes.health(house.control, "")

    assert expected == health.status
    assert not health.healthy
    assert [f"keeper is {state}: no space left; free some"] == health.issues


def test_a_critical_directory_is_unhealthy(house: House) -> None:
    """Even where nobody put it into words."""
    house.control.answer = status_with({"critical": True})
    health = house.probes.health(house.control, "")

    assert health.status == "unhealthy"
    assert health.issues == ["directory /data: 60 bytes are above its critical size of 50 bytes"]


def test_a_problem_of_the_directory_degrades(house: House) -> None:
    """Its own words are the issue."""
    house.control.answer = status_with({"problems": ["no holes"]})
    health = house.probes.health(house.control, "")

    assert (health.status, health.issues) == ("degraded", ["directory /data: no holes"])


def test_a_stuck_main_loop_is_unhealthy(house: House) -> None:
    """Whatever its last snapshot said."""
    house.clock.steady += 60

    assert house.probes.health(house.control, "").status == "unhealthy"


def test_before_the_first_sweep_it_is_degraded(house: House) -> None:
    """Not initialized is an issue of its own."""
    house.is_ready = False
    health = house.probes.health(house.control, "")

    assert (health.status, health.initialized) == ("degraded", False)
    assert "not initialized" in health.issues[0]


def test_many_refused_streams_are_counted_not_listed(house: House) -> None:
    """Ten are named, the others are a number; streams that are gone are no issue."""
    bad = [{"name": f"{number}.json", "state": "refused", "why": "a symlink"} for number in range(25)]
    house.control.answer = status_with(streams=[*bad, {"state": "gone"}])

    issues = house.probes.health(house.control, "").issues

    assert len(issues) == 11
    assert issues[0] == "stream 0.json is refused: a symlink"
    assert issues[-1].startswith("15 more streams")
