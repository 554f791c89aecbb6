"""What is on disk, read by the public format alone: gzip, and the JSON index in a segment's last, empty member.

Nothing of agent/ is imported here, so that a fault in the agent's own reading cannot hide one in its writing. A file
that breaks the format is a FormatError with the reason; nothing is repaired.
"""

from __future__ import annotations

import ctypes
import gzip
import hashlib
import json
import os
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LAST = b"\x03\x00" + bytes(8)
"""An empty deflate stream, CRC 0 and length 0: how the last member ends."""
_FIELD = 10 + 2 + 4
"""From a member's start to the content of its first FEXTRA subfield (RFC 1952: header, XLEN, SI1 SI2 LEN)."""
_NAME = re.compile(r"^(?P<stem>.*)_(?P<time>\d{8}_\d{6})(?:_(?P<n>\d+))?(?P<suffix>\.[^.]*)?\.gz$", re.DOTALL)
_KEYS = {
    *("stream", "stream_id", "incarnation", "physical", "logical"),
    *("records", "members", "seen", "digest", "reason", "agent"),
}
"""What the index promises; more keys may come."""


class FormatError(Exception):
    """A file that is not what the public format says."""


@dataclass(frozen=True)
class Segment:
    """One sealed archive."""

    path: Path
    index: dict[str, Any]
    body: bytes
    """The compressed bytes before the last member."""

    @property
    def start(self) -> int:
        """Position of its first byte."""
        return int(self.index["logical"][0])

    @property
    def end(self) -> int:
        """Position behind its last byte."""
        return int(self.index["logical"][1])

    @property
    def gap(self) -> int:
        """Bytes before its start that it says are missing."""
        return int(self.index.get("gap_before") or 0)

    @property
    def incarnation(self) -> tuple[int, int | None]:
        """Inode and birth time of the file it was sealed from."""
        return self.index["incarnation"]["inode"], self.index["incarnation"].get("birth")

    def name_time(self) -> str | None:
        """The time in its name, which sorts as text; None when the name is not one of ours."""
        match = _NAME.match(self.path.name)
        return match["time"] if match else None


def load(path: Path) -> Segment:
    """Read a segment and its index, and check that the digest in it is that of the bytes before it."""
    data = path.read_bytes()
    start, text = _index(data, path.name)
    try:
        index = json.loads(text)
    except ValueError as error:
        raise FormatError(f"{path.name}: index is not JSON: {error}") from None
    missing = sorted(_KEYS - index.keys())
    if missing:
        raise FormatError(f"{path.name}: index lacks {', '.join(missing)}")
    if index["digest"] != hashlib.sha256(data[:start]).hexdigest():
        raise FormatError(f"{path.name}: digest is not that of its {start} bytes")
    return Segment(path, index, data[:start])


def _index(data: bytes, name: str) -> tuple[int, bytes]:
    """Where the last member starts, and the JSON in it."""
    if not data.endswith(_LAST):
        raise FormatError(f"{name}: last member is not empty")
    end = len(data) - len(_LAST) - 8
    checksum, size = struct.unpack_from("<II", data, end) if end >= 0 else (0, -1)
    start = end - size - _FIELD
    if size < 0 or start < 0:
        raise FormatError(f"{name}: no index")
    flags = data[start : start + 4]
    extra, mark, length = struct.unpack_from("<H2sH", data, start + 10)
    if flags != b"\x1f\x8b\x08\x04" or mark != b"TI" or extra != length + 4 or length != size + 8:
        raise FormatError(f"{name}: no index")
    if zlib.crc32(data[end - size : end]) != checksum:
        raise FormatError(f"{name}: index does not match its checksum")
    return start, data[end - size : end]


def last_member(index: dict[str, Any]) -> bytes:
    """The empty member that carries `index`."""
    text = json.dumps(index, separators=(",", ":")).encode("ascii")
    content = text + struct.pack("<II", zlib.crc32(text), len(text))
    field = b"TI" + struct.pack("<H", len(content)) + content
    return b"\x1f\x8b\x08\x04" + bytes(5) + b"\xff" + struct.pack("<H", len(field)) + field + _LAST


def inflate(body: bytes, name: str) -> Iterator[tuple[int, bytes]]:
    """Each gzip member of `body`: where it starts, and its plain bytes, after its CRC and length were checked.

    FormatError at the first member that is bad or cut short, and at anything behind the last one.
    """
    at = 0
    while at < len(body):
        engine = zlib.decompressobj(wbits=31)
        try:
            plain = engine.decompress(memoryview(body)[at:])
        except zlib.error as error:
            raise FormatError(f"{name}: bad member at byte {at}: {error}") from None
        if not engine.eof:
            raise FormatError(f"{name}: member at byte {at} is cut short")
        yield at, plain
        at = len(body) - len(engine.unused_data)


def birth_time(path: Path) -> int | None:
    """When the file was made, in nanoseconds since 1970 UTC (statx(2)); None where that is not recorded."""
    buffer = ctypes.create_string_buffer(256)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.statx(-100, os.fsencode(path), 0x100, 0x800, buffer) or not struct.unpack_from("=I", buffer)[0] & 0x800:
        return None
    seconds, nanoseconds = struct.unpack_from("=qI", buffer, 80)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def all_lines(live: Path) -> list[bytes]:
    """Every line of a stream that one writer kept appending to: its segments', then what the live file has behind them.

    The file goes on behind the newest segment when it ends there in the segment's last bytes, or in the NULs of a hole;
    otherwise it was emptied since, and may have grown longer than it was.
    """
    chain = sorted((load(path) for path in live.parent.glob("*.gz")), key=lambda one: one.start)
    contents = [gzip.decompress(one.path.read_bytes()) for one in chain]
    content, data = b"".join(contents), live.read_bytes()
    end = int(chain[-1].index["physical"][1]) if chain else 0
    guard = contents[-1][-256:] if contents else b""
    goes_on = len(data) >= end and data[max(0, end - len(guard)) : end] in (guard, bytes(len(guard)))
    return (content + (data[end:] if goes_on else data)).splitlines(keepends=True)
