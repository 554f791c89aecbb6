"""A directory that somebody else may write, and who uses it: nothing outside is ever touched (cases 19, 20; M6).

The worst case is taken on purpose: the agent runs as root and was told to trust the directory (`user = "root"`).
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import site
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from agent.streams.dues import Due
from tests.support.bench import LEAF, Bench
from tests.support.program import AGENT, KEEP_ALL, ROOT, Program

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root and a second user")]
OTHER = 12345
LIMIT = 60.0
SEALS = 40
SWAPS = 300
SETTINGS = {
    **KEEP_ALL,
    "agent.user": "root",
    "files.recursive": "true",
    "files.scan_interval": "100ms",
    "rotation.max_size": "2KB",
    "rotation.archive_directory": "archive",
}
RECORDS = b'{"n":1,"pad":"' + b"x" * 80 + b'"}\n'


@pytest.fixture
def world() -> Iterator[Path]:
    """`watched`, which the other user may write, beside `outside`, which is root's."""
    home = Path(tempfile.mkdtemp())
    home.chmod(0o755)
    outside = home / "outside"
    (outside / "deep").mkdir(parents=True)
    for name in ("secret.json", "deep/b.json", "deep/x.log", "linked.json"):
        (outside / name).write_bytes(RECORDS * 50)
    (outside / "secret.json").chmod(0o600)
    watched = home / "watched"
    (watched / "sub").mkdir(parents=True)
    os.link(outside / "linked.json", watched / "linked.json")
    for path in (watched, watched / "sub"):
        os.chown(path, OTHER, OTHER)
    yield home
    shutil.rmtree(home)


def fingerprint(path: Path) -> dict[str, tuple[object, ...]]:
    """Everything below, with content, times, owner and mode: what changes when something is touched."""
    found: dict[str, tuple[object, ...]] = {}
    for one in sorted(path.rglob("*")):
        info = one.lstat()
        content = hashlib.sha256(one.read_bytes()).hexdigest() if one.is_file() else os.listdir(one)
        found[str(one.relative_to(path))] = (
            info.st_mode, info.st_uid, info.st_gid, info.st_size, info.st_blocks, info.st_ino, info.st_nlink,
            info.st_mtime_ns, info.st_ctime_ns, content,
        )  # fmt: skip
    return found


class Intruder:
    """The other user's program: it appends records, and swaps whatever it may for links that lead outside."""

    def __init__(self, watched: Path, outside: Path, seed: int) -> None:
        self._watched = watched
        self._outside = outside
        self._random = random.Random(seed)
        self._moves: list[Callable[[], None]] = [
            self._live, self._live, self._below, self._part, self._state, self._archive, self._special, self._link,
            self._segment,
        ]  # fmt: skip

    def run(self, swaps: Path) -> None:
        """For ever; `swaps` grows by a byte with each move."""
        with swaps.open("ab", buffering=0) as count:
            while True:
                for name in ("a.json", "sub/b.json"):
                    with suppress(OSError), (self._watched / name).open("ab", buffering=0) as live:
                        live.write(RECORDS * 30)
                with suppress(OSError):
                    self._random.choice(self._moves)()
                count.write(b"x")

    def _swap(self, name: str, target: Path) -> None:
        """Put a link to `target` in the place of `name`, for a moment."""
        real, link = self._watched / name, self._watched / f"link-{self._random.random()}"
        aside = self._watched / f"aside-{self._random.random()}"
        link.symlink_to(target)
        try:
            real.rename(aside)
            link.rename(real)
            time.sleep(self._random.choice((0.0, 0.002, 0.02)))
        finally:
            with suppress(OSError):
                real.unlink()
            with suppress(OSError):
                link.unlink()
            aside.rename(real)

    def _live(self) -> None:
        self._swap("a.json", self._outside / "secret.json")

    def _below(self) -> None:
        self._swap("sub", self._outside / "deep")

    def _part(self) -> None:
        self._swap(
            self._random.choice(("archive/.a.json.part", "archive/sub/.b.json.part")), self._outside / "secret.json"
        )

    def _segment(self) -> None:
        found = [name for name in sorted(os.listdir(self._watched / "archive")) if name.endswith(".gz")]
        if found:
            self._swap(f"archive/{self._random.choice(found)}", self._outside / "secret.json")

    def _state(self) -> None:
        self._swap(".telemetry-agent", self._outside)

    def _archive(self) -> None:
        self._swap(self._random.choice(("archive", "archive/sub")), self._outside / "deep")

    def _special(self) -> None:
        kind = self._random.randrange(3)
        path = self._watched / f"special-{kind}.json"
        with suppress(FileNotFoundError):
            path.unlink()
        if kind == 0:
            os.mkfifo(path)
        elif kind == 1:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(path))
        else:
            path.symlink_to("/dev/zero")

    def _link(self) -> None:
        path = self._watched / f"hard-{self._random.randrange(9)}.json"
        os.link(self._outside / "deep" / "x.log", path)


@contextmanager
def intruding(home: Path, seed: int) -> Iterator[Path]:
    """The intruder as a process of the other user; its count of moves."""
    swaps = home / "swaps"
    swaps.touch()
    os.chown(swaps, OTHER, OTHER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child only makes system calls and is killed
        child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(OTHER, OTHER, OTHER)
            os.setresuid(OTHER, OTHER, OTHER)
            Intruder(home / "watched", home / "outside", seed).run(swaps)
        finally:
            os._exit(1)
    try:
        yield swaps
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def sealed(watched: Path) -> int:
    """How many segments there are; directories come and go while they are counted."""
    return sum(name.endswith(".gz") for _, _, names in os.walk(watched) for name in names)


@pytest.mark.parametrize(
    ("seed", "times"), [(1, 1), *(pytest.param(seed, 10, marks=[pytest.mark.long]) for seed in (2, 3, 4))]
)
@pytest.mark.timeout(600)
def test_nothing_outside_is_touched(world: Path, seed: int, times: int) -> None:
    """Case 20: whatever is swapped in a loop while the agent seals: outside every byte, time, owner and mode stays."""
    watched, outside = world / "watched", world / "outside"
    before = fingerprint(outside)
    with Program(AGENT, watched, SETTINGS) as program:
        program.wait_ready()
        with intruding(world, seed) as swaps:
            end = time.monotonic() + LIMIT * times
            while sealed(watched) < SEALS * times or swaps.stat().st_size < SWAPS * times:
                program.check_alive()
                assert time.monotonic() < end, program.output()
                time.sleep(0.05)
        ended = program.stop()

    assert 0 == ended.status
    assert before == fingerprint(outside)


def run(watched: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """A start that is expected to fail."""
    line = [*AGENT, str(watched), "--set", "web.listen=", *(f"--set={key}={value}" for key, value in settings.items())]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, check=False)


def test_root_refuses_what_others_may_write(world: Path) -> None:
    """Exit 78, with the one who may write and the remedy; nothing was made there."""
    done = run(world / "watched")

    assert 78 == done.returncode
    assert "as root the agent does not work where others may write" in done.stderr
    assert f"belongs to {OTHER}" in done.stderr
    assert "[agent] user" in done.stderr
    assert ["linked.json", "sub"] == sorted(os.listdir(world / "watched"))


@contextmanager
def everybodys(home: Path) -> Iterator[tuple[str, str]]:
    """This Python and its PYTHONPATH where every user may read them: they may lie in root's home."""
    with ExitStack() as mounts:
        places = []
        for number, source in enumerate([sys.base_prefix, str(ROOT), *site.getsitepackages()]):
            place = home / f"shared-{number}"
            place.mkdir()
            subprocess.run(["mount", "--bind", source, str(place)], check=True)
            mounts.callback(subprocess.run, ["umount", "--lazy", str(place)], check=True)
            places.append(place)
        python = places[0] / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
        yield str(python), os.pathsep.join(map(str, places[1:]))


def test_a_named_user_works_there(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root is given up, the files are sealed, everything belongs to that user."""
    watched = world / "watched"
    (watched / "a.json").write_bytes(RECORDS * 100)
    os.chown(watched / "a.json", OTHER, OTHER)
    settings = {**SETTINGS, "agent.user": f"{OTHER}:{OTHER}"}
    with ExitStack() as stack:
        python, path = stack.enter_context(everybodys(world))
        monkeypatch.setenv("PYTHONPATH", path)
        program = stack.enter_context(Program((python, "-P", *AGENT[1:]), watched, settings))
        program.wait_ready()
        end = time.monotonic() + LIMIT
        while not sealed(watched):
            assert time.monotonic() < end, program.output()
            time.sleep(0.02)
        uids = next(line for line in Path(f"/proc/{program.pid}/status").read_text().splitlines() if "Uid" in line)

    assert [str(OTHER)] * 4 == uids.split()[1:]
    assert {OTHER} == {one.lstat().st_uid for one in watched.rglob("*") if one.name != "linked.json"}


@pytest.mark.parametrize("name", [".telemetry-agent", "archive"])
def test_a_link_in_the_place_of_our_own_directory_ends_the_start(world: Path, name: str) -> None:
    """M6: it is never followed: the start fails with the path and the remedy."""
    watched, outside = world / "watched", world / "outside"
    (watched / name).symlink_to(outside)
    before = fingerprint(outside)
    done = run(watched, **SETTINGS)

    assert 1 == done.returncode
    assert "a link or a file stands where a directory has to be" in done.stderr
    assert before == fingerprint(outside)


def test_a_directory_below_that_others_may_write_is_left_out_by_root(tmp_path: Path) -> None:
    """The rest is sealed, and status says what is left out and why."""
    below = tmp_path / "below"
    below.mkdir()
    (below / "b.json").write_bytes(RECORDS * 100)
    (tmp_path / "a.json").write_bytes(RECORDS * 100)
    os.chown(below, OTHER, OTHER)
    settings = {**SETTINGS, "agent.user": "", "rotation.archive_directory": ""}
    with Program(AGENT, tmp_path, settings) as program:
        program.wait_ready()
        end = time.monotonic() + LIMIT
        while not sealed(tmp_path):
            assert time.monotonic() < end, program.output()
            time.sleep(0.02)
        line = [*AGENT[:-1], "status", "-d", str(tmp_path)]
        environ = {**os.environ, "COLUMNS": "500"}
        told = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True, env=environ).stdout

    assert 0 == sealed(below)
    assert "below is left out: as root the agent does not work where others may write" in told
    assert f"belongs to {OTHER}" in told


@pytest.mark.parametrize("kind", ["symlink", "hardlink"])
def test_a_file_swapped_between_look_and_open_is_not_followed(tmp_path: Path, kind: str) -> None:
    """Case 20: what the look saw is gone; the link in its place leads to a file of the same size and content."""
    home, outside = tmp_path / "home", tmp_path / "outside.json"
    home.mkdir()
    bench = Bench(home)
    try:
        live = home / LEAF
        live.write_bytes(RECORDS * 100)
        outside.write_bytes(RECORDS * 100)
        bench.look()
        live.unlink()
        if kind == "symlink":
            live.symlink_to(outside)
        else:
            os.link(outside, live)
        before = outside.stat()
        outcome = bench.engine.rotator.seal([Due(bench.stream(), "request")])[0]
        bench.release()

        assert kind == getattr(outcome.error, "reason", "")
        assert (before.st_blocks, before.st_mtime_ns) == (outside.stat().st_blocks, outside.stat().st_mtime_ns)
        assert [] == bench.names()
    finally:
        bench.close()
