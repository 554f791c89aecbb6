"""Names of segments and parts round-trip and fit the file system."""

from __future__ import annotations

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.streams import names

LEAVES = st.binary(min_size=1, max_size=255).map(lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"_"))
TIMES = st.integers(0, 253_402_300_799)


@given(LEAVES, TIMES, st.integers(0, 99_999))
@example(b"telemetry.json", 1_729_614_600, 0)
@example(b"a.b_20240101_000000", 1_729_614_600, 0)
@example(b"a_20240101_000000_7.json", 1_729_614_600, 12)
@example(b"a.", 0, 1)
@example(b".json", 0, 0)
@example(b"x" * 255, 0, 99_999)
@example(b"y" * 200 + b"." + b"z" * 54, 0, 0)
def test_a_segments_name_round_trips(raw: bytes, time: int, n: int) -> None:
    """M2: parse(format(x)) == x for every name a file may have, and the result fits 255 bytes."""
    name = names.segment_name(os.fsdecode(raw), time, n)

    assert name == names.parse(name.format())
    assert names.NAME_MAX >= len(os.fsencode(name.format()))
    assert (time, n) == (name.time, name.n)


def test_the_name_is_the_documented_one() -> None:
    """The contract of the format: stem, UTC time, suffix, `.gz`."""
    assert "telemetry_20241022_163000.json.gz" == names.segment_name("telemetry.json", 1_729_614_600).format()
    assert "telemetry_20241022_163000_2.json.gz" == names.segment_name("telemetry.json", 1_729_614_600, 2).format()


@pytest.mark.parametrize(
    "name",
    ["telemetry.json.gz", "telemetry-2024-10-22T16-30-00.000.json.gz", "a_20241322_163000.json.gz",
     "a_20241022_163000_0.json.gz", "_20241022_163000.gz", "a_20241022_163000.json", "a_20241022_163000_01.json.gz"],
)  # fmt: skip
def test_foreign_names_are_not_ours(name: str) -> None:
    """Case 22: others' archives are not of our form, and an impossible date is no date."""
    assert names.parse(name) is None


@given(LEAVES)
def test_a_parts_name_is_hidden_and_fits(raw: bytes) -> None:
    """A part is never a stream, and two long names that begin alike have different parts."""
    part = names.part_name(os.fsdecode(raw))

    assert names.is_part(part)
    assert part.startswith(".")
    assert names.NAME_MAX >= len(os.fsencode(part))


def test_long_names_that_begin_alike_stay_apart() -> None:
    """M2: the cut name carries a hash of the whole one."""
    one, two = "x" * 250 + "a.log", "x" * 250 + "b.log"

    assert names.part_name(one) != names.part_name(two)
    assert names.segment_name(one, 0) != names.segment_name(two, 0)
