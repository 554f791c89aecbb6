"""A file that many processes append lines to: whole lines, once, whatever happens to the processes, disk and file."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agent.kit import disk, lines
from agent.kit.lines import LineFile

_LIMITED = """
import resource, sys
from agent.kit.lines import LineFile
file = LineFile(sys.argv[1], "a.json")
file.append(b'{"n": 1}\\n')
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
for _ in range(2):
    try:
        file.append(b"x" * 10_000 + b"\\n")
    except OSError as error:
        print(error.errno)
file.append(b'{"n": 2}\\n')
"""


def test_lines_come_in_order_into_a_new_file_of_the_given_mode(tmp_path: Path) -> None:
    """The directory is made, too."""
    before = os.umask(0o022)
    try:
        file = LineFile(str(tmp_path / "new/deep"), "a.json")
        file.append(b"1\n")
        file.append(b"2\n")
    finally:
        os.umask(before)
    path = tmp_path / "new/deep/a.json"
    assert b"1\n2\n" == path.read_bytes()
    assert 0o640 == path.stat().st_mode & 0o777
    file.close()


def test_a_torn_line_is_ended_before_the_next_one(tmp_path: Path) -> None:
    """A process that died in the middle of a line spoils no line of another's."""
    path = tmp_path / "a.json"
    path.write_bytes(b'{"n": 1}\n{"n"')
    file = LineFile(str(tmp_path), "a.json")
    file.append(b'{"n": 2}\n')
    file.close()
    assert b'{"n": 1}\n{"n"\n{"n": 2}\n' == path.read_bytes()


def test_a_full_disk_is_an_error_and_leaves_nothing_of_the_line(tmp_path: Path) -> None:
    """The piece that still went in is taken back, and shorter lines go in later."""
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(tmp_path)], check=True, capture_output=True, text=True, timeout=60
    )
    assert [str(errno.EFBIG)] * 2 == done.stdout.split()
    assert b'{"n": 1}\n{"n": 2}\n' == (tmp_path / "a.json").read_bytes()


@pytest.mark.parametrize("how", ["renamed", "deleted"])
def test_a_file_that_went_away_is_opened_again(how: str, tmp_path: Path) -> None:
    """Who rotates by renaming, or deletes, finds no line of later times in the old file."""
    path = tmp_path / "a.json"
    file = LineFile(str(tmp_path), "a.json")
    file.append(b"1\n")
    if how == "renamed":
        path.rename(tmp_path / "a.json.1")
    else:
        path.unlink()
    file.append(b"2\n")
    file.close()
    assert b"2\n" == path.read_bytes()
    if how == "renamed":
        assert b"1\n" == (tmp_path / "a.json.1").read_bytes()


def test_a_directory_that_went_away_is_made_again(tmp_path: Path) -> None:
    """Whoever clears the place up costs the lines that were there, not those to come."""
    place = tmp_path / "telemetry"
    file = LineFile(str(place), "a.json")
    place.rmdir()
    file.append(b"1\n")
    shutil.rmtree(place)
    file.append(b"2\n")
    place.rename(tmp_path / "old")
    file.append(b"3\n")
    file.close()
    assert b"2\n" == (tmp_path / "old/a.json").read_bytes()
    assert b"3\n" == (place / "a.json").read_bytes()


def test_a_process_may_change_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative place is where it was when the file was made."""
    monkeypatch.chdir(tmp_path)
    file = LineFile("telemetry", "a.json")
    monkeypatch.chdir("/")
    file.append(b"1\n")
    file.close()
    assert b"1\n" == (tmp_path / "telemetry/a.json").read_bytes()


def test_a_closed_file_holds_nothing_and_opens_again(tmp_path: Path) -> None:
    """No descriptor is left to keep a file system busy."""
    before = len(os.listdir("/proc/self/fd"))
    file = LineFile(str(tmp_path), "a.json")
    file.append(b"1\n")
    file.close()
    assert before == len(os.listdir("/proc/self/fd"))
    file.append(b"2\n")
    file.close()
    assert b"1\n2\n" == (tmp_path / "a.json").read_bytes()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # a fork beside threads is what is tried here
def test_threads_and_forks_never_mix_their_lines(tmp_path: Path) -> None:
    """Two threads in each of four processes, two of them forks of one that had written: each line once and whole."""
    file = LineFile(str(tmp_path), "a.json")
    file.append(b"0 0 0\n")

    def write(who: int) -> None:
        def go(thread: int) -> None:
            for number in range(100):
                file.append(b"%d %d %d %s\n" % (who, thread, number, b"x" * (number * 97 % 9000)))

        threads = [threading.Thread(target=go, args=(one,)) for one in (1, 2)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()

    pids = []
    for who in (1, 2, 3):
        pid = os.fork()
        if pid == 0:
            try:
                write(who)
            finally:
                os._exit(0)
        pids.append(pid)
    write(4)
    assert [0, 0, 0] == [os.waitpid(pid, 0)[1] for pid in pids]
    file.close()
    found = [tuple(map(int, line.split()[:3])) for line in (tmp_path / "a.json").read_bytes().splitlines()]
    wanted = {(who, thread, number) for who in (1, 2, 3, 4) for thread in (1, 2) for number in range(100)}
    assert len(found) == len(wanted) + 1
    assert wanted | {(0, 0, 0)} == set(found)


def test_a_lock_that_is_not_given_back_is_not_waited_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped process must not stop the others."""
    monkeypatch.setattr(lines, "PATIENCE", 0.05)
    file = LineFile(str(tmp_path), "a.json")
    with (tmp_path / "a.json").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            file.append(b"1\n")
    file.append(b"2\n")
    file.close()
    assert b"2\n" == (tmp_path / "a.json").read_bytes()


def test_what_is_appended_is_synced_in_time_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for all lines of that time, and not again where nothing came."""
    synced, done = [], threading.Event()

    def sync(fd: int) -> None:
        synced.append(fd)
        done.set()

    monkeypatch.setattr(disk, "sync_file", sync)
    file = LineFile(str(tmp_path), "a.json", sync_every=0.05)
    file.append(b"1\n")
    file.append(b"2\n")
    assert done.wait(30)
    file.sync()
    file.close()
    assert len(synced) in (1, 2)  # two when the machine was slow between the lines


def test_a_failed_sync_is_told_to_whoever_asks_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel tells it once, perhaps to the timer; `sync` still says so, once."""
    failed = threading.Event()

    def sync(_: int) -> None:
        failed.set()
        raise OSError(errno.EIO, "the disk is gone")

    file = LineFile(str(tmp_path), "a.json", sync_every=0.01)
    with monkeypatch.context() as patch:
        patch.setattr(disk, "sync_file", sync)
        file.append(b"1\n")
        assert failed.wait(30)
        with pytest.raises(OSError, match="the disk is gone"):
            file.sync()
    file.sync()
    file.close()
