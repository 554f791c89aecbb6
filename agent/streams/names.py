"""The names of segments and parts: `parse(format(x)) == x`.

A segment is `{stem}_{YYYYMMDD}_{HHMMSS}[_{n}]{suffix}.gz`, the time in UTC. Order, age and the stream's name come
from the index inside, never from here; the name is for people and for globs.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime

NAME_MAX = 255
"""Bytes in one file name (limits.h)."""

LAST_SECOND = 253_402_300_799
"""The last second that a name has room for: 9999-12-31 23:59:59."""

_ASIDE = ".rotating"
_ASIDE_ROOM = NAME_MAX - 32
_CUT = re.compile(r"~[0-9a-f]{8}\Z")
_ROOM = NAME_MAX - len("_20240101_000000_000000.gz") - 1
_PATTERN = re.compile(
    r"(?P<stem>.+)_(?P<day>\d{8})_(?P<time>\d{6})(?:_(?P<n>[1-9]\d*))?(?P<suffix>\.[^._]*)?\.gz", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class SegmentName:
    """The parts of a segment's file name. `time` is whole seconds since 1970 UTC, `n` tells seals of one second."""

    stem: str
    time: int
    n: int
    suffix: str

    def format(self) -> str:
        """The file name."""
        stamp = datetime.fromtimestamp(self.time, UTC).strftime("%Y%m%d_%H%M%S")
        count = f"_{self.n}" if self.n else ""
        return f"{self.stem}_{stamp}{count}{self.suffix}.gz"


def parse(name: str) -> SegmentName | None:
    """The parts of a segment's name, or None when it is not of that form."""
    match = _PATTERN.fullmatch(name)
    if match is None:
        return None
    try:
        when = datetime.strptime(match["day"] + match["time"], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return SegmentName(match["stem"], int(when.timestamp()), int(match["n"] or 0), match["suffix"] or "")


def segment_name(live_name: str, time: int, n: int = 0) -> SegmentName:
    """The name of a segment of `live_name` sealed at `time`."""
    stem, suffix = os.path.splitext(live_name)
    if len(os.fsencode(suffix)) > NAME_MAX // 4 or "_" in suffix:
        stem, suffix = live_name, ""
    return SegmentName(_shortened(stem, live_name, _ROOM - len(os.fsencode(suffix))), time, n, suffix)


def part_name(live_name: str) -> str:
    """The name of a segment of `live_name` that is being made: hidden, and never that of a stream."""
    return _hidden(live_name, ".part")


def open_name(live_name: str) -> str:
    """The name of the open part of `live_name`, into which it is captured."""
    return _hidden(live_name, ".open")


def merge_name(live_name: str) -> str:
    """The name of the file into which the open part of `live_name` is written anew before it is published."""
    return _hidden(live_name, ".merge")


def hidden_names(live_name: str) -> tuple[str, str, str]:
    """Every name that a part of `live_name` may have."""
    return part_name(live_name), open_name(live_name), merge_name(live_name)


def _hidden(live_name: str, ending: str) -> str:
    return f".{_shortened(live_name, live_name, NAME_MAX - len('..merge') - 8)}{ending}"


def shortened(leaf: str) -> str:
    """`leaf`, cut where a longer name would be made of it: ends in 8 hex digits of its hash then."""
    return _shortened(leaf, leaf, _ASIDE_ROOM)


def aside_name(leaf: str) -> str:
    """The name that method `rename` gives a live file while it is finished: hidden, and never that of a stream."""
    return f".{shortened(leaf)}{_ASIDE}"


def is_aside(name: str) -> bool:
    """True for a name that `aside_name` may have made."""
    return name.startswith(".") and name.endswith(_ASIDE) and len(name) > len(_ASIDE) + 1


def leaf_of_aside(name: str) -> str | None:
    """The live file's name, read from the one that it has aside; None where that was cut, or is none."""
    if not is_aside(name):
        return None
    leaf = name[1 : -len(_ASIDE)]
    cut = len(os.fsencode(leaf)) == _ASIDE_ROOM and _CUT.search(leaf)
    return leaf if not cut and aside_name(leaf) == name else None


def is_open(name: str) -> bool:
    """True for a name that `open_name` makes."""
    return name.startswith(".") and name.endswith(".open")


def is_part(name: str) -> bool:
    """True for a name that `part_name`, `open_name` or `merge_name` makes."""
    return name.startswith(".") and name.endswith((".open", ".part", ".merge"))


def _shortened(text: str, whole: str, room: int) -> str:
    """`text` in at most `room` bytes; one that was cut ends in 8 hex digits of the whole name's hash."""
    raw = os.fsencode(text)
    if len(raw) <= room:
        return text
    mark = hashlib.sha256(os.fsencode(whole)).hexdigest()[:8]
    return os.fsdecode(raw[: room - 9]) + "~" + mark
