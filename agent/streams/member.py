"""One gzip member that describes itself: the unit a segment is made of, released by and recovered from.

Layout (RFC 1952): a header with FEXTRA, a raw deflate stream, CRC-32 and length. The extra field holds one
subfield `TM`:

    version u8 | stream id 16 bytes | inode u64 | birth i64 (ns, -1 unknown) | position u64 | physical u64 |
    length u32 | crc u32 | member size u32 | records u32 | seen f64 (s) | crc of this payload u32

all little endian. `length` and `crc` are those of the uncompressed bytes; `member size` is the whole member's, so
a part can be walked without inflating; the payload's own CRC makes a torn header visible.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from isal import igzip_lib, isal_zlib

from agent.kit.errors import AgentError, CorruptError
from agent.streams.position import LAST, Identity

TARGET = 1 << 20
"""Uncompressed bytes a member aims at: large enough for the ratio, small enough to seek by."""

SMALL_TARGET = 256 << 10
"""The same while the disk is full, so that each one frees more than it takes."""

_SMALL_LEVEL = 7
"""libdeflate's: on OTLP-JSON 0.93 of the size of gzip -6 at half its CPU (`python -m tests.bench cost`)."""

_FIXED = struct.Struct("<4BI2BH")
_SUBFIELD = struct.Struct("<2sH")
_PAYLOAD = struct.Struct("<B16sQqQQIIIId")
_CRC = struct.Struct("<I")
_TRAILER = struct.Struct("<II")
_VERSION = 1
_ID = b"TM"
_PAYLOAD_SIZE = _PAYLOAD.size + _CRC.size
_PREFIX = _FIXED.pack(0x1F, 0x8B, 8, 4, 0, 0, 255, _SUBFIELD.size + _PAYLOAD_SIZE) + _SUBFIELD.pack(_ID, _PAYLOAD_SIZE)
HEADER_SIZE = len(_PREFIX) + _PAYLOAD_SIZE

_BAD_DEFLATE: tuple[type[Exception], ...] = (
    igzip_lib.IsalError,  # type: ignore[assignment]  # the stub declares an instance, not the class
    ValueError,
)

Compressor = Callable[[memoryview], bytes]
"""Bytes to a raw deflate stream."""


@dataclass(frozen=True, slots=True)
class Member:
    """What a member's header says, and where the member begins in its file (`offset`)."""

    stream_id: bytes
    identity: Identity
    position: int
    physical: int
    length: int
    crc: int
    size: int
    records: int
    seen: float
    offset: int = 0


def compressor(level: str) -> Compressor:
    """The deflate of a level: `fast` is ISA-L, `small` is libdeflate; both release the GIL while they work.

    Raises AgentError with the remedy when `small` is asked for and its package is not installed: the configuration is
    refused then, so this is for a package that went while the agent runs, and for commands beside no agent.
    """
    if level == "fast":
        # The largest working memory: 0.97 of the time of the default one, and no larger (measured).
        return lambda data: igzip_lib.compress(data, 2, igzip_lib.COMP_DEFLATE, igzip_lib.MEM_LEVEL_EXTRA_LARGE)
    try:
        from deflate import deflate_compress
    except ImportError:
        hint = "pip install 'telemetry-agent[small]'"
        raise AgentError('rotation.level = "small" needs the package deflate', hint=hint) from None
    return lambda data: bytes(deflate_compress(data, _SMALL_LEVEL))


def encode(
    data: memoryview,
    *,
    stream_id: bytes,
    identity: Identity,
    position: int,
    physical: int,
    seen: float,
    records: int,
    compress: Compressor,
    offset: int,
) -> tuple[Member, bytes, bytes, bytes]:
    """Make a member of `data`: what its header says, and header, deflate stream and trailer to be written.

    Raises AgentError where the stream's positions, each of which is used once, come to an end.
    """
    if max(position, physical) + len(data) > LAST:
        raise AgentError("the stream's positions are used up", hint="let its writer write to a file of another name")
    body = compress(data)
    crc = isal_zlib.crc32(data)
    size = HEADER_SIZE + len(body) + _TRAILER.size
    payload = _PAYLOAD.pack(
        _VERSION,
        stream_id,
        identity.inode,
        -1 if identity.birth is None else identity.birth,
        position,
        physical,
        len(data),
        crc,
        size,
        records,
        seen,
    )
    header = _PREFIX + payload + _CRC.pack(isal_zlib.crc32(payload))
    member = Member(stream_id, identity, position, physical, len(data), crc, size, records, seen, offset)
    return member, header, body, _TRAILER.pack(crc, len(data) & 0xFFFFFFFF)


def decode_header(raw: bytes | memoryview, offset: int = 0) -> Member | None:
    """Read a header from at least HEADER_SIZE bytes; None when it is not ours or not whole."""
    if len(raw) < HEADER_SIZE or bytes(raw[: len(_PREFIX)]) != _PREFIX:
        return None
    payload = bytes(raw[len(_PREFIX) : len(_PREFIX) + _PAYLOAD.size])
    if isal_zlib.crc32(payload) != _CRC.unpack_from(raw, len(_PREFIX) + _PAYLOAD.size)[0]:
        return None
    version, stream_id, inode, birth, position, physical, length, crc, size, records, seen = _PAYLOAD.unpack(payload)
    if version != _VERSION:
        return None
    identity = Identity(inode, None if birth < 0 else birth)
    return Member(stream_id, identity, position, physical, length, crc, size, records, seen, offset)


def begins(raw: bytes) -> bool:
    """True for the beginning of a member, however short: what a crash leaves of the first one."""
    return bool(raw) and _PREFIX.startswith(raw[: len(_PREFIX)])


def inflate(raw: bytes | memoryview, member: Member) -> bytes:
    """The member's uncompressed bytes, checked against header and trailer.

    Raises CorruptError when any of them disagree.
    """
    body = memoryview(raw)[HEADER_SIZE : len(raw) - _TRAILER.size]
    try:
        # One byte of room more than announced, so that a longer stream shows.
        data: bytes = igzip_lib.decompress(body, flag=igzip_lib.DECOMP_DEFLATE, bufsize=member.length + 1)
    except _BAD_DEFLATE as error:
        raise CorruptError(f"a member does not inflate ({error})", position=member.position) from error
    crc, length = _TRAILER.unpack_from(raw, len(raw) - _TRAILER.size)
    if len(data) != member.length or length != member.length & 0xFFFFFFFF:
        raise CorruptError("a member has another length than its header says", position=member.position)
    if crc != member.crc or isal_zlib.crc32(data) != member.crc:
        raise CorruptError("a member's checksum does not match its content", position=member.position)
    return data


def crc32(data: bytes | bytearray | memoryview) -> int:
    """The CRC-32 of gzip, at memory speed."""
    return int(isal_zlib.crc32(data))


def grouped(found: Iterable[Member], most: int) -> Iterator[list[Member]]:
    """Neighbouring members that together have up to `most` bytes; one that is larger stands alone."""
    group: list[Member] = []
    size = 0
    for one in found:
        if group and size + one.length > most:
            yield group
            group, size = [], 0
        group.append(one)
        size += one.length
    if group:
        yield group
