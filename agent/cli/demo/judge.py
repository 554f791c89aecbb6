"""The demo's count: what is really on disk, by gzip and the bytes alone.

Nothing of the agent is imported here (a test holds that), so the count cannot share a mistake with it. From the
public format of a segment it takes two facts, both out of the last, empty gzip member: which inode the segment is of,
and the physical offset up to which the live file is sealed. Below that offset the live file holds holes and a
remainder that is in the segments already.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ID = re.compile(rb'"telemetry_agent\.sequence"\s*,\s*"value"\s*:\s*\{\s*"intValue"\s*:\s*"?(\d+)')
_END = 18
"""Bytes after a segment's index: its CRC and length (u32 LE each), an empty deflate block (2), CRC and size (8)."""


@dataclass(frozen=True)
class Verdict:
    """What a writer wrote, and where it was found again. All but the bytes are lines."""

    written: int
    sealed: int
    live: int
    lost: int
    twice: int
    torn: int
    """Lines that are no whole JSON value, or carry no id that was written."""
    disordered: int
    """Lines that come after one with a higher id."""
    segments: int
    raw_bytes: int
    packed_bytes: int

    @property
    def ok(self) -> bool:
        """True when every line was found once, whole and in order."""
        return not (self.lost or self.twice or self.torn or self.disordered)

    @property
    def ratio(self) -> float:
        """Uncompressed over compressed bytes of the segments; 0 without any."""
        return self.raw_bytes / self.packed_bytes if self.packed_bytes else 0.0


def judge(live: Path, written: int) -> Verdict:
    """Find the lines with the ids 0 to `written` - 1 in the segments beside `live` and in the rest of `live`."""
    segments = sorted((_index(path)["logical"][0], path) for path in live.parent.glob("*.gz"))
    found = _Found(written)
    raw = 0
    for _, path in segments:
        with gzip.open(path) as content:
            text = content.read()
        raw += len(text)
        found.add(text.splitlines(keepends=True))
    sealed = found.lines
    with live.open("rb") as rest:
        rest.seek(_sealed_end(live, segments[-1][1]) if segments else 0)
        found.add(rest.readlines())
    return Verdict(
        written=written,
        sealed=sealed,
        live=found.lines - sealed,
        lost=found.counts.count(0),
        twice=sum(count > 1 for count in found.counts),
        torn=found.torn,
        disordered=found.disordered,
        segments=len(segments),
        raw_bytes=raw,
        packed_bytes=sum(path.stat().st_size for _, path in segments),
    )


class _Found:
    """How often each id was seen."""

    def __init__(self, written: int) -> None:
        self.counts = bytearray(written)
        self.lines = 0
        self.torn = 0
        self.disordered = 0
        self._last = -1

    def add(self, lines: Iterable[bytes]) -> None:
        """Take the next lines of the stream."""
        for line in lines:
            self.lines += 1
            number = _id(line)
            if number is None or number >= len(self.counts):
                self.torn += 1
                continue
            self.counts[number] = min(self.counts[number] + 1, 255)
            self.disordered += number < self._last
            self._last = number


def _id(line: bytes) -> int | None:
    found = _ID.search(line)
    if not found or not line.endswith(b"\n"):
        return None
    try:
        json.loads(line)
    except ValueError:
        return None
    return int(found[1])


def _index(path: Path) -> dict[str, Any]:
    with path.open("rb") as segment:
        segment.seek(-_END, os.SEEK_END)
        _, length = struct.unpack("<II", segment.read(8))
        segment.seek(-_END - length, os.SEEK_END)
        index: dict[str, Any] = json.loads(segment.read(length))
    return index


def _sealed_end(live: Path, newest: Path) -> int:
    """The offset up to which `live` is sealed: 0 when it was set back to nothing after the newest segment."""
    index = _index(newest)
    info = live.stat()
    end = int(index["physical"][1])
    same = index["incarnation"]["inode"] == info.st_ino
    return end if same and info.st_size >= end else 0
