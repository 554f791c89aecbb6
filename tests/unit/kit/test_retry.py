"""Backoff, breaker, failover and Retry-After; the numbers in brackets are those of the delivery cases."""

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.kit.retry import Backoff, Breaker, Failover, parse_retry_after
from tests.support.clock import ManualClock


def lowest(low: float, _high: float) -> float:
    """The smallest draw."""
    return low


def highest(_low: float, high: float) -> float:
    """The largest draw."""
    return high


# -- Backoff


def test_waits_double_up_to_the_cap() -> None:
    """Without jitter the waits are 1, 2, 4, 8, 16 s and so on to the maximum."""
    backoff = Backoff(initial=1, maximum=30, jitter=0)

    waits = [backoff.wait(failures) for failures in range(1, 8)]

    assert waits == [1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize(
    ("failures", "low", "high"),
    [(1, 0.75, 1.25), (3, 3.0, 5.0), (5, 12.0, 20.0), (6, 24.0, 40.0), (7, 45.0, 60.0), (50, 45.0, 60.0)],
)
def test_a_quarter_of_jitter_stays_in_its_range_and_below_the_maximum(failures: int, low: float, high: float) -> None:
    """±25 % around the nominal wait; at the cap the range is cut, not piled up on one value."""
    assert low == Backoff(uniform=lowest).wait(failures)
    assert high == Backoff(uniform=highest).wait(failures)


def test_full_jitter_draws_evenly_below_the_nominal_wait() -> None:
    """[22] 10,000 draws for each n stay in [0, min(cap, base * 2^n)] and their mean is within 2 % of the half."""
    backoff = Backoff(initial=0.5, maximum=300, jitter="full", uniform=random.Random(7).uniform)
    for n in range(21):
        bound = min(300, 0.5 * 2**n)
        draws = [backoff.wait(n + 1) or 0.0 for _ in range(10_000)]

        assert 0 <= min(draws) <= max(draws) <= bound
        assert statistics.fmean(draws) == pytest.approx(bound / 2, rel=0.02)


def test_two_agents_do_not_wait_alike() -> None:
    """[22] The draws of two agents are uncorrelated."""
    one = Backoff(uniform=random.Random(1).uniform)
    two = Backoff(uniform=random.Random(2).uniform)

    pairs = [(one.wait(9) or 0.0, two.wait(9) or 0.0) for _ in range(2_000)]

    assert abs(statistics.correlation(*zip(*pairs, strict=True))) < 0.1


@pytest.mark.parametrize("multiplier", [1.0, 1.5, 2, 10.0, 1e300])
def test_thousands_of_failures_never_overflow(multiplier: float) -> None:
    """[22] The cap holds at n = 5000 and far beyond, whatever the growth."""
    backoff = Backoff(initial=1, maximum=60, multiplier=multiplier, jitter=0)

    assert (1 if multiplier == 1 else 60) == backoff.wait(5_000) == backoff.wait(10**9)


def test_no_try_is_left_after_the_last_attempt() -> None:
    """Five attempts are five tries in all: four waits, then None. Without a limit there is always a next one."""
    backoff = Backoff(attempts=5, jitter=0)

    assert [backoff.wait(failures) for failures in range(1, 7)] == [1, 2, 4, 8, None, None]
    assert Backoff(jitter=0).wait(1_000_000) == 60


@pytest.mark.parametrize(
    ("retry_after", "low", "high"),
    [(7, 7, 8.75), (0, 0.75, 1.25), (0.1, 0.75, 1.25), (-5, 0.75, 1.25), (1e9, 60, 75), (float("inf"), 60, 75)],
)
def test_the_servers_wish_is_a_floor_with_jitter_above_it(retry_after: float, low: float, high: float) -> None:
    """[15] `7` waits in [7, 7 + jitter]; an absurd wish is capped at the maximum; a small one changes nothing."""
    assert low == Backoff(uniform=lowest).wait(1, retry_after)
    assert high == Backoff(uniform=highest).wait(1, retry_after)


def test_a_grown_wait_outlasts_a_short_wish() -> None:
    """The wait is the longer one of backoff and wish."""
    assert Backoff(jitter=0).wait(6, 7) == 32


def test_the_servers_wish_does_not_add_attempts() -> None:
    """Retry-After after the last try changes nothing: there is no next one."""
    assert Backoff(attempts=1).wait(1, 7) is None


@pytest.mark.parametrize(
    "settings",
    [{"initial": 0}, {"initial": 61}, {"multiplier": 0.9}, {"jitter": -0.1}, {"jitter": 1.1}, {"attempts": 0}],
)
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    """A backoff that would not wait, shrink or never try is no backoff."""
    with pytest.raises(ValueError, match="backoff"):
        Backoff(**settings)  # type: ignore[arg-type]


# -- Retry-After

NOW = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("2.5", 2.5),
        ("1e9", 1e9),
        ("9" * 250 + "e99", float("inf")),
        ("Sun, 06 Nov 1994 08:49:42 GMT", 5.0),
        ("Sunday, 06-Nov-94 08:49:42 GMT", 5.0),
        ("Sun Nov  6 08:49:42 1994", 5.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("abc", None),
        ("-1", None),
        ("+1", None),
        ("1_000", None),
        ("nan", None),
        ("inf", None),
        ("٣", None),
        ("9" * 5_000, None),
        ("Sun, 06 Nov 99999 08:49:42 GMT", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_or_ignored(value: str | None, expected: float | None) -> None:
    """[15] Seconds, the three forms of an HTTP-date, a date that has passed, and nonsense."""
    assert expected == parse_retry_after(value, NOW)


@given(st.text(max_size=60) | st.from_regex(r"[A-Z][a-z]{2}, ?[0-9]{1,6} [A-Z][a-z]{2} [0-9: +-]{1,20}"))
def test_no_retry_after_raises(value: str) -> None:
    """Whatever a server sends, the answer is a wait that is not negative, or None."""
    wait = parse_retry_after(value, NOW)

    assert wait is None or wait >= 0


# -- Breaker


def tripped(clock: ManualClock, recovery: float = 60) -> Breaker:
    """A breaker that has just opened."""
    breaker = Breaker(clock, failures=2, recovery=recovery)
    for _ in range(2):
        breaker.failed(breaker.admit() or 0)
    return breaker


def probed(clock: ManualClock, recovery: float = 60) -> tuple[Breaker, int]:
    """A breaker whose recovery time has passed, and the ticket of the one probe that is under way."""
    breaker = tripped(clock, recovery)
    clock.sleep(recovery)
    ticket = breaker.admit()
    assert ticket is not None
    return breaker, ticket


def test_a_row_of_failures_opens() -> None:
    """Only the n-th failure in a row opens; then nothing goes out, and the wait is the recovery time."""
    breaker = Breaker(ManualClock(), failures=5, recovery=60)
    seen = []
    for _ in range(5):
        seen.append(breaker.state)
        ticket = breaker.admit()
        assert ticket is not None
        breaker.failed(ticket)

    assert seen == ["closed"] * 5
    assert (breaker.state, breaker.admit(), breaker.wait(), breaker.trips) == ("open", None, 60, 1)


def test_a_success_breaks_the_row() -> None:
    """Failures count only in a row."""
    breaker = Breaker(ManualClock(), failures=2)
    for _ in range(10):
        ticket = breaker.admit()
        assert ticket is not None
        breaker.failed(ticket)
        breaker.succeeded(ticket)

    assert (breaker.state, breaker.failures, breaker.trips) == ("closed", 0, 0)


def test_half_open_lets_exactly_one_probe_through() -> None:
    """After the recovery time one call gets a ticket; the others wait for its verdict."""
    clock = ManualClock()
    breaker = tripped(clock)
    clock.sleep(59.9)
    assert (breaker.admit(), breaker.state) == (None, "open")
    clock.sleep(0.1)

    tickets = [breaker.admit() for _ in range(16)]

    assert sum(ticket is not None for ticket in tickets) == 1
    assert breaker.state == "half-open"


def test_a_good_probe_closes() -> None:
    """After one success everything goes out again, and the row of failures starts anew."""
    breaker, probe = probed(ManualClock())

    breaker.succeeded(probe)

    assert (breaker.state, breaker.failures, breaker.wait()) == ("closed", 0, 0)
    assert all(breaker.admit() is not None for _ in range(16))


def test_a_bad_probe_opens_for_another_recovery_time() -> None:
    """A failed probe counts as no new trip."""
    clock = ManualClock()
    breaker, probe = probed(clock)
    clock.sleep(10)

    breaker.failed(probe)

    assert (breaker.state, breaker.wait(), breaker.trips, breaker.failures) == ("open", 60, 1, 3)


def test_a_probe_that_answers_slowly_is_the_only_one_and_closes() -> None:
    """Answers take longer than the recovery time: no second probe voids the first one's verdict, which closes."""
    clock = ManualClock()
    breaker, probe = probed(clock, recovery=2)
    for _ in range(5):
        clock.sleep(4)
        assert (breaker.admit(), breaker.wait(), breaker.state) == (None, 2, "half-open")

    breaker.succeeded(probe)

    assert (breaker.state, breaker.wait()) == ("closed", 0)


def test_a_slow_probe_that_fails_is_followed_by_another_a_recovery_time_later() -> None:
    """Its patience ends with its verdict."""
    clock = ManualClock()
    breaker, probe = probed(clock, recovery=2)
    clock.sleep(4)

    breaker.failed(probe)

    assert (breaker.state, breaker.admit(), breaker.wait()) == ("open", None, 2)
    clock.sleep(2)
    assert breaker.admit() is not None


@pytest.mark.parametrize(("recovery", "patience", "lost_after"), [(60, 30, 60), (2, 30, 30)])
def test_a_probe_that_never_reports_keeps_nothing_half_open_for_ever(
    recovery: float, patience: float, lost_after: float
) -> None:
    """When its patience, or the recovery time where that is longer, is over, another one goes; not before."""
    clock = ManualClock()
    breaker = Breaker(clock, failures=1, recovery=recovery, patience=patience)
    breaker.failed(breaker.admit() or 0)
    clock.sleep(recovery)
    assert breaker.admit() is not None
    clock.sleep(lost_after - 1)
    assert (breaker.admit(), breaker.wait()) == (None, 1)
    clock.sleep(1)

    second = breaker.admit()

    assert second is not None
    breaker.succeeded(second)
    assert breaker.state == "closed"


def test_a_probe_without_verdict_is_followed_by_another() -> None:
    """A probe whose task was cancelled blocks nothing for longer than its patience, and its late verdict is void."""
    clock = ManualClock()
    breaker, lost = probed(clock)
    clock.sleep(60)

    second = breaker.admit()

    assert second is not None
    breaker.succeeded(lost)
    assert breaker.state == "half-open"
    breaker.succeeded(second)
    assert breaker.state == "closed"


def test_stragglers_have_no_say() -> None:
    """Calls that began before the breaker opened neither close it nor lengthen its recovery time."""
    clock = ManualClock()
    breaker = Breaker(clock, failures=2, recovery=60)
    tickets = [breaker.admit() or 0 for _ in range(4)]
    breaker.failed(tickets[0])
    breaker.failed(tickets[1])
    clock.sleep(30)

    breaker.failed(tickets[2])
    breaker.succeeded(tickets[3])

    assert (breaker.state, breaker.wait(), breaker.trips) == ("open", 30, 1)


@pytest.mark.parametrize("settings", [{"failures": 0}, {"recovery": 0}])
def test_a_breaker_needs_sane_settings(settings: dict[str, int]) -> None:
    """No failures or no recovery time would be a breaker that is always open or never."""
    with pytest.raises(ValueError, match="breaker"):
        Breaker(ManualClock(), **settings)


@given(st.lists(st.sampled_from(["admit", "succeed", "fail", "wait", "lose"]), max_size=80))
def test_an_open_breaker_lets_one_call_through_a_recovery_time(actions: list[str]) -> None:
    """Model: between a trip and the next success, calls are at least one recovery time apart."""
    clock = ManualClock()
    breaker = Breaker(clock, failures=3, recovery=60)
    tickets: list[int] = []
    admitted: float | None = None
    for action in actions:
        if action == "wait":
            clock.sleep(25)
        elif action == "admit":
            before = breaker.state
            ticket = breaker.admit()
            if ticket is not None:
                tickets.append(ticket)
                if before != "closed":
                    assert admitted is None or clock.steady - admitted >= 60
                    admitted = clock.steady
        elif tickets:
            ticket = tickets.pop()
            {"succeed": breaker.succeeded, "fail": breaker.failed, "lose": lambda _: None}[action](ticket)
        if breaker.state == "closed":
            admitted = None


# -- Failover


def taken(routes: Failover[str], calls: int) -> list[str]:
    """Who gets the next calls, all of them under way at once."""
    leases = [routes.pick() for _ in range(calls)]
    return [lease.target for lease in leases if lease is not None]


def test_targets_are_tried_in_order() -> None:
    """[21] The first target takes everything until its breaker opens; then the second one does, at once."""
    routes = Failover(["a", "b"], ManualClock(), failures=2, recovery=60)
    targets, at_once = [], []
    for _ in range(4):
        lease = routes.pick()
        assert lease is not None
        targets.append(lease.target)
        if lease.target == "a":
            at_once.append(routes.failed(lease))
        else:
            routes.succeeded(lease)

    assert targets == ["a", "a", "b", "b"]
    assert at_once == [False, True]
    assert (routes.current, routes.trips) == (1, 1)


def test_one_worker_of_sixteen_probes_the_first_target() -> None:
    """[21] After the cool-down exactly one call goes to the first target; the others stay with the second."""
    clock = ManualClock()
    routes = Failover(["a", "b"], clock, failures=1, recovery=60)
    lease = routes.pick()
    assert lease is not None
    routes.failed(lease)
    assert taken(routes, 3) == ["b", "b", "b"]
    clock.sleep(60)

    assert taken(routes, 16) == ["a"] + ["b"] * 15


def test_traffic_comes_back_to_the_first_target() -> None:
    """[21] A good probe brings everything back."""
    clock = ManualClock()
    routes = Failover(["a", "b"], clock, failures=1, recovery=60)
    lease = routes.pick()
    assert lease is not None
    routes.failed(lease)
    assert taken(routes, 3) == ["b", "b", "b"]
    clock.sleep(60)
    probe = routes.pick()
    assert probe is not None

    routes.succeeded(probe)

    assert taken(routes, 3) == ["a", "a", "a"]


def test_a_first_target_that_answers_slowly_gets_one_probe_in_its_patience() -> None:
    """Meanwhile the second one takes everything; the success of the probe brings all of it back."""
    clock = ManualClock()
    routes = Failover(["a", "b"], clock, failures=1, recovery=1, patience=90)
    lease = routes.pick()
    assert lease is not None
    routes.failed(lease)
    clock.sleep(1)
    probe = routes.pick()
    assert probe is not None

    clock.sleep(80)
    assert ["a", "b", "b"] == [probe.target, *taken(routes, 2)]
    routes.succeeded(probe)

    assert ["a"] == taken(routes, 1)


def test_a_refusal_of_the_data_stays_where_it_is() -> None:
    """[21] A 400 is an answer: reported as a success it neither opens the breaker nor fails over."""
    routes = Failover(["a", "b"], ManualClock(), failures=1)
    for _ in range(10):
        lease = routes.pick()
        assert lease is not None
        assert lease.target == "a"
        routes.succeeded(lease)

    assert routes.trips == 0


def test_all_down_for_an_hour_is_one_probe_a_recovery_time_and_target() -> None:
    """[21] With every target down, calls are no more than probes, and all is as before when one comes back."""
    clock = ManualClock()
    routes = Failover(["a", "b"], clock, failures=5, recovery=60)
    calls = 0
    while clock.steady < 1_000 + 3_600:
        lease = routes.pick()
        if lease is None:
            clock.sleep(max(routes.wait(), 0.5))
            continue
        calls += 1
        routes.failed(lease)

    assert calls == 2 * 5 + 2 * 59
    clock.sleep(60)
    lease = routes.pick()
    assert lease is not None
    routes.succeeded(lease)
    assert "a" == lease.target == (routes.pick() or lease).target


def test_the_wait_is_that_of_the_first_breaker_to_recover() -> None:
    """`wait` is 0 while somebody may be asked, and else the time until somebody may."""
    clock = ManualClock()
    routes = Failover(["a", "b"], clock, failures=1, recovery=60)
    waits = [routes.wait()]
    for _ in range(2):
        lease = routes.pick()
        assert lease is not None
        routes.failed(lease)
        clock.sleep(10)
        waits.append(routes.wait())

    assert waits == [0, 0, 40]
    assert routes.pick() is None


def test_a_failover_needs_a_target() -> None:
    """Nowhere to go is an error of the caller."""
    with pytest.raises(ValueError, match="target"):
        Failover([], ManualClock())
