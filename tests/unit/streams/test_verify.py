"""`verify` names every kind of damage, and nothing that is sound."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config import Retention
from agent.kit.units import Duration, Size
from agent.streams import verify as verifying
from agent.streams.catalog import Place
from agent.streams.verify import Finding, verify
from tests.support.bench import LEAF, Bench, lines
from tests.torture import segments as format_
from tests.unit.streams.conftest import Make


def big(first: int, last: int) -> bytes:
    """Records of 1,000 bytes."""
    return lines(first, last, 1000)


def filled(bench: Bench) -> None:
    """Three segments of several members, and live records."""
    bench.engine.sealer.copier.member_size = 4096
    writer = bench.writer()
    for number in range(3):
        writer.write(big(number * 20, number * 20 + 20))
        bench.rotate()
    writer.write(big(60, 61))


def found(bench: Bench) -> list[Finding]:
    """What is wrong, once the agent ended."""
    bench.stop()
    return verify(bench.config)


def segment(bench: Bench, number: int) -> Path:
    """A segment's path."""
    return bench.path / bench.names()[number]


def test_a_sound_directory(anywhere: Bench) -> None:
    """Also while the live file has holes, a rest and a half line."""
    filled(anywhere)

    assert [] == found(anywhere)


def test_a_sound_directory_beside_its_agent(bench: Bench) -> None:
    """It takes no lock and changes nothing."""
    filled(bench)
    before = sorted(os.listdir(bench.path))

    assert [] == verify(bench.config)
    assert before == sorted(os.listdir(bench.path))


@pytest.mark.parametrize("does", ["retires", "publishes"])
def test_a_sound_directory_that_its_agent_changes_meanwhile(
    make: Make, monkeypatch: pytest.MonkeyPatch, does: str
) -> None:
    """A segment that retention deleted since the look, or an open part that became one, is nothing wrong."""
    bench = make(retention=Retention(keep=2, max_age=None, max_total=None), capture=Duration(1))
    filled(bench)
    bench.clock.advance(2)
    bench.step()
    assert bench.stream().open_part
    real, done = verifying._place, list[str]()

    def meanwhile(place: Place) -> Iterator[Finding]:
        if not done and does == "retires":
            done.extend(bench.retain())
        elif not done:
            done.extend(one.reason for one in bench.rotate())
        return real(place)

    monkeypatch.setattr(verifying, "_place", meanwhile)

    assert [] == verify(bench.config)
    assert done


def test_after_retention_the_chain_begins_at_its_mark(make: Make) -> None:
    """What retention deleted is no gap; a lone marker is sound too."""
    bench = make(retention=Retention(keep=1, max_age=None, max_total=None))
    filled(bench)
    bench.retain()
    assert [] == found(bench)
    bench.retention = Retention(keep=0, max_age=None, max_total=Size(0))
    bench.look()
    bench.release()
    bench.retain(1)

    assert [] == found(bench)


def test_live_shorter_than_s_is_no_damage(bench: Bench) -> None:
    """H12: power may take unsynced live data that was sealed."""
    filled(bench)
    bench.stop()
    os.truncate(bench.path / LEAF, 50_000)

    assert [] == verify(bench.config)


def test_every_flipped_byte_of_the_data_is_found(bench: Bench) -> None:
    """The digest covers all compressed bytes, headers and padding included."""
    filled(bench)
    bench.stop()
    path = segment(bench, 1)
    sound = path.read_bytes()
    body = len(format_.load(path).body)
    for at in range(0, body, 7):
        path.write_bytes(sound[:at] + bytes([sound[at] ^ 0x10]) + sound[at + 1 :])
        assert ["error"] == [one.severity for one in verify(bench.config)][:1], at


def test_a_missing_segment_is_found(bench: Bench) -> None:
    """A gap that no index declares."""
    filled(bench)
    bench.stop()
    segment(bench, 1).unlink()
    findings = verify(bench.config)

    assert [(40_000, "20000 bytes are missing before it", "error")] == [
        (one.position, one.what, one.severity) for one in findings
    ]


def test_a_doubled_segment_is_found(bench: Bench) -> None:
    """The same positions twice."""
    filled(bench)
    bench.stop()
    path = segment(bench, 1)
    path.with_name("telemetry_20300101_000000.json.gz").write_bytes(path.read_bytes())

    assert ["20000 bytes are in"] == [one.what[:18] for one in verify(bench.config)]


def test_a_cut_segment_is_found(bench: Bench) -> None:
    """Its index is gone: the file is named, and the gap it leaves."""
    filled(bench)
    bench.stop()
    os.truncate(segment(bench, 1), 500)
    findings = verify(bench.config)

    assert ["no readable index", "20000 bytes are mi"] == [one.what[: 17 + n] for n, one in enumerate(findings)]


def test_a_wrong_count_in_the_index_is_found(bench: Bench) -> None:
    """Index and content must agree."""
    filled(bench)
    bench.stop()
    path = segment(bench, 1)
    one = format_.load(path)
    path.write_bytes(one.body + format_.last_member({**one.index, "records": 19}))

    assert ["index and content disagree about their size"] == [each.what for each in verify(bench.config)]


def test_a_declared_gap_is_a_warning(bench: Bench) -> None:
    """It was counted when it happened."""
    writer = bench.writer("truncate").write(big(0, 20))
    bench.rotate()
    writer.write(big(20, 30))
    bench.look()
    writer.restart().write(big(50, 55))
    bench.rotate()

    assert ["warning"] == [one.severity for one in found(bench)]


def test_damaged_state_lines_are_a_warning(bench: Bench) -> None:
    """A crash cut them short; the agent skips them."""
    filled(bench)
    bench.stop()
    for name in ("streams.jsonl", "audit.jsonl"):
        with (bench.path / ".telemetry-agent" / name).open("ab") as file:
            file.write(b'{"half\n' + b"[" * 100_000)

    assert [("2 damaged lines", "warning")] * 2 == [(one.what, one.severity) for one in verify(bench.config)]


def test_a_damaged_cursor_is_found(bench: Bench) -> None:
    """A consumer that will send again what it sent is an error, with the file's name."""
    filled(bench)
    cursor = bench.path / ".telemetry-agent" / "cursor-out.1.json"
    cursor.write_bytes(b'{"version":1,')

    assert [("error", str(cursor))] == [(one.severity, one.path) for one in found(bench)]
    assert "damaged" in found(bench)[0].what
