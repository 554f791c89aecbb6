"""Benches over a disk and over memory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.bench import MEMORY, Bench

Make = Callable[..., Bench]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes benches over a directory of this test; `path` names one below it."""
    made: list[Bench] = []

    def build(path: str = "watched", **settings: Any) -> Bench:
        home = tmp_path / path
        home.mkdir(parents=True, exist_ok=True)
        bench = Bench(home, **settings)
        made.append(bench)
        return bench

    yield build
    for bench in made:
        bench.close()


@pytest.fixture
def bench(make: Make) -> Bench:
    """A bench with the default rules, that keeps everything."""
    return make()


@pytest.fixture(params=["disk", "memory"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A bench on the test's own file system, and one on tmpfs."""
    if request.param == "disk":
        home = tmp_path / "watched"
        home.mkdir()
    elif MEMORY.is_dir():
        home = Path(tempfile.mkdtemp(dir=MEMORY))
    else:
        pytest.skip("no tmpfs at /dev/shm")
    bench = Bench(home)
    yield bench
    bench.close()
    shutil.rmtree(home, ignore_errors=True)
