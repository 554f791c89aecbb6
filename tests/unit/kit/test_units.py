"""Durations, sizes and percentages as operators write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.kit.units import Duration, Share, Size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("10s", 10),
        ("5m", 300),
        ("1h", 3600),
        ("7d", 604_800),
        ("1h30m", 5400),
        ("1d2h3m4s5ms", 93_784.005),
        ("1.5h", 5400),
        ("0.25s", 0.25),
        ("0", 0),
        ("0s", 0),
    ],
)
def test_duration_text_is_seconds(text: str, seconds: float) -> None:
    """Units from milliseconds to days, alone or from the largest to the smallest, with decimals."""
    assert seconds == Duration(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("10", "has no unit"),
        ("", "is no duration"),
        ("10x", "is no duration"),
        ("-5s", "is no duration"),
        ("30m1h", "is no duration"),
        ("1 h", "is no duration"),
        ("s", "is no duration"),
        ("10s\n", "is no duration"),
        ("0.0001s", "finer than a millisecond"),
        ("36501d", "out of range"),
        ("999999999999d", "out of range"),
    ],
)
def test_wrong_duration_says_why(text: str, why: str) -> None:
    """What is no duration is a ValueError that says what is wrong with it."""
    with pytest.raises(ValueError, match=why):
        Duration(text)


@pytest.mark.parametrize("number", [-1.0, float("nan"), float("inf")])
def test_number_that_is_no_span_of_time_is_refused(number: float) -> None:
    """Negative, infinite and undefined spans are errors at once, not later in arithmetic."""
    with pytest.raises(ValueError, match="out of range"):
        Duration(number)


@given(st.integers(0, 36_500 * 86_400_000))
def test_duration_prints_what_it_parses(milliseconds: int) -> None:
    """The canonical form of every duration in whole milliseconds parses to the same duration."""
    duration = Duration(milliseconds / 1000)

    assert duration == Duration(str(duration))


@pytest.mark.parametrize(("text", "canonical"), [("60m", "1h"), ("90s", "1m30s"), ("1000ms", "1s"), ("0s", "0s")])
def test_duration_prints_in_canonical_form(text: str, canonical: str) -> None:
    """The largest units that fit come first; nothing is 0 but 0 itself."""
    assert canonical == str(Duration(text))
    assert f"Duration({canonical!r})" == repr(Duration(text))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("10MB", 10_000_000),
        ("10MiB", 10_485_760),
        ("500kB", 500_000),
        ("500KB", 500_000),
        ("1KiB", 1024),
        ("1.5GB", 1_500_000_000),
        ("2 TiB", 2 * 2**40),
        ("1PB", 10**15),
        ("7B", 7),
        ("1048576", 1_048_576),
        ("10mb", 10_000_000),
        ("0", 0),
    ],
)
def test_size_text_is_bytes(text: str, count: int) -> None:
    """Decimal and binary units in any case; a number alone is bytes."""
    assert count == Size(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is no size"),
        ("10M", "is no size"),
        ("10Mi", "is no size"),
        ("-1MB", "is no size"),
        ("MB", "is no size"),
        ("10MB ", "is no size"),
        ("1.5B", "no whole number of bytes"),
        ("10000PB", "out of range"),
    ],
)
def test_wrong_size_says_why(text: str, why: str) -> None:
    """What is no size is a ValueError that says what is wrong with it."""
    with pytest.raises(ValueError, match=why):
        Size(text)


def test_negative_number_is_no_size() -> None:
    """A count of bytes is never below zero."""
    with pytest.raises(ValueError, match="out of range"):
        Size(-1)


@given(st.integers(0, 2**63 - 1) | st.builds(lambda a, b: a * 1024**b, st.integers(0, 999), st.integers(0, 5)))
def test_size_prints_what_it_parses(count: int) -> None:
    """The canonical form of every size parses to the same size."""
    assert count == Size(str(Size(count)))


@pytest.mark.parametrize(
    ("count", "canonical"),
    [(10_000_000, "10MB"), (10_485_760, "10MiB"), (1_500_000, "1500kB"), (1024, "1KiB"), (999, "999B"), (0, "0B")],
)
def test_size_prints_its_shortest_exact_form(count: int, canonical: str) -> None:
    """Decimal or binary, whichever is exact and shorter."""
    assert canonical == str(Size(count))
    assert f"Size({canonical!r})" == repr(Size(count))


@pytest.mark.parametrize(("text", "share"), [("10%", 0.1), ("12.5%", 0.125), ("100%", 1.0)])
def test_share_is_a_part_of_one_and_prints_as_percentage(text: str, share: float) -> None:
    """10% is a tenth."""
    assert share == Share(text)
    assert text == str(Share(text))
    assert f"Share({text!r})" == repr(Share(text))


@pytest.mark.parametrize("text", ["0%", "101%", "10", "%", "-1%"])
def test_wrong_share_is_refused(text: str) -> None:
    """A percentage lies above 0 and goes up to 100."""
    with pytest.raises(ValueError, match=r"percentage|out of range"):
        Share(text)
