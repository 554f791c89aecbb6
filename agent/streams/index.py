"""The index of a segment: JSON in the extra field of its last, empty gzip member. Its keys are a public contract.

The member is found from the file's end with one small read: its last bytes are the CRC-32 of the JSON and its length
(u32 LE each), an empty deflate stream `03 00`, and a zero CRC and length. An index fits 64 KiB, the extra field's
limit. A checksum of the gzip header (FHCRC) would be the format's own way, but not every reader takes it.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from base64 import b64decode
from typing import Annotated

import msgspec

from agent.kit.errors import AgentError, CorruptError
from agent.streams.position import LAST, Extent, Identity

MAX_JSON = 60 << 10
"""Bytes of JSON at which a segment ends (XLEN is 16 bits: attack H11)."""

_TAIL = b"\x03\x00" + b"\0" * 8
_CHECK = struct.Struct("<II")
_END = _CHECK.size + len(_TAIL)
_HEAD = struct.Struct("<4BI2BH2sH")
_ONE_READ = 2048


Place = Annotated[int, msgspec.Meta(ge=0, le=LAST)]
"""A position, or an offset in a file."""


class IncarnationKey(msgspec.Struct, frozen=True):
    """Which file the bytes came from."""

    inode: int
    birth: int | None


class Index(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """What a segment says about itself; unknown keys are ignored, more may come."""

    stream: str
    stream_id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    incarnation: IncarnationKey
    physical: tuple[Place, Place]
    logical: tuple[Place, Place]
    records: int
    seen: tuple[float, float]
    digest: str
    reason: str
    agent: str
    gap_before: Place = 0
    """Positions before this segment that hold no bytes: lost, and counted as such."""
    marker: bool = False
    """True for a segment without records that only keeps the position of a retired one."""
    sealed_at: float = 0.0
    boot: str = ""
    """The kernel's id of the boot in which it was sealed; empty when that is not known."""
    uptime: float = 0.0
    """Seconds on that boot's steady clock when it was sealed: its age, whatever the wall clock did since."""
    guard: str = ""
    """Of a marker: the guard's bytes in base64, by which the live file is known again."""
    members: tuple[tuple[Place, Place], ...] = ()

    @property
    def identity(self) -> Identity:
        """The incarnation's identity as a value."""
        return Identity(self.incarnation.inode, self.incarnation.birth)

    @property
    def extent(self) -> Extent:
        """The positions of the records."""
        return Extent(*self.logical)

    @property
    def source(self) -> Extent:
        """The physical offsets the records had in the live file."""
        return Extent(*self.physical)


_decoder = msgspec.json.Decoder(Index)


def encode(index: Index) -> bytes:
    """The last member of a segment. Raises AgentError when the JSON passes MAX_JSON."""
    try:
        text = msgspec.json.encode(index)
    except UnicodeEncodeError:
        # A name that is no UTF-8 travels as escaped lone surrogates.
        text = json.dumps(msgspec.to_builtins(index), separators=(",", ":")).encode("ascii")
    if len(text) > MAX_JSON:
        raise AgentError(
            f"the segment's index of {len(text)} bytes has no room in it", hint="a shorter path makes it shorter"
        )
    payload = text + _CHECK.pack(zlib.crc32(text), len(text))
    head = _HEAD.pack(0x1F, 0x8B, 8, 4, 0, 0, 255, len(payload) + 4, b"TI", len(payload))
    return head + payload + _TAIL


def size_of(text_length: int) -> int:
    """Bytes of a last member whose JSON has `text_length` bytes."""
    return _HEAD.size + text_length + _END


def decode(tail: bytes) -> tuple[Index, int] | int:
    """Read an index from the last bytes of a file.

    Returns the index and the whole last member's size, or, when `tail` is too short, how many bytes are needed.
    Raises CorruptError when the file does not end in an index.
    """
    if len(tail) < _END or not tail.endswith(_TAIL):
        raise CorruptError("the file does not end in a segment index")
    checksum, length = _CHECK.unpack_from(tail, len(tail) - _END)
    whole = size_of(length)
    if length > MAX_JSON:
        raise CorruptError("the segment index has an impossible length")
    if len(tail) < whole:
        return whole
    begin = len(tail) - whole
    head = _HEAD.unpack_from(tail, begin)
    extra = length + _CHECK.size
    if head[:4] != (0x1F, 0x8B, 8, 4) or head[7:] != (extra + 4, b"TI", extra):
        raise CorruptError("the segment index has no gzip member around it")
    text = tail[begin + _HEAD.size : begin + _HEAD.size + length]
    if zlib.crc32(text) != checksum:
        raise CorruptError("the segment index does not match its checksum")
    return _parse(text), whole


def _parse(text: bytes) -> Index:
    try:
        found = _read(text)
        if b"\0" in os.fsencode(found.stream):
            raise ValueError("a stream's name with a NUL in it")
        b64decode(found.guard)
    except (ValueError, msgspec.ValidationError, RecursionError) as error:
        raise CorruptError(f"the segment index is damaged ({error})") from error
    return found


def _read(text: bytes) -> Index:
    try:
        return _decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # Names that are no UTF-8 travel as escaped lone surrogates, which only the lenient parser takes.
        return msgspec.convert(json.loads(text), Index)


def begins(raw: bytes) -> bool:
    """True for the beginning of an index: what is left of a marker that was never published."""
    return len(raw) >= _HEAD.size and raw[:4] == b"\x1f\x8b\x08\x04" and raw[12:14] == b"TI"


def first_read(size: int) -> int:
    """How many bytes from a file's end to read first."""
    return min(size, _ONE_READ)
