"""Lines of one buffer, which are not copied to be looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import overload


def locate(lines: Iterable[bytes], start: int) -> list[tuple[int, int]]:
    """Where each of these begins and ends, the first at position `start`."""
    return list(pairwise(accumulate(map(len, lines), initial=start)))


class Lines(Sequence[bytes]):
    """Lines that lie behind each other in one buffer; each becomes an object of its own only where it is asked for.

    A batch of megabytes is not copied that way, line by line, to be looked at once.
    """

    __slots__ = ("_data", "_places", "_start")

    def __init__(self, data: bytes, start: int, places: Sequence[tuple[int, int]]) -> None:
        """`data` begins at position `start`, and line n are its bytes of the positions `places[n]`.

        Each place begins where the one before it ends.
        """
        self._data = data
        self._start = start
        self._places = places

    @classmethod
    def of(cls, lines: Sequence[bytes]) -> Lines:
        """These lines, copied behind each other."""
        return cls(b"".join(lines), 0, locate(lines, 0))

    @property
    def text(self) -> bytes:
        """All of them, one behind the other."""
        return self._data[self._places[0][0] - self._start : self._places[-1][1] - self._start] if self._places else b""

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Lines: ...
    def __getitem__(self, index: int | slice) -> bytes | Lines:
        if isinstance(index, slice):
            return Lines(self._data, self._start, self._places[index])
        start, end = self._places[index]
        return self._data[start - self._start : end - self._start]

    def __iter__(self) -> Iterator[bytes]:
        data, first = self._data, self._start
        return (data[start - first : end - first] for start, end in self._places)

    def between(self, head: bytes, tail: bytes) -> list[memoryview] | None:
        """What each line has between `head` and `tail`; None unless every one begins and ends with them."""
        data, first, whole = self._data, self._start, memoryview(self._data)
        behind, before = len(head), len(tail)
        found = []
        for start, end in self._places:
            begin, stop = start - first, end - first
            if stop - begin < behind + before or not data.startswith(head, begin):
                return None
            if not data.endswith(tail, begin, stop):
                return None
            found.append(whole[begin + behind : stop - before])
        return found
