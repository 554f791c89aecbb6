"""Numbers as people read them. Sizes are decimal (1 kB = 1000 bytes), times UTC."""

from __future__ import annotations

import time

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size(count: float) -> str:
    """Bytes in three digits: `0 B`, `1.2 kB`, `41.2 MB`, `412 GB`."""
    value, power = float(count), 0
    while abs(value) >= 999.5 and power < len(_UNITS) - 1:
        value, power = value / 1000, power + 1
    unit = _UNITS[power]
    digits = 0 if unit == "B" or abs(value) >= 99.95 else 1
    return f"{value:.{digits}f} {unit}"


def duration(seconds: float) -> str:
    """A span in its two largest units: `12s`, `5m 3s`, `2h 5m`, `3d 4h`; below a second `0s`."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for name, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or parts:
            parts.append(f"{count}{name}" if count else "")
    return " ".join(part for part in parts[:2] if part) or "0s"


def moment(at: float) -> str:
    """Seconds since 1970 as `2026-11-22 17:20:03Z`."""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at))


def percent(part: float, whole: float) -> str:
    """How much of `whole` is `part`: `82%`, `under 1%`."""
    share = 100 * part / whole if whole else 0.0
    return "under 1%" if 0 < share < 1 else f"{share:.0f}%"


def count(number: int, noun: str) -> str:
    """`1 stream`, `2 streams`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
