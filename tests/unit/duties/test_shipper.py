"""Delivery from files: each case that is about files, cursors or OTLP, with a server that does what it is told."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent import audit
from agent.config import Retention
from agent.config.forward import Unsent
from agent.control import CursorStatus
from agent.duties import shipper
from agent.kit import disk
from agent.kit.disk import Directory
from agent.kit.errors import UnknownError
from agent.sinks.base import ErrorClass
from agent.streams import dues
from agent.streams.cursors import Cursors
from agent.streams.deadletters import DeadLetters
from tests.support.hostile import Hostile, Say, serving
from tests.support.yard import (
    LEAF,
    Duration,
    Size,
    Yard,
    bodies,
    forward,
    letters,
    log,
    numbers,
    once,
    settled,
    ship,
    small,
    span,
    spans,
)

# -- what is sent


def test_what_was_written_arrives_once_and_in_order(tmp_path: Path, server: Hostile) -> None:
    """Live, sealed and live again: one run of records, in the order in which they were written."""
    with Yard(tmp_path, forward(server, batch=small(7, in_flight=1))) as yard:
        yard.write(spans(0, 50))
        yard.look()
        yard.seal()
        yard.write(spans(50, 80))
        yard.run(settled(yard, 80))

    assert list(range(80)) == [number for body in bodies(server) for number in numbers([body])]


def test_case_1_numbers_arrive_exact(tmp_path: Path, server: Hostile) -> None:
    """Case 1: 64-bit numbers become exact strings on the wire, ids and unknown keys stay, the kind is an integer."""
    line = (
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C","kind":2,'
        b'"startTimeUnixNano":1581452772000000321,"futureField":1,"links":[{"traceId":""}],'
        b'"attributes":[{"key":"a","value":{"intValue":9007199254740993}}]}]}]}]}\n'
    )
    (tmp_path / LEAF).write_bytes(line)
    ship(tmp_path, server, 1)

    (sent,) = json.loads(bodies(server)[0])["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert "1581452772000000321" == sent["startTimeUnixNano"]
    assert {"intValue": "9007199254740993"} == sent["attributes"][0]["value"]
    assert ("5B8EFFF798038103D269B633813FC60C", 1, 2) == (sent["traceId"], sent["futureField"], sent["kind"])


def test_case_2_what_is_no_otlp_is_a_dead_letter(tmp_path: Path, server: Hostile) -> None:
    """Case 2: it is never sent, the letter has place and reason, the cursor passes it, the books say one each."""
    bad = b'{"one":"two"}\n', b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":"SPAN_KIND_SERVER"}]}]}]}\n'
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(span(1) + bad[0] + bad[1] + span(2))
        yard.run(settled(yard, 4))
        assert (2, 2) == (yard.status().delivered, yard.status().dead_lettered)
        assert 0 == yard.status().backlog_bytes

    assert {1: 1, 2: 1} == numbers(bodies(server))
    found = letters(tmp_path)
    assert [line.decode() for line in bad] == [one["record"] for one in found]
    assert [len(span(1)), len(span(1) + bad[0])] == [one["start"] for one in found]
    assert [ErrorClass.NOT_OTLP] * 2 == [one["kind"] for one in found]
    assert found[1]["reason"].startswith("enum: resourceSpans[0]")


def test_case_2_a_record_nested_at_the_limit_ends_nothing(tmp_path: Path, server: Hostile) -> None:
    """How deep the decoder goes hangs on who calls it: at any depth a record is sent, or a dead letter, for good."""

    def deep(depth: int) -> bytes:
        return span(3)[:-2] + b',"x":' + b"[" * depth + b"]" * depth + b"}\n"

    with Yard(tmp_path, forward(server)) as yard:
        yard.write(span(1) + b"".join(map(deep, range(850, 1010))) + span(2))
        yard.run(settled(yard, 162))
        assert 162 == yard.status().delivered + yard.status().dead_lettered

    assert {1: 1, 2: 1} == {number: count for number, count in numbers(bodies(server)).items() if number != 3}
    assert {"structure: nested too deeply"} == {one["reason"] for one in letters(tmp_path)}


def test_case_3_a_mixed_file_is_routed_by_signal(tmp_path: Path, server: Hostile) -> None:
    """Case 3: traces and logs go to their paths; a line of both holds the cursor until both halves are taken."""
    both = span(3)[:-2] + b"," + log(4)[1:]
    server.will(Say(), Say(503), Say())
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(span(1) + log(2) + both)
        yard.run(settled(yard, 3))

    assert {1: 2, 3: 2} == numbers(bodies(server)) or {1: 1, 3: 1} == numbers(bodies(server))
    logs = b"".join(set(bodies(server, "/v1/logs")))
    assert b'"n2"' in logs
    assert b'"n4"' in logs


def test_case_4_empty_envelopes_are_not_sent(tmp_path: Path, server: Hostile) -> None:
    """Case 4: no POST, the cursor advances, the empty ones are counted."""
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(b'{"resourceSpans":[]}\n\n{}\n')
        yard.run(settled(yard, 3))

        assert 3 == yard.status().empty
        assert 0 == yard.status().backlog_bytes
    assert [] == server.heard


def test_case_5_a_half_line_waits_for_its_other_half(tmp_path: Path, server: Hostile) -> None:
    """Case 5: three lines and a half, a restart, the rest: exactly four whole records."""
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(spans(0, 3) + span(3)[:20])
        yard.run(settled(yard, 3))
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(span(3)[20:])
        yard.run(settled(yard, 1))

    assert once(0, 4) == numbers(bodies(server))
    assert [] == letters(tmp_path)


@pytest.mark.parametrize("sealed", [False, True])
def test_case_6_long_records(tmp_path: Path, server: Hostile, sealed: bool) -> None:
    """Case 6: 100 KiB, 1 MiB and 4 MiB are delivered; one over the limit is a dead letter, the next one goes on."""
    sizes = (100 << 10) + 1, (1 << 20) + 1, 4 << 20
    limit = 5 << 20
    with Yard(tmp_path, forward(server, max_record=Size(limit))) as yard:
        for number, size in enumerate(sizes):
            yard.write(span(number, size))
        yard.write(span(3, limit) + span(4))
        yard.look()
        if sealed:
            yard.seal()
        yard.run(settled(yard, 5))

    assert {0: 1, 1: 1, 2: 1, 4: 1} == numbers(bodies(server))
    (letter,) = letters(tmp_path)
    assert (ErrorClass.TOO_LARGE, len(span(3, limit))) == (letter["kind"], letter["end"] - letter["start"])
    assert span(3, limit).decode() == letter["record"]


def test_case_6_a_record_over_64_mib_is_cut(tmp_path: Path, server: Hostile) -> None:
    """Case 6: 64 MiB and a byte, by default: the letter keeps its beginning and says so; the next line is delivered."""
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(span(0, 64 << 20) + span(1))
        yard.run(settled(yard, 2))

    (letter,) = letters(tmp_path)
    assert letter["truncated"]
    assert 64 << 10 == len(letter["record"])
    assert {1: 1} == numbers(bodies(server))


@pytest.mark.parametrize("width", [0, 70_000])
def test_case_7_files_that_begin_alike_are_both_delivered(tmp_path: Path, server: Hostile, width: int) -> None:
    """Case 7: equal in their first 64 KiB, or byte for byte: a stream is not known by its content."""
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(span(1, width) + span(2), "a.json")
        yard.write(span(1, width) + span(2), "b.json")
        yard.run(settled(yard, 4))

    assert {1: 2, 2: 2} == numbers(bodies(server))


# -- sealing meanwhile


@pytest.mark.parametrize("when", [0, 1, 3])
def test_case_8_sealing_while_it_is_read_moves_nothing(tmp_path: Path, server: Hostile, when: int) -> None:
    """Case 8: live becomes .gz before the first read, or between two batches: none lost, none twice."""
    sealed: list[int] = []

    with Yard(tmp_path, forward(server, batch=small(5, in_flight=1))) as yard:
        yard.write(spans(0, 40))
        done = settled(yard, 40)

        def until() -> bool:
            if len(server.heard) >= when and not sealed:
                sealed.append(len(server.heard))
                yard.seal()
            return done()

        yard.run(until)

    assert sealed
    assert once(0, 40) == numbers(bodies(server))


def test_case_8_sealing_in_the_middle_of_a_line_and_of_a_request(tmp_path: Path, server: Hostile) -> None:
    """Case 8: half a line is there, and a batch was heard but not answered: that one comes again, as the same bytes."""
    server.will(Say(end="stall"), Say())
    state: list[int] = []
    with Yard(tmp_path, forward(server, timeout=Duration(30), batch=small(5, in_flight=2))) as yard:
        yard.write(spans(0, 10) + span(10)[:17])
        done = settled(yard, 11)

        def until() -> bool:
            if len(server.heard) >= 2 and not state:
                state.append(1)
                yard.seal()
                yard.write(span(10)[17:])
                server.released.set()
            return done()

        yard.run(until)

    stalled = server.heard[0]  # either of the two that were under way
    assert once(0, 11) + numbers([stalled.body]) == numbers(bodies(server))
    assert 2 == [heard.raw for heard in server.heard].count(stalled.raw)


def test_case_8_sealing_during_an_outage_and_while_stopped(tmp_path: Path, server: Hostile) -> None:
    """Case 8: the batch that waits is sent as the same bytes, from wherever they lie now."""
    server.will(Say(503))
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(spans(0, 10))
        yard.run(lambda: len(server.heard) >= 2)
        yard.seal()
    first = bodies(server)[0]
    server.will(Say())
    ship(tmp_path, server, 10)

    assert {first} == set(bodies(server))


def test_case_9_damage_costs_what_is_damaged(tmp_path: Path, server: Hostile) -> None:
    """Case 9: a member with a bad CRC is counted and skipped; every whole record around it is delivered once."""
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(spans(0, 3000, 1000))
        yard.look()
        yard.seal()
    (segment,) = tmp_path.glob("*.gz")
    data = bytearray(segment.read_bytes())
    middle = slice(len(data) // 2, len(data) // 2 + 64)
    data[middle] = bytes(64)  # one byte may be a distance within a run of the same letters, which changes nothing
    segment.write_bytes(data)

    with Yard(tmp_path, forward(server)) as yard:
        yard.run(lambda: yard.status().backlog_bytes == 0 and yard.status().unsettled == 0)
        unreadable = yard.status().unreadable_bytes

    arrived = numbers(bodies(server))
    missing = set(range(3000)) - set(arrived)
    assert {1} == set(arrived.values())
    assert unreadable == sum(len(span(number, 1000)) for number in missing)
    assert 0 < len(missing) < 1200
    assert {0, 2999} <= set(arrived)


@pytest.mark.parametrize("more", [None, bytes(5000), b"x"], ids=["cut", "zeros", "garbage"])
def test_case_9_a_segment_whose_end_is_damaged_is_told_and_holds_nothing_up(
    tmp_path: Path, server: Hostile, more: bytes | None
) -> None:
    """Case 9: cut short, zeros or garbage behind: audited, counted as unreadable, left as it is; the rest arrives.

    Of what it holds only those last bytes come by which the live file is known again: they still stand there.
    """
    with Yard(tmp_path, forward(server)) as yard:
        for first in (0, 300):
            yard.write(spans(first, first + 300, 1000))
            yard.look()
            yard.seal()
        yard.write(spans(600, 610))
    newest = max(tmp_path.glob("*.gz"), key=lambda one: (len(one.name), one.name))
    content = newest.read_bytes()
    newest.write_bytes(damaged := content[:-100] if more is None else content + more)

    with Yard(tmp_path, forward(server)) as yard:
        yard.run(lambda: yard.status().delivered >= 310 and not yard.status().backlog_bytes)
        assert len(spans(300, 600, 1000)) == yard.status().unreadable_bytes

    arrived = numbers(bodies(server))
    assert {*range(300), *range(600, 610)} <= set(arrived) <= {*range(300), *range(590, 610)}
    assert {1} == set(arrived.values())
    assert damaged == newest.read_bytes()
    assert b"damaged segment" in (tmp_path / ".telemetry-agent/audit.jsonl").read_bytes()


@pytest.mark.parametrize("which", [[0], [1], [2], [0, 1], [1, 2], [0, 1, 2]], ids=str)
def test_case_9_a_new_forward_counts_every_segment_whose_end_is_damaged(
    tmp_path: Path, server: Hostile, which: list[int]
) -> None:
    """Case 9: the oldest ones too, before which nothing lies that says where the stream began."""
    with Yard(tmp_path, forward(server)) as yard:
        for first in (0, 300, 600):
            yard.write(spans(first, first + 300, 1000))
            yard.look()
            yard.seal()
        yard.write(spans(900, 910))
    segments = sorted(tmp_path.glob("*.gz"), key=lambda one: (len(one.name), one.name))
    for number in which:
        segments[number].write_bytes(segments[number].read_bytes()[:-100])

    with Yard(tmp_path, forward(server)) as yard:
        yard.run(lambda: yard.status().delivered >= 910 - 300 * len(which) and not yard.status().backlog_bytes)
        unreadable = yard.status().unreadable_bytes

    lost = sum(len(spans(300 * number, 300 * number + 300, 1000)) for number in which)
    assert lost == unreadable


def test_case_9_a_segment_that_was_put_together_twice_is_delivered_once(tmp_path: Path, server: Hostile) -> None:
    """Case 9: two copies in one file: its index tells of one."""
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(spans(0, 300, 1000))
        yard.look()
        yard.seal()
    (segment,) = tmp_path.glob("*.gz")
    segment.write_bytes(segment.read_bytes() * 2)
    ship(tmp_path, server, 300)

    assert once(0, 300) == numbers(bodies(server))


def truncate_once(yard: Yard, path: Path, delivered: int, records: int, write: Callable[[], object]) -> None:
    """Ship until so many are delivered, truncate, `write()`, and ship until so many records are settled."""
    first, second = settled(yard, delivered), settled(yard, records)
    cut: list[int] = []

    def until() -> bool:
        if first() and not cut:
            cut.append(1)
            os.truncate(path, 0)
            yard.look()
            write()
        return second()

    yard.run(until)


def test_case_10_a_truncated_file_is_read_from_its_head(tmp_path: Path, server: Hostile) -> None:
    """Case 10: what stands there after copytruncate is new, though shorter and in the same inode."""
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(spans(0, 20))
        truncate_once(yard, tmp_path / LEAF, 20, 25, lambda: yard.write(spans(20, 25)))

    assert once(0, 25) == numbers(bodies(server))


def test_case_10_what_a_writer_goes_on_with_behind_a_truncation_is_delivered_at_once(
    tmp_path: Path, server: Hostile
) -> None:
    """Case 10: it keeps its place, so the file begins with NULs; they hold nothing up, and are neither lag nor loss."""
    with Yard(tmp_path, forward(server)) as yard, (tmp_path / LEAF).open("wb", buffering=0) as writer:
        writer.write(spans(0, 2000))
        truncate_once(yard, tmp_path / LEAF, 2000, 2005, lambda: writer.write(spans(2000, 2005)))
        assert (0, 0) == (yard.status().backlog_bytes, yard.status().unreadable_bytes)

    assert once(0, 2005) == numbers(bodies(server))


def test_case_10_a_new_file_in_the_same_place_is_read_from_its_head(tmp_path: Path, server: Hostile) -> None:
    """Case 10: deleted and made again while the agent was stopped, its inode used again, its time older."""
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(spans(0, 20))
        yard.run(settled(yard, 20))
    (tmp_path / LEAF).unlink()
    (tmp_path / LEAF).write_bytes(spans(20, 30))
    os.utime(tmp_path / LEAF, (1, 1))
    ship(tmp_path, server, 10)

    assert once(0, 30) == numbers(bodies(server))


# -- what the engine refuses


def test_a_document_among_the_files_is_no_backlog(tmp_path: Path, server: Hostile) -> None:
    """It matches and grows, but is no log: no lag and no cursor; once it is a log it is delivered."""
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(b'{\n "name": "x"\n}\n', "package.json")
        yard.write(spans(0, 3))
        first, second = settled(yard, 3), settled(yard, 5)
        seen: list[tuple[int, float, list[str]]] = []

        def until() -> bool:
            if first() and not seen:
                yard.write(b'{\n "more": "y"\n}\n', "package.json")
                yard.look()
                now = yard.status()
                seen.append((now.backlog_bytes, now.lag_seconds, [one.stream for one in yard.forwards.cursors()]))
                (tmp_path / "package.json").write_bytes(spans(3, 5))
            return second()

        yard.run(until)

    assert [(0, 0.0, [LEAF])] == seen
    assert once(0, 5) == numbers(bodies(server))


def test_what_cannot_be_rotated_is_delivered_all_the_same(tmp_path: Path, server: Hostile) -> None:
    """A file system that gives nothing back, refused before the first byte was written: reading needs no more."""
    with Yard(tmp_path, forward(server)) as yard:
        (tmp_path / LEAF).touch()
        yard.look()
        engine = yard.keeper.engine
        engine.catalog.places[""].filesystem = "nfs"
        dues.find(engine.tools, engine.catalog.all())
        yard.write(spans(0, 10))
        yard.run(settled(yard, 10))
        refused = [one.refused.reason for one in engine.catalog.all() if one.refused]

        assert ["filesystem"] == refused
        assert 0 == yard.status().backlog_bytes
    assert once(0, 10) == numbers(bodies(server))
    audit = (tmp_path / ".telemetry-agent/audit.jsonl").read_bytes()
    assert 1 == audit.count(b'"refuse"')


# -- cursors


def test_case_12_without_cursor_files_everything_is_sent_again(tmp_path: Path, server: Hostile) -> None:
    """Case 12: both generations damaged: the earliest position, though `latest` is configured; never further on.

    Each is told, once, in log and audit trail.
    """
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(spans(0, 10))
        yard.run(settled(yard, 10))
    for file in (tmp_path / ".telemetry-agent").glob("cursor-*.json"):
        file.write_bytes(file.read_bytes()[:30])
    ship(tmp_path, server, 10, start="latest")
    ship(tmp_path, server, 0)

    assert dict.fromkeys(range(10), 2) == numbers(bodies(server))
    trail = [json.loads(line) for line in (tmp_path / ".telemetry-agent/audit.jsonl").read_bytes().splitlines()]
    told = [one["why"] for one in trail if one["event"] == "error" and one["reason"] == "cursor"]
    assert [f"cursor-out.{slot}.json" in why and "damaged" in why for slot, why in enumerate(told)] == [True, True]


@pytest.mark.parametrize(("start", "again"), [("earliest", 2), ("latest", 1)])
def test_without_the_state_directory_the_first_run_comes_again(
    tmp_path: Path, server: Hostile, start: str, again: int
) -> None:
    """Its loss costs duplicates with `earliest`, and with `latest` nothing that comes later."""
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(spans(0, 10))
        yard.run(settled(yard, 10))
        yard.seal()
    shutil.rmtree(tmp_path / ".telemetry-agent")
    with Yard(tmp_path, forward(server, start=start)) as yard:
        written: list[int] = []

        def until() -> bool:
            if not written and yard.forwards.cursors():
                yard.write(spans(10, 12))
                written.append(2)
            return 11 in numbers(bodies(server))

        yard.run(until)

    assert {number: again if number < 10 else 1 for number in range(12)} == numbers(bodies(server))


def test_a_first_run_may_begin_at_the_end(tmp_path: Path, server: Hostile) -> None:
    """`latest` leaves out what was there, from a record's border on, but not files that come later."""
    (tmp_path / LEAF).write_bytes(spans(0, 10) + span(10)[:9])
    with Yard(tmp_path, forward(server, start="latest")) as yard:
        done = settled(yard, 2)
        state: list[int] = []

        def until() -> bool:
            if not state and yard.forwards.cursors():
                yard.write(span(10)[9:])
                yard.write(span(11), "later.json")
                state.append(1)
            return done()

        yard.run(until)

    assert once(10, 12) == numbers(bodies(server))


def test_what_was_retired_before_a_consumer_came_is_none_of_its_losses(tmp_path: Path, server: Hostile) -> None:
    """Everything sealed was deleted by rule, and the live file goes on: a new consumer begins where that ends."""
    with Yard(tmp_path, retention=Retention(keep=0, max_age=None, max_total=Size(1))) as yard:
        yard.write(spans(0, 500))
        yard.look()
        yard.seal()
        yard.keeper.retain()
    assert [0] == [len(gzip.decompress(one.read_bytes())) for one in tmp_path.glob("*.gz")]
    yard.write(spans(500, 505))
    with Yard(tmp_path, forward(server)) as yard:
        assert (0, 0) == (yard.status().backlog_bytes, yard.status().unreadable_bytes)
        yard.run(settled(yard, 5))
        assert 0 == yard.status().unreadable_bytes

    assert once(500, 505) == numbers(bodies(server))


def test_case_13_no_space_for_a_cursor_holds_sending_up(
    tmp_path: Path, server: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 13: nothing goes out whose bounds are not durable; with space again everything does, once."""
    failures: list[OSError] = []
    write = disk.write_atomic

    def full(directory: Directory, name: str, content: bytes, mode: int = 0o600) -> None:
        if name.startswith("cursor-") and len(failures) < 1:
            failures.append(OSError(28, "No space left on device"))
            assert not server.heard
            raise failures[-1]
        write(directory, name, content, mode)

    monkeypatch.setattr(disk, "write_atomic", full)
    ship(tmp_path_with(tmp_path, spans(0, 10)), server, 10)

    assert failures
    assert once(0, 10) == numbers(bodies(server))


def tmp_path_with(path: Path, data: bytes) -> Path:
    """The directory, with this in its live file."""
    (path / LEAF).write_bytes(data)
    return path


def test_small_batches_share_a_write_of_their_bounds(
    tmp_path: Path, server: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight places, eight batches a write: what each of them waited for was the disk. Large ones go out at once."""
    begun: list[int] = []
    save = Cursors.save

    def saved(cursors: Cursors) -> bool:
        begun.append(sum(len(one.inflight) for one in cursors.snapshot().values()))
        return save(cursors)

    monkeypatch.setattr(Cursors, "save", saved)
    keys = {"max_bytes": Size(4 * len(span(10)))}
    with Yard(tmp_path, forward(server, batch=small(1, in_flight=8))) as yard:
        yard.write(spans(10, 26))
        yard.run(settled(yard, 16))
    assert 8 == next(filter(None, begun))
    assert once(10, 26) == numbers(bodies(server))

    begun.clear()
    with Yard(tmp_path, forward(server, batch=small(2, in_flight=8, **keys))) as yard:
        yard.write(spans(26, 42))
        yard.run(settled(yard, 16))
    assert 1 == next(filter(None, begun))
    assert once(10, 42) == numbers(bodies(server))


def test_moving_a_cursor_back_sends_again(tmp_path: Path, server: Hostile) -> None:
    """A reset while it runs: from that position on, each record once more."""
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(spans(0, 10))
        first, second = settled(yard, 10), settled(yard, 16)
        moved: list[list[CursorStatus]] = []

        def until() -> bool:
            if first() and not moved:
                moved.append(yard.forwards.reset_cursor("out", [LEAF], position=4 * len(span(0))))
            return second()

        yard.run(until)

    assert {number: 1 if number < 4 else 2 for number in range(10)} == numbers(bodies(server))
    assert [4 * len(span(0))] == [one.position for one in moved[0]]


def test_a_segment_removed_by_hand_is_counted_and_passed(tmp_path: Path, server: Hostile) -> None:
    """Before it was read: its bytes are unreadable, audited as missing, and what follows arrives without a restart."""
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(spans(0, 10))
        yard.look()
        yard.seal()
        for one in tmp_path.glob("*.gz"):
            one.unlink()
        yard.write(spans(10, 15))
        yard.look()
        yard.run(settled(yard, 5))
        ledger = yard.forwards.consumers["out"].book.snapshot()

    assert once(10, 15) == numbers(bodies(server))
    assert {"missing": len(spans(0, 10))} == ledger.unreadable
    trail = [json.loads(line) for line in (tmp_path / ".telemetry-agent/audit.jsonl").read_bytes().splitlines()]
    assert ["missing"] == [one["why"] for one in trail if one["event"] == "loss"]


# -- the disk


class Told:
    """A log that keeps what it was told."""

    def __init__(self, told: list[str]) -> None:
        self.error = self.warning = self.info = lambda event, **_: told.append(event)


def test_a_disk_that_takes_no_positions_is_told_and_so_is_its_end(
    tmp_path: Path, server: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent whose bounds are not durable; once they are, delivery goes on by itself and says so."""
    told: list[str] = []
    monkeypatch.setattr(shipper, "_log", Told(told))
    real = Cursors.save
    full = [OSError(errno.ENOSPC, "No space left on device")]

    def save(cursors: Cursors) -> None:
        if full and not server.heard:
            raise full.pop()
        real(cursors)

    monkeypatch.setattr(Cursors, "save", save)
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(spans(0, 3))
        yard.run(settled(yard, 3))

    assert ["delivery stands", "delivery goes on"] == told
    assert once(0, 3) == numbers(bodies(server))


# -- consumers beside each other, and retention


def test_case_23_a_dead_destination_holds_nobody_else(tmp_path: Path, server: Hostile) -> None:
    """Case 23: B has everything although A takes nothing; what A wants is not deleted; when A lives, it gets it."""
    server.will(Say(503))
    rules = Retention(keep=1, max_age=None, max_total=None)
    with serving() as other:
        both = forward(server), forward(other, name="second")
        with Yard(tmp_path, *both, retention=rules) as yard:
            yard.write(spans(0, 10))
            yard.look()
            yard.seal()
            yard.write(spans(10, 20))
            yard.look()
            yard.seal()
            yard.run(settled(yard, 20, "second"))
            yard.seal()
            assert 2 == len(list(tmp_path.glob("*.gz")))
        server.will(Say())
        with Yard(tmp_path, *both, retention=rules) as yard:
            yard.run(settled(yard, 20))
            yard.look()
            yard.seal()

            assert 1 == len(list(tmp_path.glob("*.gz")))
        assert once(0, 20) == numbers(bodies(other))
    assert set(range(20)) == set(numbers(bodies(server)))


def test_case_23_what_policy_gives_up_is_lost_by_name(tmp_path: Path, server: Hostile) -> None:
    """Case 23: beyond the bounds of drop_oldest retention may delete; that is lost, reason unsent, and audited."""
    server.will(Say(503))
    rules = Retention(keep=1, max_age=None, max_total=None)
    unsent = Unsent(when_full="drop_oldest", max_bytes=Size(10))
    with Yard(tmp_path, forward(server, unsent=unsent), retention=rules) as yard:
        for first in (0, 10):
            yard.write(spans(first, first + 10))
            yard.look()
            yard.seal()
        assert 1 == len(list(tmp_path.glob("*.gz")))
    server.will(Say())
    with Yard(tmp_path, forward(server, unsent=unsent), retention=rules) as yard:
        yard.run(settled(yard, 10))
        gone = yard.status().unreadable_bytes

    audit = [json.loads(line) for line in (tmp_path / ".telemetry-agent/audit.jsonl").read_bytes().splitlines()]
    lost = [entry for entry in audit if entry["event"] == "loss" and entry["reason"] == "unsent"]
    assert [len(spans(0, 10))] == [entry["bytes"] for entry in lost]
    assert once(10, 20) == numbers(bodies(server))
    assert gone in (0, len(spans(0, 10)))


def test_letters_without_space_are_a_loss_that_is_told(tmp_path: Path, server: Hostile) -> None:
    """Beyond `dead_letters` the oldest go: each is counted, and in the audit trail."""
    server.will(Say(400))
    with Yard(tmp_path, forward(server, batch=small(2), dead_letters=Size("4KB"))) as yard:
        yard.write(spans(0, 40))
        yard.run(settled(yard, 40))
        dropped = yard.forwards.consumers["out"].book.snapshot().letters_dropped

    trail = [json.loads(line) for line in (tmp_path / ".telemetry-agent/audit.jsonl").read_bytes().splitlines()]
    with Directory.open(str(tmp_path / ".telemetry-agent")) as state:
        kept = len(list(DeadLetters(state, "out").all()))
    told = [one["records"] for one in trail if (one["event"], one.get("reason")) == ("loss", "dead_letters")]
    assert 0 < dropped == 40 - kept == sum(told)


def audited(path: Path, event: str) -> list[dict[str, Any]]:
    """The audit trail's entries of one kind, without their times."""
    with Directory.open(str(path / ".telemetry-agent")) as state:
        found = [entry for entry in audit.read(state) if entry["event"] == event]
    return [{key: value for key, value in entry.items() if key not in ("time", "event")} for entry in found]


def test_a_moved_cursor_is_audited(tmp_path: Path, server: Hostile) -> None:
    """Back and forth: who cannot be known, but forward, stream, from where to where, and how much lies between."""
    size = len(span(0))
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(spans(0, 10))
        yard.look()
        yard.seal()
        yard.run(settled(yard, 10))
        yard.forwards.reset_cursor("out", [LEAF], position=4 * size)
        yard.forwards.reset_cursor("out", [], position=2**62)
        with pytest.raises(UnknownError):
            yard.forwards.reset_cursor("out", ["no.json"], position=0)

    common = {
        "stream": LEAF, "reason": "cursors reset", "forward": "out", "positions": [4 * size, 10 * size],
        "bytes": 6 * size, "records": 6,
    }  # fmt: skip
    assert [
        {**common, "before": 10 * size, "after": 4 * size},
        {**common, "before": 4 * size, "after": 10 * size},
    ] == audited(tmp_path, "command")


def test_records_that_nobody_can_count_yet_are_left_open(tmp_path: Path, server: Hostile) -> None:
    """Before the first seal nothing says how long a record is."""
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(spans(0, 10))
        yard.look()
        yard.forwards.reset_cursor("out", [], position=2**62)
        (told,) = audited(tmp_path, "command")

    assert (0, 10 * len(span(0)), None) == (told["before"], told["after"], told["records"])


def test_dropped_letters_are_audited_by_stream(tmp_path: Path, server: Hostile) -> None:
    """One entry for each stream, however many letters; none where there was nothing to drop."""
    bad = b'{"one":"two"}\n'
    with Yard(tmp_path, forward(server)) as yard:
        yard.write(bad + span(1) + bad)
        yard.write(bad, "other.json")
        yard.run(settled(yard, 4))
        assert 3 == yard.forwards.drop_letters("out", [])
        assert 0 == yard.forwards.drop_letters("out", [])

    common = {"reason": "dead-letters drop", "forward": "out"}
    told = sorted(audited(tmp_path, "command"), key=lambda one: one["stream"])
    assert [
        {"stream": "other.json", **common, "letters": 1, "positions": [0, len(bad)], "bytes": len(bad)},
        {
            "stream": LEAF, **common, "letters": 2, "positions": [0, len(bad + span(1) + bad)], "bytes": 2 * len(bad),
        },
    ] == told  # fmt: skip
