"""Benches over a disk and over memory."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.kit import linux
from tests.support.bench import MEMORY, Bench

Make = Callable[..., Bench]


def overtake(patch: pytest.MonkeyPatch, path: Path, data: bytes) -> list[str]:
    """Let no file system know RENAME_NOREPLACE, and a new file come to `path` while that is renamed, once.

    The list that is returned has its name then.
    """
    call, came = linux._call, list[str]()

    def unknown(name: str, *args: object) -> int:
        if name == "renameat2":
            raise OSError(errno.EINVAL, "injected")
        return call(name, *args)

    def overtaken(real: Callable[..., None]) -> Callable[..., None]:
        def act(old: str, *args: object, **places: object) -> None:
            real(old, *args, **places)
            if old == path.name and not came:
                came.append(old)
                path.with_name("new").write_bytes(data)
                os.replace(path.with_name("new"), path)

        return act

    patch.setattr(linux, "_call", unknown)
    for name in ("link", "rename"):
        patch.setattr(os, name, overtaken(getattr(os, name)))
    return came


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
