"""Members, indexes, parts and segments: what is written is read, and damage never passes as data."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import zlib
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.kit.disk import Directory
from agent.kit.errors import AgentError, CorruptError
from agent.streams import index, member, position, segment
from agent.streams.part import Part, walk
from agent.streams.position import Extent, Identity
from tests.support.bench import Bench, lines

ID = bytes(range(16))
WHO = Identity(42, 1_700_000_000_000_000_001)


def made(data: bytes, *, birth: int | None = 7, offset: int = 0, level: str = "fast") -> tuple[member.Member, bytes]:
    """A member and its bytes."""
    found, *pieces = member.encode(
        memoryview(data), stream_id=ID, identity=Identity(42, birth), position=1000, physical=10, seen=1.5,
        records=data.count(b"\n"), compress=member.compressor(level), offset=offset,
    )  # fmt: skip
    return found, b"".join(pieces)


# -- members


@given(st.binary(min_size=1, max_size=5000), st.none() | st.integers(0, 2**62))
def test_a_member_says_what_it_holds(data: bytes, birth: int | None) -> None:
    """Header, content and any other gzip agree."""
    found, raw = made(data, birth=birth)

    assert found == member.decode_header(raw)
    assert data == member.inflate(raw, found)
    assert data == gzip.decompress(raw)
    assert len(raw) == found.size


@pytest.mark.parametrize("level", ["fast", "small"])
def test_every_flipped_byte_of_a_member_shows(level: str) -> None:
    """No flip anywhere gives other data: the header is refused, or the content does not inflate to its checksum."""
    if level == "small":
        pytest.importorskip("deflate")
    data = lines(0, 20)
    found, raw = made(data, level=level)
    unseen = 0
    for at in range(len(raw)):
        bad = raw[:at] + bytes([raw[at] ^ 0x41]) + raw[at + 1 :]
        header = member.decode_header(bad)
        if header is None:
            continue
        assert header == found
        try:
            assert data == member.inflate(bad, header)
            unseen += 1
        except CorruptError:
            continue
    assert unseen <= 1  # bits that pad the deflate stream's last byte carry nothing


@pytest.mark.parametrize("cut", [0, 5, member.HEADER_SIZE - 1])
def test_a_short_header_is_none(cut: int) -> None:
    """A header that is not whole is no header."""
    assert member.decode_header(made(b"x\n")[1][:cut]) is None


def test_a_foreign_gzip_is_none() -> None:
    """Only what we wrote is read as ours."""
    assert member.decode_header(gzip.compress(lines(0, 100))) is None


# -- indexes


def sample(**changes: object) -> index.Index:
    """An index."""
    fields: dict[str, object] = {
        "stream": "a.json", "stream_id": ID.hex(), "incarnation": index.IncarnationKey(42, 7), "physical": (10, 20),
        "logical": (1010, 1020), "records": 2, "seen": (1.0, 2.0), "digest": "d", "reason": "size", "agent": "0",
        "members": ((0, 0),),
    }  # fmt: skip
    return index.Index(**{**fields, **changes})  # type: ignore[arg-type]  # a table of every field


@given(st.binary(max_size=200).map(lambda name: name.replace(b"\0", b"x")), st.integers(0, 2**62), st.integers(0, 2000))
def test_an_index_round_trips(name: bytes, start: int, members: int) -> None:
    """Also with names that are no UTF-8, and with as many members as a segment may have."""
    table = tuple((n * 600_000, n * 80_000) for n in range(members))
    one = sample(stream=os.fsdecode(name), logical=(start, start + 10), members=table)
    raw = index.encode(one)

    assert (one, len(raw)) == index.decode(raw)
    assert b"" == gzip.decompress(raw)


def test_a_long_index_is_found_in_two_reads() -> None:
    """The first read may be too short; then it says how much is needed."""
    raw = index.encode(sample(members=tuple((n * 600_000, n * 80_000) for n in range(500))))
    need = index.decode(raw[-2048:])

    assert len(raw) == need


@pytest.mark.parametrize("tail", [b"", b"\x03\x00" + bytes(8), b"x" * 100, gzip.compress(b"hello")])
def test_what_ends_in_no_index_is_corrupt(tail: bytes) -> None:
    """Never a wrong answer."""
    with pytest.raises(CorruptError):
        index.decode(tail)


def test_a_damaged_length_is_corrupt() -> None:
    """A length that cannot be is refused, not allocated."""
    raw = bytearray(index.encode(sample()))
    raw[-14:-10] = (1 << 31).to_bytes(4, "little")
    with pytest.raises(CorruptError):
        index.decode(bytes(raw))


def test_an_index_too_large_is_an_error() -> None:
    """H11: it must fit the extra field."""
    with pytest.raises(AgentError, match="bytes"):
        index.encode(sample(members=tuple((n, n) for n in range(9000))))


@pytest.mark.parametrize(
    "change",
    [
        {"stream_id": "no hex"},
        {"records": "x"},
        {"logical": [1]},
        {"logical": [0, 10**25]},
        {"logical": [0, 1 << 63]},
        {"logical": [-1, 10]},
        {"physical": [0, 10**25]},
        {"gap_before": 1 << 63},
        {"members": [[0, -1]]},
        {"guard": "x"},
        {"stream": "a\0b"},
        {"stream": "\ud800"},
    ],
)
def test_an_index_that_is_json_but_no_index_is_corrupt(change: dict[str, object]) -> None:
    """Somebody's own JSON in the same place does not stop the agent."""
    fields = {**json.loads(_text(index.encode(sample()))), **change}
    with pytest.raises(CorruptError):
        index.decode(_around(json.dumps(fields).encode()))


def test_a_deeply_nested_index_is_corrupt() -> None:
    """It is no index, and nothing that ends the agent."""
    with pytest.raises(CorruptError):
        index.decode(_around(b'{"a":' + b"[" * 50_000))


def test_positions_up_to_the_last_are_read() -> None:
    """A position has 63 bits."""
    one = sample(logical=(position.LAST - 10, position.LAST))
    found = index.decode(index.encode(one))

    assert isinstance(found, tuple)
    assert one == found[0]


def test_more_keys_may_come() -> None:
    """The keys are a public contract that may grow."""
    fields = {**json.loads(_text(index.encode(sample()))), "new_key": [1, 2]}
    found = index.decode(_around(json.dumps(fields).encode()))

    assert isinstance(found, tuple)
    assert sample() == found[0]


def test_every_flipped_byte_of_an_index_shows() -> None:
    """A digit that flipped in a position would be a loss; only bytes without a meaning may differ unseen."""
    one = sample(members=((0, 0), (600_000, 80_000)))
    raw = index.encode(one)
    unseen = []
    for at in range(len(raw)):
        bad = raw[:at] + bytes([raw[at] ^ 0x01]) + raw[at + 1 :]
        try:
            found = index.decode(bad)
        except CorruptError:
            continue
        if isinstance(found, int):
            continue  # "too short": the segment's reader finds that there is no more
        unseen.append(at)
        assert one == found[0]

    assert [4, 5, 6, 7, 8, 9] == unseen  # time, flags of the compressor and system in the gzip header


def _text(raw: bytes) -> bytes:
    size = int.from_bytes(raw[-14:-10], "little")
    return raw[-18 - size : -18]


def _around(text: bytes) -> bytes:
    raw = index.encode(sample())
    payload = text + zlib.crc32(text).to_bytes(4, "little") + len(text).to_bytes(4, "little")
    head = raw[:10] + (len(payload) + 4).to_bytes(2, "little") + b"TI" + len(payload).to_bytes(2, "little")
    return head + payload + raw[-10:]


# -- parts


def part_of(directory: Directory, *contents: bytes) -> Part:
    """An open part with these members."""
    part = Part.create(directory, ".a.part", ID, WHO)
    at = 0
    for content in contents:
        part.append(
            memoryview(content), position=1000 + at, physical=at, seen=1.0, compress=member.compressor("fast"),
            records=content.count(b"\n"),
        )  # fmt: skip
        at += len(content)
    return part


def test_a_part_is_trimmed_to_its_last_record_end(tmp_path: Path) -> None:
    """Members within a record that has no end are given up; digest and size follow."""
    with Directory.open(str(tmp_path)) as directory:
        part = part_of(directory, b"a\n", b"b\n", b"half", b"still")
        whole = part_size = part.members[2].offset
        part.trim()

        assert (2, part_size, 2) == (len(part.members), part.size, part.records)
        assert whole == os.fstat(part.fd).st_size
        part.append(
            memoryview(b"c\n"), position=1004, physical=4, seen=1.0, compress=member.compressor("fast"), records=1
        )
        assert b"a\nb\nc\n" == gzip.decompress((tmp_path / ".a.part").read_bytes())
        assert hashlib.sha256((tmp_path / ".a.part").read_bytes()).hexdigest() == part.digest()
        part.discard()
    assert not (tmp_path / ".a.part").exists()


def test_a_part_is_never_made_over_another(tmp_path: Path) -> None:
    """It may be the only copy of something."""
    with Directory.open(str(tmp_path)) as directory:
        part_of(directory, b"a\n").close()
        with pytest.raises(FileExistsError):
            Part.create(directory, ".a.part", ID, WHO)


@pytest.mark.parametrize("flip", [0, 30, 95, 110])
def test_walking_ends_at_the_first_bad_member(tmp_path: Path, flip: int) -> None:
    """C10: everything before it is sound, nothing behind it is believed."""
    contents = [lines(n, n + 5) for n in range(0, 20, 5)]
    with Directory.open(str(tmp_path)) as directory:
        part = part_of(directory, *contents)
        os.pwrite(part.fd, b"\xee\xee", part.members[2].offset + flip)
        found = list(walk(part.fd, part.size))
        part.close()

        assert contents[:2] == [content for _, content in found]
        again = Part.reopen(directory, ".a.part", [one for one, _ in found])
        assert (again.members[-1].offset + again.members[-1].size) == os.fstat(again.fd).st_size
        again.close()


@pytest.mark.parametrize("cut", [1, 50, 100])
def test_walking_a_cut_part(tmp_path: Path, cut: int) -> None:
    """C10: the last member is not whole."""
    with Directory.open(str(tmp_path)) as directory:
        part = part_of(directory, b"a\n", b"b\n")
        found = list(walk(part.fd, part.size - cut))
        part.close()

    assert [b"a\n"] == [content for _, content in found]


# -- segments


def test_any_range_of_a_segment(bench: Bench) -> None:
    """Bytes by position, across members."""
    bench.engine.sealer.copier.member_size = 512
    bench.writer().write(lines(0, 100))
    one = bench.seal()[0].segment
    assert one
    with segment.SegmentReader(one) as reader:
        for start, end in [(0, 6400), (0, 1), (500, 600), (6399, 6400), (64, 64), (511, 513)]:
            assert lines(0, 100)[start:end] == reader.range(start, end)
        assert one.extent.length == sum(each.length for each in reader.members())

    assert lines(0, 100)[-300:] == segment.tail(one, 300)
    assert lines(0, 100) == segment.tail(one, 1 << 20)
    assert one == segment.load(one.directory, one.name)


def test_damage_in_a_segment_is_an_error_with_its_place(bench: Bench) -> None:
    """Typed, with path and position; the rest of the segment is still read."""
    bench.engine.sealer.copier.member_size = 512
    bench.writer().write(lines(0, 100))
    one = bench.seal()[0].segment
    assert one
    with segment.SegmentReader(one) as reader:
        third = list(reader.members())[2]
    path = bench.path / one.name
    data = bytearray(path.read_bytes())
    data[third.offset + third.size - 12] ^= 0xFF
    path.write_bytes(bytes(data))
    with segment.SegmentReader(one) as reader:
        with pytest.raises(CorruptError) as caught:
            reader.range(0, 6400)
        assert lines(0, 100)[2000:] == reader.range(2000, 6400)

    assert (one.path, third.position) == (caught.value.path, caught.value.position)


def test_extents_speak_for_themselves() -> None:
    """A range prints as one and knows its length."""
    assert ("[3, 8)", 5) == (str(Extent(3, 8)), Extent(3, 8).length)


def test_checksums_are_gzips() -> None:
    """The fast CRC is the one of RFC 1952."""
    assert zlib.crc32(b"hello") == member.crc32(b"hello")


def test_other_programs_read_segments_as_gzip(bench: Bench) -> None:
    """By DuckDB, as the README says, and by gzip itself: several segments of several members, every record once."""
    bench.engine.sealer.copier.member_size = 512
    for first in (0, 100):
        bench.writer().write(lines(first, first + 100))
        bench.seal()
    found = f"read_json('{bench.path}/telemetry_*.json.gz', format = 'newline_delimited')"
    with duckdb.connect() as database:
        rows = database.sql(f"SELECT n FROM {found} ORDER BY n").fetchall()  # noqa: S608 - our own directory
    told = subprocess.run(
        ["gzip", "-dc", *sorted(bench.path.glob("*.gz"))], capture_output=True, check=True, timeout=60
    )

    assert [(f"{number:07d}",) for number in range(200)] == [(str(n).zfill(7),) for (n,) in rows]
    assert lines(0, 200) == told.stdout
