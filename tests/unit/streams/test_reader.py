"""Reading by position: each record once, in order, from whichever place has it now."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.config import Retention
from agent.kit.errors import AgentError
from agent.streams import follow, reader
from agent.streams.live import Live
from agent.streams.reader import Run
from agent.streams.views import View, view
from tests.support.bench import LEAF, Bench, lines
from tests.unit.streams.conftest import Make


def big(first: int, last: int) -> bytes:
    """Records of 1,000 bytes."""
    return lines(first, last, 1000)


def now(bench: Bench) -> View:
    """The stream as the engine sees it."""
    return view(bench.stream())


def all_from(bench: Bench, position: int, limit: int = 4096) -> tuple[bytes, list[Run]]:
    """Everything from a position on."""
    runs: list[Run] = []
    while run := reader.read(now(bench), position, lambda: now(bench), limit):
        runs.append(run)
        position = run.end
    return b"".join(run.data for run in runs), runs


def half_sealed(bench: Bench) -> None:
    """Three segments of twenty records and ten more live."""
    bench.engine.sealer.copier.member_size = 4096
    writer = bench.writer()
    for number in range(3):
        writer.write(big(number * 20, number * 20 + 20))
        bench.rotate()
    writer.write(big(60, 70) + b'{"half')
    bench.look()


@pytest.mark.parametrize("start", [0, 1000, 19_000, 20_000, 45_000, 60_000, 65_000, 70_000])
def test_segments_and_live_are_one_run(anywhere: Bench, start: int) -> None:
    """From any record on, every record once and in order; a half line is not given."""
    half_sealed(anywhere)
    data, runs = all_from(anywhere, start)

    assert big(start // 1000, 70) == data
    assert all(run.end - run.start == len(run.data) for run in runs)
    assert all(run.data.endswith(b"\n") for run in runs)


@pytest.mark.parametrize(
    ("position", "start"),
    [
        (0, 0), (1, 0), (999, 0), (1000, 1000), (19_999, 19_000), (20_000, 20_000), (45_500, 45_000),
        (60_000, 60_000), (60_001, 60_000), (65_999, 65_000), (70_000, 70_000), (70_003, 70_000), (2**62, 70_000),
    ],
)  # fmt: skip
def test_a_record_is_found_by_any_position_in_it(
    anywhere: Bench, monkeypatch: pytest.MonkeyPatch, position: int, start: int
) -> None:
    """Sealed or live, also where it is longer than what is looked at in one go; the half line at the end is one."""
    half_sealed(anywhere)
    monkeypatch.setattr(reader, "CHUNK", 300)

    assert start == reader.record_start(now(anywhere), position)


def test_a_long_record_is_one_run(bench: Bench) -> None:
    """It is never split, sealed or live."""
    record = b'{"big":"' + b"y" * 50_000 + b'"}\n'
    bench.engine.sealer.copier.member_size = 4096
    writer = bench.writer().write(record)
    bench.rotate()
    writer.write(record)
    bench.look()

    assert [record, record] == [run.data for run in all_from(bench, 0)[1]]


def test_what_was_retired_is_skipped_and_said(make: Make) -> None:
    """A position below the oldest segment: the next record comes with how much was left out, and why."""
    bench = make(retention=Retention(keep=2, max_age=None, max_total=None))
    half_sealed(bench)
    bench.retain()
    run = reader.read(now(bench), 0, lambda: now(bench), 1000)

    assert run
    assert (20_000, 20_000, "retired or lost") == (run.start, run.skipped, run.why)
    assert run.data.startswith(big(20, 21))


def test_damage_is_skipped_and_said(bench: Bench) -> None:
    """Whole good records around a damaged member are given, and nothing of the damaged one."""
    half_sealed(bench)
    path = bench.path / bench.names()[1]
    table = bench.segments()[1].index["members"]
    data = bytearray(path.read_bytes())
    data[table[2][1] - 12] ^= 0xFF
    path.write_bytes(bytes(data))
    got, runs = all_from(bench, 0)

    skipped = [run for run in runs if run.skipped]
    start, end = 20_000 + table[1][0], 20_000 + table[2][0]
    assert big(0, start // 1000) + big(end // 1000, 70) == got
    assert [end - start] == [run.skipped for run in skipped]
    assert "damaged" in skipped[0].why


def test_a_segment_removed_by_hand_is_passed_and_said(bench: Bench) -> None:
    """Nobody retired it and it is gone: what it held is skipped, everything around it is given."""
    half_sealed(bench)
    (bench.path / bench.names()[1]).unlink()
    got, runs = all_from(bench, 0)

    assert big(0, 20) + big(40, 70) == got
    assert [(20_000, "missing")] == [(run.skipped, run.why) for run in runs if run.skipped]


Meanwhile = Callable[[Callable[[], object]], None]


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Something happens while the next live read runs."""

    def during(act: Callable[[], object]) -> None:
        read = Live.read

        def meddling(live: Live, start: int, length: int) -> bytes:
            monkeypatch.setattr(Live, "read", read)
            act()
            return read(live, start, length)

        monkeypatch.setattr(Live, "read", meddling)

    return during


def test_a_read_below_a_new_s_is_discarded(bench: Bench, meanwhile: Meanwhile) -> None:
    """H3: while a live read runs the range is sealed and punched; the segment is read instead, no NUL is given."""
    writer = bench.writer().write(big(0, 50))
    bench.look()
    before = now(bench)
    meanwhile(bench.rotate)
    run = reader.read(before, 0, lambda: now(bench), 30_000)

    assert run
    assert run.data == big(0, 50)[: len(run.data)]
    assert len(run.data) >= 30_000
    assert bytes(4096) == writer.path.read_bytes()[:4096]


def test_a_new_life_during_a_read_is_not_mixed_with_the_old(bench: Bench, meanwhile: Meanwhile) -> None:
    """H3: the writer truncates while we read; bytes of two lives never come as one."""
    writer = bench.writer().write(big(0, 50))
    bench.rotate()
    writer.write(big(50, 60))
    bench.look()
    before = now(bench)
    meanwhile(lambda: (writer.cut().write(big(100, 170)), bench.rotate()))
    run = reader.read(before, 50_000, lambda: now(bench), 5_000)

    assert run
    assert 50_000 + run.skipped == run.start >= 60_000
    assert run.data.startswith(big(100, 105))


def test_nothing_yet_is_none(bench: Bench) -> None:
    """At the end, and where only a half line stands."""
    half_sealed(bench)

    assert reader.read(now(bench), 70_000, lambda: now(bench)) is None


def test_a_file_that_is_gone_gives_its_segments(bench: Bench) -> None:
    """What was sealed stays readable without its live file."""
    half_sealed(bench)
    (bench.path / LEAF).unlink()
    bench.look()

    assert big(0, 60) == all_from(bench, 0)[0]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9000), st.integers(0, 69))
def test_any_limit_and_any_record_boundary(limit: int, first: int) -> None:
    """Whatever is asked for at once, the runs join."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as home:
        bench = Bench(Path(home))
        half_sealed(bench)
        data, runs = all_from(bench, first * 1000, limit)
        bench.close()

    assert big(first, 70) == data
    assert [run.end for run in runs[:-1]] == [run.start for run in runs[1:]]


# -- beside a running agent


def test_records_of_another_process_directory(bench: Bench) -> None:
    """`cat` needs no lock and no agent: segments and live file as one stream."""
    half_sealed(bench)

    assert big(0, 70) == b"".join(follow.records(bench.config, LEAF, clock=bench.clock))
    assert big(33, 70) == b"".join(follow.records(bench.config, LEAF, start=33_000, clock=bench.clock))


@pytest.mark.parametrize("start", [1, 33_500, 59_999, 60_000, 60_001, 65_500, 69_999, 70_000, 70_003, 10**15])
def test_a_stream_from_the_middle_of_a_record(bench: Bench, start: int) -> None:
    """Any byte of it, sealed or live, and also where there is none yet."""
    half_sealed(bench)

    assert big(0, 70)[start:] == b"".join(follow.records(bench.config, LEAF, start=start, clock=bench.clock))


LONG = b"x" * (5 << 19) + b"\n"


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("start", [0, 1000, 2000, 2_000_000])
def test_a_record_too_long_to_be_read_at_once_comes_whole(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, sealed: bool, start: int
) -> None:
    """In pieces, so that it takes no memory; nothing of it is left out and nothing is glued to it."""
    monkeypatch.setattr(follow, "LONGEST", 1 << 20)
    data = big(0, 1) + LONG + big(2, 4)
    bench.writer().write(data)
    bench.look()
    if sealed:
        bench.rotate()
    pieces = list(follow.records(bench.config, LEAF, start=start, clock=bench.clock))

    assert data[start:] == b"".join(pieces)
    assert max(map(len, pieces)) <= 1 << 20


def test_a_long_record_that_is_sealed_while_it_is_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of it comes from its segment: its place in the live file is a hole by then."""
    monkeypatch.setattr(follow, "LONGEST", 1 << 20)
    bench.writer().write(LONG + big(1, 2))
    bench.look()
    found = follow.records(bench.config, LEAF, clock=bench.clock)
    first = next(found)
    bench.rotate()

    assert LONG + big(1, 2) == first + b"".join(found)


Gaps = list[tuple[int, int, str]]


def test_what_cannot_be_read_is_told(bench: Bench) -> None:
    """Where, how much and why; what lies around it is given."""
    half_sealed(bench)
    one = bench.stream().segments[1]
    damage(one.path, 200)
    gaps: Gaps = []
    data = follow.records(bench.config, LEAF, left_out=lambda *gap: gaps.append(gap), clock=bench.clock)

    seen = b"".join(data)
    assert 70_000 - len(seen) == sum(end - start for start, end, _ in gaps) > 0
    assert all(20_000 <= start < end <= 40_000 and why.startswith("damaged") for start, end, why in gaps)


def test_a_segment_without_an_index_is_told_also_as_the_first(bench: Bench) -> None:
    """Nothing is read before it by which it would be missed."""
    half_sealed(bench)
    one = bench.stream().segments[0]
    damage(one.path, os.path.getsize(one.path) - 20)
    gaps: Gaps = []
    data = follow.records(bench.config, LEAF, left_out=lambda *gap: gaps.append(gap), clock=bench.clock)

    assert big(20, 70) == b"".join(data)
    assert [(0, 20_000, "damaged: no readable index")] == gaps


def test_what_was_asked_for_and_is_kept_no_more_is_told(bench: Bench) -> None:
    """From a position on; without one a stream begins with what there is."""
    half_sealed(bench)
    os.unlink(bench.stream().segments[0].path)
    gaps: Gaps = []

    for start in (None, 500):
        data = follow.records(
            bench.config, LEAF, start=start, left_out=lambda *gap: gaps.append(gap), clock=bench.clock
        )
        assert big(20, 70) == b"".join(data)
    assert [(500, 20_000, "retired or lost")] == gaps


def damage(path: str, at: int) -> None:
    """Overwrite some bytes of a file."""
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(b"\0" * 16)


def test_since_a_time(bench: Bench) -> None:
    """What was sealed or written after it."""
    bench.writer().write(big(0, 20))
    bench.rotate()
    bench.clock.advance(100)
    later = bench.clock.now()
    bench.writer().write(big(20, 30))
    bench.rotate()
    bench.writer().write(big(30, 31))

    assert big(20, 31) == b"".join(follow.records(bench.config, LEAF, since=later, clock=bench.clock))


def test_following_across_seals_and_releases(bench: Bench) -> None:
    """`cat --follow` while the agent works: nothing twice, nothing missing."""
    writer = bench.writer().write(big(0, 20))
    bench.look()
    written = [20]

    class Acting:
        """A clock whose sleeping lets the agent and the writer go on."""

        def now(self) -> float:
            return bench.clock.now()

        def monotonic(self) -> float:
            return bench.clock.monotonic()

        def sleep(self, seconds: float) -> None:
            bench.clock.advance(seconds)
            writer.write(big(written[0], written[0] + 10))
            written[0] += 10
            if written[0] % 20:
                bench.rotate()

    seen = b""
    for data in follow.records(bench.config, LEAF, follow=True, stop=lambda: written[0] >= 200, clock=Acting()):
        seen += data

    assert big(0, 200)[: len(seen)] == seen
    assert len(seen) >= 190_000


def test_an_unknown_stream_is_said(bench: Bench) -> None:
    """The error names what there is."""
    bench.writer().write(b"{}\n")
    bench.look()

    with pytest.raises(AgentError, match=LEAF):
        next(follow.records(bench.config, "nope.json", clock=bench.clock))
