from __future__ import annotations

import pytest

from agent.kit.words import count, duration, moment, percent, size


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (41_212_288, "41.2 MB"),
        (999_499, "999 kB"),
        (999_600, "1.0 MB"),
        (412_000_000_000, "412 GB"),
        (3e18, "3000 PB"),
    ],
)
def test_size_has_three_digits(number: float, text: str) -> None:
    """A size shows at most three digits and the unit that fits, up to the largest."""
    assert text == size(number)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0s"),
        (0.4, "0s"),
        (12, "12s"),
        (303, "5m 3s"),
        (3600, "1h"),
        (3605, "1h"),
        (7500, "2h 5m"),
        (273_600, "3d 4h"),
    ],
)
def test_duration_shows_its_two_largest_units(seconds: float, text: str) -> None:
    """A span is told in two neighbouring units, without those that are zero."""
    assert text == duration(seconds)


def test_moment_is_utc() -> None:
    """A time is printed in UTC, whatever zone the machine is in."""
    assert moment(1_795_368_000) == "2026-11-22 17:20:00Z"


@pytest.mark.parametrize(("part", "text"), [(0, "0%"), (0.4, "under 1%"), (82.4, "82%"), (150, "150%")])
def test_percent_never_hides_that_there_is_something(part: float, text: str) -> None:
    """A share is a whole number; a small one is not shown as nothing."""
    assert text == percent(part, 100)


def test_percent_of_nothing_is_nothing() -> None:
    """A whole of zero bytes, as an unmounted file system shows it, is no error."""
    assert percent(5, 0) == "0%"


def test_count_knows_one_from_many() -> None:
    """Nouns follow their numbers, large numbers are grouped."""
    assert [count(n, "segment") for n in (1, 0, 1200)] == ["1 segment", "0 segments", "1,200 segments"]
