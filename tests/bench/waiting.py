"""Waiting for what can be seen on disk."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.program import Program


def until(done: Callable[[], bool], program: Program, limit: float, every: float = 0.02) -> float:
    """Wait until `done` says so; the seconds it took. TimeoutError after `limit` seconds, with the program's output."""
    begun = time.monotonic()
    while not done():
        program.check_alive()
        if time.monotonic() - begun > limit:
            raise TimeoutError(f"not done within {limit} s:\n{program.output()}")
        time.sleep(every)
    return time.monotonic() - begun


def archives(directory: Path) -> int:
    """How many archives have their final name."""
    with os.scandir(directory) as found:
        return sum(entry.name.endswith(".gz") for entry in found)


@contextmanager
def fresh(place: Path, name: str) -> Iterator[Path]:
    """A new empty directory below `place`, removed afterwards."""
    directory = place / name
    directory.mkdir()
    try:
        yield directory
    finally:
        shutil.rmtree(directory)
