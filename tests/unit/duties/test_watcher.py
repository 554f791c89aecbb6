"""The watcher over real directories and inotify, and over an instance that fails on request."""

from __future__ import annotations

import errno
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest

from agent.config import Files
from agent.duties import watcher as module
from agent.duties.cadence import Look
from agent.duties.events import Changes, Notify, rust_notify
from agent.duties.watcher import Watcher
from agent.kit import linux
from agent.kit.clock import SystemClock
from agent.kit.units import Duration

ALL = Look("", None)


class Bench:
    """A watcher whose wakes are counted, on the machine's clock."""

    def __init__(
        self, root: Path, notify: Callable[[list[str]], Notify] = rust_notify, *, recursive: bool = False
    ) -> None:
        self.woken = threading.Event()
        self.files = Files(recursive=recursive, scan_interval=Duration("1h"))
        self.watcher = Watcher(
            {"": str(root)},
            files=self.files,
            clock=SystemClock(),
            wake=self.woken.set,
            relevant=self.files.selects,
            notify=notify,
        )

    def due(self) -> list[Look]:
        """What is due now, taken as if nothing grew."""
        looks = self.watcher.due(time.monotonic())
        for look in looks:
            self.watcher.report(look, [], 0.0, time.monotonic())
        return looks

    def settle(self) -> None:
        """Take looks until the next one is the sweep in an hour."""
        while (self.watcher.next_time(time.monotonic()) or 0.0) < time.monotonic() + 1000:
            self.due()
            time.sleep(0.01)

    def wait_for(self, look: Look) -> None:
        """Take looks when woken or due until this one comes."""
        seen: list[Look] = []
        while look not in seen:
            at = self.watcher.next_time(time.monotonic())
            wait = 10.0 if at is None else min(10.0, max(0.0, at - time.monotonic()))
            assert self.woken.wait(wait) or wait < 10, f"{look} never came; {seen}"
            self.woken.clear()
            seen += self.due()


class Fake:
    """An instance of RustNotify that a test drives."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths
        self.closed = threading.Event()
        self.news: queue.Queue[Changes | Exception] = queue.Queue()
        self.held: Changes = set()

    def watch(
        self, debounce_ms: int, step_ms: int, timeout_ms: int, stop_event: threading.Event | None
    ) -> Changes | Literal["signal", "stop", "timeout"]:
        """Give what the test put in; to the last call, which nothing stops, what was held back for it."""
        assert debounce_ms == step_ms
        if stop_event is None:
            return self.held if self.held and timeout_ms else "timeout"
        while not stop_event.is_set():
            try:
                news = self.news.get(timeout=0.005)
            except queue.Empty:
                continue
            if isinstance(news, Exception):
                raise news
            return news
        return "stop"

    def close(self) -> None:
        """Note it."""
        self.closed.set()


class Factory:
    """Makes fakes, or fails with the errors it was given, one a call."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.made: list[Fake] = []

    def __call__(self, paths: list[str]) -> Notify:
        """One more instance."""
        if self.errors:
            raise self.errors.pop(0)
        self.made.append(Fake(paths))
        return self.made[-1]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A watcher on an empty directory, armed and swept."""
    bench = Bench(tmp_path)
    assert bench.due() == [ALL]
    yield bench
    bench.watcher.close()


def heat(watcher: Watcher, name: str = "a.json", now: float | None = None) -> None:
    """Tell of two growths in quick succession."""
    now = time.monotonic() if now is None else now
    for at in (now, now + 0.1):
        watcher.report(Look("", frozenset({name})), [name], 0.0, at)


def test_a_quiet_directory_is_watched_by_events(bench: Bench) -> None:
    """After the first sweep nothing is due before the next one."""
    status = bench.watcher.status()

    assert (status.mode, status.why, status.directories, status.rescans) == ("events", "", 1, 1)
    assert (bench.watcher.next_time(0.0) or 0.0) > time.monotonic() + 3000


@pytest.mark.parametrize("change", ["create", "write", "rename", "remove"])
def test_a_change_of_a_file_wakes_and_names_it(tmp_path: Path, change: str) -> None:
    """Creation, growth, renaming and removal lead to a look at that name."""
    path = tmp_path / "a.json"
    other = tmp_path / "b"
    (other if change == "rename" else path).write_text("" if change == "create" else "x")
    if change == "create":
        path.unlink()
    bench = Bench(tmp_path)
    bench.due()

    match change:
        case "rename":
            other.rename(path)
        case "remove":
            path.unlink()
        case _:
            path.write_text("more")
    bench.wait_for(Look("", frozenset({"a.json"})))
    bench.watcher.close()


def test_names_that_are_no_streams_wake_nobody(bench: Bench, tmp_path: Path) -> None:
    """Segments, parts and foreign files don't matter; the event after them does."""
    for name in ("a_20241022_163000.json.gz", ".a.json.part", "notes.txt", "sub"):
        (tmp_path / name).write_text("x")
    time.sleep(0.3)
    assert not bench.woken.is_set()

    (tmp_path / "a.json").write_text("x")
    bench.wait_for(Look("", frozenset({"a.json"})))


def test_our_own_releases_do_not_make_a_directory_hot(bench: Bench, tmp_path: Path) -> None:
    """Punching makes events (attack M3); they lead to few looks, and the watch stays open."""
    path = tmp_path / "a.json"
    path.write_bytes(b"x" * 1_000_000)
    bench.wait_for(Look("", frozenset({"a.json"})))

    looks = 0
    with path.open("r+b") as file:
        for block in range(100):
            linux.punch(file.fileno(), block * 4096, 4096)
            time.sleep(0.01)
            looks += len(bench.due())

    assert looks <= 10
    assert bench.watcher.status().mode == "events"


def test_a_hot_directory_is_not_watched_and_armed_again_when_quiet(tmp_path: Path) -> None:
    """The watch is closed while a file grows; later a new one is made and the directory swept after."""
    factory = Factory()
    bench = Bench(tmp_path, factory)
    now = time.monotonic()
    assert bench.due() == [ALL]

    heat(bench.watcher, now=now)
    bench.watcher.due(now + 1.0)
    assert bench.watcher.status().mode == "timer"
    assert factory.made[0].closed.wait(5)
    assert len(factory.made) == 1

    for turn in range(8):
        for look in bench.watcher.due(now + 2.0 + turn):
            bench.watcher.report(look, [], 0.0, now + 2.0 + turn)
    assert len(factory.made) == 2
    assert bench.watcher.status().mode == "events"
    bench.watcher.close()


def test_only_the_hot_directory_loses_its_watch(tmp_path: Path) -> None:
    """The others go on in a new instance, which is open before the old one is drained and closed."""
    factory = Factory()
    (tmp_path / "sub").mkdir()
    bench = Bench(tmp_path, factory)
    bench.watcher.manage({"": str(tmp_path), "sub": str(tmp_path / "sub")})
    now = time.monotonic()
    bench.watcher.due(now)
    heat(bench.watcher, now=now)
    bench.watcher.due(now + 60)

    assert [fake.paths for fake in factory.made] == [[str(tmp_path), str(tmp_path / "sub")], [str(tmp_path / "sub")]]
    factory.made[1].news.put({(2, str(tmp_path / "sub" / "b.json"))})
    assert bench.woken.wait(10)
    assert Look("sub", frozenset({"b.json"})) in bench.watcher.due(now + 61)
    bench.watcher.close()


def test_what_an_old_watch_still_holds_is_handed_on(tmp_path: Path) -> None:
    """A change that came just before the watch was replaced is not lost."""
    factory = Factory()
    bench = Bench(tmp_path, factory)
    bench.due()
    factory.made[0].held = {(2, str(tmp_path / "a.json"))}
    watch = bench.watcher._watch
    assert watch
    watch.stop()
    watch.thread.join(10)

    assert bench.woken.is_set()
    assert Look("", frozenset({"a.json"})) in bench.due()


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (OSError(errno.ENOSPC, "OS file watch limit reached."), "fs.inotify.max_user_watches"),
        (RuntimeError("Error creating recommended watcher: Too many open files (os error 24)"), "max_user_instances"),
        (RuntimeError("unknown"), "unknown"),
    ],
)
def test_polling_takes_over_where_events_are_refused(tmp_path: Path, error: Exception, hint: str) -> None:
    """The reason and the remedy are shown, files are found by timer, and events are tried again later."""
    factory = Factory(error)
    bench = Bench(tmp_path, factory)
    now = time.monotonic()

    assert bench.watcher.due(now) == [ALL]
    bench.watcher.report(ALL, [], 0.0, now)
    status = bench.watcher.status()
    assert (status.mode, hint in status.why) == ("polling", True)
    assert (bench.watcher.next_time(now) or 0.0) <= now + 1.0
    assert bench.watcher.due(now + 1.0) == [ALL]

    bench.watcher.due(now + module.RETRY_FIRST + 1)
    assert bench.watcher.status().mode == "events"
    bench.watcher.close()


def test_a_watch_that_keeps_dying_is_tried_ever_less_often(tmp_path: Path) -> None:
    """Each failure doubles the wait up to ten minutes; a long time without one makes it short again."""
    broken = RuntimeError("broken")
    bench = Bench(tmp_path, Factory(*[broken] * 8))
    now = time.monotonic()
    waits = []
    for _ in range(7):
        bench.watcher.due(now)
        waits.append(bench.watcher._retry_at() - now)
        now = bench.watcher._retry_at()
    assert waits == pytest.approx([30, 60, 120, 240, 480, 600, 600])

    bench.watcher.due(now + 3600)
    assert bench.watcher._retry_at() == pytest.approx(now + 3600 + 30)


def test_a_watch_that_dies_is_noticed_at_once(tmp_path: Path) -> None:
    """The keeper is woken, and the directory polled."""
    factory = Factory()
    bench = Bench(tmp_path, factory)
    bench.due()

    factory.made[0].news.put(RuntimeError("rust \x1b panicked"))
    assert bench.woken.wait(10)
    bench.due()

    status = bench.watcher.status()
    assert (status.mode, status.why) == ("polling", "events don't work: rust \\x1b panicked")
    assert factory.made[0].closed.wait(10)
    bench.watcher.close()


def test_a_name_that_is_not_utf8_leads_to_polling(tmp_path: Path) -> None:
    """The event library cannot tell of such a name and breaks; the watcher goes on without it."""
    bench = Bench(tmp_path)
    bench.due()

    os.close(os.open(os.fsencode(tmp_path) + b"/\xff.json", os.O_CREAT | os.O_WRONLY))
    assert bench.woken.wait(10)
    bench.due()

    assert bench.watcher.status().mode == "polling"
    bench.watcher.close()


def test_a_path_that_is_not_utf8_is_polled(tmp_path: Path) -> None:
    """And says so; it does not keep events from the others."""
    odd = os.fsencode(tmp_path) + b"/\xff"
    os.mkdir(odd)
    bench = Bench(tmp_path)
    bench.watcher.manage({"": str(tmp_path), "\udcff": os.fsdecode(odd)})
    bench.due()

    assert bench.watcher.status().mode == "polling"
    assert bench.watcher.status().why == "\\udcff: its path is not UTF-8, which the event library cannot take"
    assert bench.watcher._covered == {""}
    bench.watcher.close()


def test_a_network_file_system_is_polled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes from other machines make no events here."""
    monkeypatch.setattr(linux, "filesystem", lambda _fd: "nfs")
    bench = Bench(tmp_path)
    bench.due()

    status = bench.watcher.status()
    assert (status.mode, status.why) == ("polling", ".: on nfs not every write makes an event")
    assert bench.watcher._watch is None


def test_a_directory_that_is_removed_is_polled_until_it_is_back(bench: Bench, tmp_path: Path) -> None:
    """A new directory at the same path, also with the same inode number, is watched and swept."""
    shutil.rmtree(tmp_path)
    bench.wait_for(ALL)
    assert bench.watcher.status().mode == "polling"
    assert "No such file" in bench.watcher.status().why

    tmp_path.mkdir()
    bench.settle()
    assert bench.watcher.status().mode == "events"
    (tmp_path / "a.json").write_text("x")
    bench.wait_for(Look("", frozenset({"a.json"})))


def test_a_directory_that_is_replaced_between_two_looks_is_watched(bench: Bench, tmp_path: Path) -> None:
    """Removed and made again before anybody looked: the dead watch is replaced."""
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    bench.wait_for(ALL)
    bench.settle()

    (tmp_path / "a.json").write_text("x")
    bench.wait_for(Look("", frozenset({"a.json"})))


def test_a_replaced_directory_is_found_by_the_sweep_without_any_event(tmp_path: Path) -> None:
    """A watch that still looks at the old one is replaced when the listing comes to the new one."""
    factory = Factory()
    bench = Bench(tmp_path, factory)
    now = time.monotonic()
    bench.watcher.due(now)
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()

    assert bench.watcher.due(now + 3600) == [ALL]
    assert bench.watcher.due(now + 3601) == [ALL]
    assert len(factory.made) == 2
    assert factory.made[0].closed.wait(10)
    bench.watcher.close()


def test_a_directory_that_goes_while_it_is_armed_does_not_stop_the_others(tmp_path: Path) -> None:
    """The one that is missing is polled, the rest is watched a moment later."""
    factory = Factory(FileNotFoundError(2, "No such file"))
    (tmp_path / "sub").mkdir()
    bench = Bench(tmp_path, factory)
    bench.watcher.manage({"": str(tmp_path), "sub": str(tmp_path / "sub")})
    (tmp_path / "sub").rmdir()
    now = time.monotonic()
    bench.watcher.due(now)
    bench.watcher.due(now + module.GONE)

    assert [fake.paths for fake in factory.made] == [[str(tmp_path)]]
    assert bench.watcher.status().why.startswith("sub: the directory cannot be opened")
    bench.watcher.close()


def test_a_new_subdirectory_leads_to_a_listing_where_they_count(tmp_path: Path) -> None:
    """With `recursive` the keeper hears of it at once, not at the next sweep."""
    bench = Bench(tmp_path, recursive=True)
    bench.due()

    (tmp_path / "sub").mkdir()
    bench.wait_for(ALL)
    bench.watcher.close()


def test_ten_thousand_files_are_named_by_their_events(bench: Bench, tmp_path: Path) -> None:
    """Every one that is made is looked at."""
    made = {f"{number}.json" for number in range(10_000)}
    for name in made:
        os.close(os.open(tmp_path / name, os.O_CREAT | os.O_WRONLY))

    seen: set[str] = set()
    while seen != made:
        assert bench.woken.wait(10)
        bench.woken.clear()
        seen.update(*(look.names for look in bench.due() if look.names))


def test_closing_ends_the_thread(tmp_path: Path) -> None:
    """No thread stays, nothing is due, and the status says so; closing twice is no error."""
    bench = Bench(tmp_path)
    bench.due()
    watch = bench.watcher._watch
    assert watch
    bench.watcher.close()
    bench.watcher.close()

    assert not watch.thread.is_alive()
    assert watch.thread.daemon
    assert bench.watcher.due(time.monotonic()) == []
    assert bench.watcher.next_time(time.monotonic()) is None
    assert bench.watcher.status().mode == "stopped"
