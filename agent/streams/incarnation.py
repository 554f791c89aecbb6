"""One life of a live file, and how it is known again.

`position = base + physical`. `sealed` is S, the physical end of what lies in segments and in the open part; it moves
only when that is durable. Bytes of [floor(S), S), the guard, are never punched. A file is the same incarnation when
inode and birth time are equal, it is not shorter than S, the guard still holds the sealed bytes, and below floor(S)
there is nothing that was not sealed (attacks C5, C8).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from agent.kit.errors import CorruptError
from agent.streams.live import GUARD, Live
from agent.streams.position import Identity

_WINDOW = 1 << 18
_FOOTER = 64
"""Most bytes of a footer that a writer keeps writing anew."""

Verdict = Literal["same", "other_file", "shrunk", "guard", "refilled"]
SealedBytes = Callable[[int, int], bytes | None]
"""The sealed content of a physical range; None where no segment has it any more."""


@dataclass(slots=True)
class Incarnation:
    """What is known of the live file's present life."""

    identity: Identity
    base: int
    sealed: int = 0
    guard: bytes = b""
    released: int = 0
    """Physical offset up to which everything is punched."""
    compared: int = 0
    """Physical offset up to which live bytes were compared for release: `released` is whole blocks below it."""
    spared: int = 0
    """Physical end of what is kept below `compared` because the segment that has it is damaged; 0 where nothing is."""
    clean: bool = True
    """True when this process (or this boot) punched everything below `released`, so only holes may be there."""
    guard_may_be_gone: bool = False
    """True when power may have been lost, or a reset had begun: then a guard of NULs is no contradiction."""
    hollow: int = 0
    """Bytes at its beginning that were never written: its writer kept its offset when the life before ended."""
    skipped: int = 0
    """Positions of this life whose bytes its writer cut off again; `base` moved on by so many."""
    largest: int = 0
    """The largest size seen."""
    find_guard: Callable[[Live], bytes] | None = None
    """Where to get the guard when the file is first opened after a start: it depends on the file's block size."""
    known: int = 0
    """The largest size at which the file was recognised: what is beyond it may belong to another life already."""

    @property
    def position(self) -> int:
        """The position of S."""
        return self.base + self.sealed

    @property
    def end(self) -> int:
        """The position of the end as last seen."""
        return self.base + max(self.largest, self.sealed)

    def learn_guard(self, live: Live) -> None:
        """Get the guard from the segments, where that was put off until somebody opens the file."""
        if self.find_guard is not None:
            self.guard, self.find_guard = self.find_guard(live), None

    def next(self, identity: Identity) -> Incarnation:
        """The life that follows in `identity`: its first byte's position is past every position used so far."""
        return Incarnation(identity=identity, base=self.end)

    def unsealed(self, *, shrunk: bool) -> int:
        """Bytes that were seen and are in no segment: lost when this life ends now (a lower bound).

        A file that did not shrink was refilled before it was looked at, so only what was recognised counts.
        """
        return max(0, (self.largest if shrunk else self.known) - max(self.sealed, self.hollow))


def judge(incarnation: Incarnation, live: Live, sealed_bytes: SealedBytes, kept: int = 0) -> Verdict:
    """Say whether `live` is the file whose life `incarnation` describes, or what speaks against it.

    `kept` is the physical offset from which on this life's segments are kept; it is asked only of one that is not
    clean. What lies before it was released before it was retired, except for the guard that it had when it was the
    newest: nothing is left that those bytes could be compared with.
    """
    if not incarnation.identity.same_file(live.identity):
        return "other_file"
    size = live.size()
    if size < incarnation.sealed:
        return "shrunk"
    incarnation.learn_guard(live)
    if not guard_holds(incarnation, live):
        return "guard"
    floor = live.floor(incarnation.sealed)
    if incarnation.clean:
        limit = min(incarnation.released, floor)
        return "same" if _is_hole(incarnation, live, limit) or _only_sealed(live, 0, limit, None) else "refilled"
    holes = _only_sealed(live, 0, min(live.floor(kept), floor), None)
    known = bool(incarnation.guard) and _guard_there(incarnation, live) == incarnation.guard
    return "same" if holes and _only_sealed(live, kept, floor, sealed_bytes, known=known) else "refilled"


def rewritten(incarnation: Incarnation, live: Live) -> bool:
    """True when of the guard only the last few bytes differ: the writer seeks back over its footer (attack M5)."""
    guard = incarnation.guard
    there = _guard_there(incarnation, live)
    return len(guard) >= GUARD and there[:-_FOOTER] == guard[:-_FOOTER]


def guard_holds(incarnation: Incarnation, live: Live) -> bool:
    """True when the guard is there, or NUL where a loss of power or a reset may have taken it."""
    guard = incarnation.guard
    if not guard:
        return True
    there = _guard_there(incarnation, live)
    if there == guard:
        return True
    if not incarnation.guard_may_be_gone:
        return False
    return equal_or_nul(there, guard)


def _guard_there(incarnation: Incarnation, live: Live) -> bytes:
    """What is in the guard's place."""
    return live.read(incarnation.sealed - len(incarnation.guard), len(incarnation.guard))


def _is_hole(incarnation: Incarnation, live: Live, end: int) -> bool:
    """True when nothing is below `end`, which the count of blocks tells as a rule, so that no writer has to wait.

    A file with a hole above that is just as large as its data below has that count as well. It was refilled then, and
    to pass it has to have its whole guard again: so where that is short, or may be gone, the holes are looked at.
    """
    guarded = len(incarnation.guard) >= GUARD and not incarnation.guard_may_be_gone
    if end <= 0 or (guarded and live.fills_above(end)):
        return True
    at = live.data_from(0)
    return at is None or at >= end


def _only_sealed(
    live: Live, start: int, end: int, sealed_bytes: SealedBytes | None, *, known: bool = False
) -> bool:  # fmt: skip
    """True when every byte of the range is NUL or, where `sealed_bytes` may tell, equals what was sealed.

    A damaged segment cannot tell. Where nothing was released yet the file has all of it, and is sealed anew; else it
    speaks against nothing, where the file is `known` by its guard, and the file keeps what only it has.
    """
    for begin, stop in live.extents(start, end):
        at = begin
        while at < stop:
            there = live.read(at, min(_WINDOW, stop - at))
            if not there:
                break
            if there.strip(b"\0"):
                try:
                    sealed = sealed_bytes(at, at + len(there)) if sealed_bytes else None
                except CorruptError:
                    sealed = there if known and (begin, stop) != (start, end) else None
                if sealed is None or not equal_or_nul(there, sealed):
                    return False
            at += len(there)
    return True


def kept_prefix(live: Live, limit: int, sealed_bytes: SealedBytes, *, untouched: bool) -> int:
    """Up to where the file is still what was sealed, byte for byte or NUL: all of `limit`, else whole records.

    After power loss a file comes back shorter than S, or longer than a truncation had left it, with bytes that lie in
    segments; its writer goes on behind them (attack H12). A record that is only begun at `limit` may also be a new one
    that begins as the old one did; it is an old one's remainder only where the file is `untouched` since the boot.
    """
    end = 0
    for begin, stop in live.extents(0, limit):
        at = begin
        while at < stop:
            there = live.read(at, min(_WINDOW, stop - at))
            try:
                known = sealed_bytes(at, at + len(there)) or b""
            except CorruptError:
                known = b""  # rather sealed once more than taken for sealed
            same = _agree(there, known[: len(there)])
            end = max(end, at + there.rfind(b"\n", 0, same) + 1) if b"\n" in there[:same] else end
            if same < len(there) or not there:
                return end
            at += len(there)
    begun = b"" if untouched else live.read(end, min(_WINDOW, limit - end))
    return end if begun and b"\0" not in begun else limit


def _agree(there: bytes, known: bytes) -> int:
    """How many bytes from the start on are equal, or NUL in `there`."""
    low, high = 0, min(len(there), len(known)) + 1
    while high - low > 1:
        middle = (low + high) // 2
        if equal_or_nul(there[low:middle], known[low:middle]):
            low = middle
        else:
            high = middle
    return low


def equal_or_nul(there: bytes, known: bytes) -> bool:
    """True when every byte of `there` equals that of `known` or is NUL.

    By halves: where ranges were punched, a few cuts find their edges; where all is new, the first byte says so.
    """
    if there == known:
        return True
    if len(there) != len(known):
        return False
    if there.count(0) == len(there):
        return True
    if len(there) == 1:
        return False
    half = len(there) // 2
    return equal_or_nul(there[:half], known[:half]) and equal_or_nul(there[half:], known[half:])
