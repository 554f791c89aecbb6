"""The mount table, /proc/<pid>/mountinfo as proc(5) describes it."""

from __future__ import annotations

import re
from typing import NamedTuple

_ESCAPE = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """One line of the table."""

    id: str
    """Unique among the mounts of this moment; a mount that is made again gets another one."""
    device_number: str
    """`major:minor` of the file system."""
    root: str
    """The directory of the file system that is mounted: `/` unless it is a bind mount or a subvolume."""
    point: str
    fstype: str
    source: str
    super_options: frozenset[str]


def parse(text: str) -> list[Mount]:
    """Parse the table, in its order: of two mounts on one point the later one is seen. ValueError for a bad line."""
    mounts = []
    for line in text.splitlines():
        front, separator, back = line.partition(" - ")
        if not separator:
            raise ValueError(f"no ` - ` in {line!r}")
        number, _, device, root, point, *_ = front.split(" ")
        fstype, source, options = back.split(" ", 2)
        mounts.append(
            Mount(number, device, _plain(root), _plain(point), fstype, _plain(source), frozenset(options.split(",")))
        )
    return mounts


def _plain(text: str) -> str:
    """Undo the kernel's octal escapes of blank, tab, newline and backslash."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)
