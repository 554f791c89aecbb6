"""Places in a stream and in a file, as values.

A *position* counts uncompressed bytes of a stream since its first byte; it is never reused and never goes back.
A *physical* offset counts bytes of one live file. Within one incarnation `position = base + physical`.
"""

from __future__ import annotations

import msgspec

LAST = (1 << 63) - 1
"""The last position, as of a file's offsets: every format that carries one has room for it."""


class Extent(msgspec.Struct, frozen=True, order=True, gc=False):
    """The half-open range [start, end), of positions or of physical offsets."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """Bytes in the range."""
        return self.end - self.start

    def __str__(self) -> str:
        return f"[{self.start}, {self.end})"


class Identity(msgspec.Struct, frozen=True, gc=False):
    """Which file an incarnation lived in: inode number and birth time in nanoseconds (None where unknown).

    The device number is no identity: it changes when a disk is attached again, and inode numbers are reused at
    once (attack C5), so only together with the guard and the hole do they say "the same file".
    """

    inode: int
    birth: int | None

    def same_file(self, other: Identity) -> bool:
        """True when nothing speaks against both being one file."""
        if self.inode != other.inode:
            return False
        return self.birth is None or other.birth is None or self.birth == other.birth
