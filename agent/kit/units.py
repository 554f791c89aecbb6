"""Quantities as an operator writes them: durations and sizes.

A value prints in a canonical form that parses to itself: `Duration(str(d)) == d`, `Size(str(s)) == s`. Both are
plain numbers everywhere else, so arithmetic with them needs no conversion. Bad text is a ValueError whose sentence
says what would be right.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Self

_MILLISECONDS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION = re.compile("".join(rf"(?:([0-9]{{1,12}}(?:\.[0-9]{{1,12}})?){unit})?" for unit in _MILLISECONDS))
_LONGEST = 36_500 * 86_400_000

_PREFIXES = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_SIZE = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,12})?) ?(?:(?:([kmgtp])(i)?)?b)?", re.IGNORECASE)
_LARGEST = 2**63 - 1

_DURATION_HINT = "write a duration such as 250ms, 10s, 5m, 1h, 7d or 1h30m"
_SIZE_HINT = "write a size such as 500kB, 10MB (decimal), 10MiB (binary) or a plain number of bytes"


class Duration(float):
    """A span of time in seconds, 0 up to 100 years, from text or a number; text is exact to the millisecond.

    Text is a number and its unit (`ms s m h d`), or several from the largest unit to the smallest. A number alone
    has no unit and is refused, except 0.
    """

    def __new__(cls, value: str | float) -> Self:
        """Raise ValueError for text that is no duration, and for a number out of range."""
        seconds = _milliseconds(value) / 1000 if isinstance(value, str) else float(value)
        if not 0 <= seconds <= _LONGEST / 1000:
            raise ValueError(f"{value} is out of range: 0 to 36500d")
        return super().__new__(cls, seconds)

    def __str__(self) -> str:
        rest = round(float(self) * 1000)
        text = ""
        for unit, size in _MILLISECONDS.items():
            count, rest = divmod(rest, size)
            text += f"{count}{unit}" if count else ""
        return text or "0s"

    def __repr__(self) -> str:
        return f"Duration({str(self)!r})"


def _milliseconds(text: str) -> int:
    found = _DURATION.fullmatch(text)
    if text == "0":
        return 0
    if found is None or not text:
        if re.fullmatch(r"[0-9.]+", text):
            raise ValueError(f"{text!r} has no unit; {_DURATION_HINT}")
        raise ValueError(f"{text!r} is no duration; {_DURATION_HINT}")
    total = sum(Decimal(count) * size for count, size in zip(found.groups("0"), _MILLISECONDS.values(), strict=True))
    if total != int(total):
        raise ValueError(f"{text!r} is finer than a millisecond")
    return int(total)


class Size(int):
    """A number of bytes, 0 up to 2**63 - 1, from text or a number. Units are read in any case; `B` alone is a byte."""

    def __new__(cls, value: str | int) -> Self:
        """Raise ValueError for text that is no size, and for a number out of range."""
        count = _bytes(value) if isinstance(value, str) else int(value)
        if not 0 <= count <= _LARGEST:
            raise ValueError(f"{value} is out of range: 0 to 2**63 - 1 bytes")
        return super().__new__(cls, count)

    def __str__(self) -> str:
        """The shortest exact form; decimal where both are as short."""
        forms = [f"{int(self)}B"]
        for prefix, power in list(_PREFIXES.items())[1:]:
            letter = prefix if prefix == "k" else prefix.upper()
            for base, unit in ((1000, f"{letter}B"), (1024, f"{prefix.upper()}iB")):
                count, rest = divmod(int(self), base**power)
                if count and not rest:
                    forms.append(f"{count}{unit}")
        return min(forms, key=len)

    def __repr__(self) -> str:
        return f"Size({str(self)!r})"


def _bytes(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no size; {_SIZE_HINT}")
    count, prefix, binary = found.groups()
    total = Decimal(count) * (1024 if binary else 1000) ** _PREFIXES[(prefix or "").lower()]
    if total != int(total):
        raise ValueError(f"{text!r} is no whole number of bytes")
    return int(total)


class Share(float):
    """A part of a whole, above 0 up to 1; written as a percentage, `10%`."""

    def __new__(cls, value: str | float) -> Self:
        """Raise ValueError for text that is no percentage, and for a number out of range."""
        if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?%", value):
            raise ValueError(f"{value!r} is no percentage; write one such as 10%")
        share = float(Decimal(value[:-1]) / 100) if isinstance(value, str) else float(value)
        if not 0 < share <= 1:
            raise ValueError(f"{value} is out of range: above 0% up to 100%")
        return super().__new__(cls, share)

    def __str__(self) -> str:
        return f"{float(self) * 100:.6f}".rstrip("0").rstrip(".") + "%"

    def __repr__(self) -> str:
        return f"Share({str(self)!r})"
