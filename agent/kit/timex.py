"""What the kernel knows about its clock: adjtimex(2), asked without changing anything."""

from __future__ import annotations

import ctypes
import os
from typing import NamedTuple

_STA_UNSYNC = 0x40
_TIME_ERROR = 5


class Discipline(NamedTuple):
    """How the clock is kept."""

    synchronised: bool
    max_error: float
    """Seconds by which the clock may be wrong; grows while nobody corrects it."""


class _Timex(ctypes.Structure):
    """`struct timex` of linux/timex.h as far as it is read; the rest is padding, with room to spare."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def read() -> Discipline:
    """Ask the kernel. Raises OSError where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = _Timex()
    state = libc.adjtimex(ctypes.byref(found))
    if state < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return Discipline(state != _TIME_ERROR and not found.status & _STA_UNSYNC, found.maxerror / 1_000_000)
