"""One record of the torture writers: an OTLP-JSON line that proves by itself that it is whole.

A record says who wrote it and its number; its last attribute is the CRC-32 of every byte before the CRC's own
digits, and what follows those digits is constant. So a torn line, or two glued together, is never taken for a whole
one. All records of one writer have the same length: numbers start at FIRST and have ten digits.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from zlib import crc32

FIRST = 1_000_000_000
"""The number in the first record; ids (0, 1, 2 ...) are counted from here, so that no number has a leading zero."""

_HEAD = b'{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"writer-'
_BODY = b'"}}]},"scopeLogs":[{"logRecords":[{"severityNumber":9,"body":{"stringValue":"'
_NUMBER = b'"},"attributes":[{"key":"seq","value":{"intValue":"'
_CRC = b'"}},{"key":"crc","value":{"stringValue":"'
_TAIL = b'"}}]}]}]}]}'

_WRITER = len(_HEAD)
_WRITER_END = _WRITER + 3
_DIGITS_END = len(_CRC) + 8 + len(_TAIL)
_DIGITS = _DIGITS_END + 10
_CHECK = 8 + len(_TAIL)
_WORDS = b"request handled cache miss checkout cart payment retry upstream latency deadline user order shipped".split()


def length(payload: int) -> int:
    """Bytes of one record, line end included, whose payload has `payload` bytes."""
    return len(_HEAD) + 3 + len(_BODY) + payload + len(_NUMBER) + _DIGITS + 1


def _payloads(writer: int, size: int) -> list[bytes]:
    """Sixteen different payloads of `size` bytes, the same for the same writer in every run."""
    chance = random.Random(writer)
    return [b" ".join(chance.choices(_WORDS, k=size // 4 + 1))[:size] for _ in range(16)]


def maker(writer: int, payload: int) -> Callable[[int], bytes]:
    """A function that makes the record with id n, without its line end, in well under a microsecond.

    `writer` is 0 to 999. Everything up to the number is made, and its CRC computed, once.
    """
    if not 0 <= writer <= 999:
        raise ValueError(f"writer {writer} has not one to three digits")
    starts = [b"%b%03d%b%b%b" % (_HEAD, writer, _BODY, text, _NUMBER) for text in _payloads(writer, payload)]
    ready = [(start, crc32(start)) for start in starts]
    name = _CRC
    tail = _TAIL

    def make(n: int) -> bytes:
        start, crc = ready[n & 15]
        changing = b"%d%b" % (n + FIRST, name)
        return b"%b%b%08x%b" % (start, changing, crc32(changing, crc), tail)

    return make


def parse(line: bytes) -> tuple[int, int] | None:
    """Who wrote `line` (given without its line end) and its id; None unless it is one whole record."""
    if line[-_CHECK:] != b"%08x%b" % (crc32(line[:-_CHECK]), _TAIL) or not line.startswith(_HEAD):
        return None
    try:
        return int(line[_WRITER:_WRITER_END]), int(line[-_DIGITS:-_DIGITS_END]) - FIRST
    except ValueError:
        return None
