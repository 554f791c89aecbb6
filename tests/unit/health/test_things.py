"""Processes, commands, files and directories."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agent.config import checks as rules
from agent.health.command import CommandCheck
from agent.health.directory import DirectoryCheck
from agent.health.file import FileCheck
from agent.health.process import ProcessCheck
from agent.kit.clock import SystemClock
from agent.kit.units import Duration, Size
from tests.support.clock import ManualClock

SH = ("/bin/sh", "-c")


def command(*argv: str, timeout: float = 20.0, **keys: object) -> tuple[str, str]:
    """State and message of one run."""
    rule = rules.Command(kind="command", name="c", command=argv, **keys)  # type: ignore[arg-type]
    finding = CommandCheck(rule, SystemClock(), timeout).run()
    return finding.level.word, finding.message


@pytest.mark.parametrize(
    ("script", "keys", "expected"),
    [
        ("echo ffmpeg version 7", {}, ("healthy", "ffmpeg version 7")),
        ("echo ffmpeg version 7", {"output": "version [67]"}, ("healthy", "ffmpeg version 7")),
        ("echo other", {"output": "version"}, ("unhealthy", "the output does not contain 'version'")),
        ("echo no; exit 3", {}, ("unhealthy", "exit status 3, expected 0: no")),
        ("exit 3", {"exit_status": 3}, ("healthy", "exit status 3")),
        ("echo 'OK fine|a=1'", {"plugin": True}, ("healthy", "OK fine")),
        ("echo 'WARNING x'; exit 1", {"plugin": True}, ("warning", "WARNING x")),
        ("echo 'CRITICAL x'; exit 2", {"plugin": True}, ("unhealthy", "CRITICAL x")),
        ("exit 3", {"plugin": True}, ("unknown", "")),
        ("kill -9 $$", {}, ("unhealthy", "/bin/sh killed by signal 9")),
        ("printf 'a\\033[31m'", {}, ("healthy", "a\\x1b[31m")),
    ],
)
def test_a_command_is_judged_by_status_and_output(script: str, keys: dict[str, Any], expected: tuple[str, str]) -> None:
    """Its own conventions or a monitoring plug-in's; control characters do not reach a terminal."""
    assert expected == command(*SH, script, **keys)


def test_a_command_that_is_not_there_is_unhealthy() -> None:
    """That is how one asks whether ffmpeg is there."""
    state, message = command("/nowhere/ffmpeg")

    assert "unhealthy" == state
    assert "could not be started" in message


def test_a_command_that_takes_too_long_is_killed_with_what_it_started(tmp_path: Path) -> None:
    """As a group."""
    child = tmp_path / "child"
    state, message = command(*SH, f"sleep 300 & echo $! > {child}; wait", timeout=0.5)

    assert ("unhealthy", "/bin/sh killed at its time limit") == (state, message)
    assert not Path(f"/proc/{child.read_text('ascii').strip()}/exe").exists()


def test_a_command_inherits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of ours, which may hold a secret."""
    monkeypatch.setenv("CANARY", "secret")

    assert ("healthy", "none") == command(*SH, 'echo "${CANARY:-none}"')


def test_processes_are_counted_by_their_command_line() -> None:
    """Ours does not count, though it has the words on its own."""
    word = f"canary-{os.getpid()}"
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()", word], stdin=subprocess.PIPE) as other:
        _wait_for_exec(other.pid, word)
        one = rules.Process(kind="process", name="p", command_line=word)
        none = rules.Process(kind="process", name="p", command_line=word, at_least=0, at_most=0)
        two = rules.Process(kind="process", name="p", command_line=word, at_least=2)
        states = [ProcessCheck(rule, "/proc").run().level.word for rule in (one, none, two)]
        other.communicate()

    assert ["healthy", "unhealthy", "unhealthy"] == states


def _wait_for_exec(pid: int, word: str) -> None:
    while word.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes():
        time.sleep(0.001)


@pytest.mark.parametrize(
    ("keys", "state"),
    [
        ({}, "healthy"),
        ({"exists": False}, "unhealthy"),
        ({"max_age": Duration("99s")}, "unhealthy"),
        ({"max_age": Duration("100s")}, "healthy"),
        ({"min_size": Size(4)}, "unhealthy"),
        ({"min_size": Size(3), "max_size": Size(3)}, "healthy"),
        ({"max_size": Size(2)}, "unhealthy"),
    ],
)
def test_a_file_is_there_fresh_and_of_a_size(tmp_path: Path, keys: dict[str, object], state: str) -> None:
    """Age is by the wall clock."""
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    os.utime(path, (900, 900))
    rule = rules.File(kind="file", name="f", path=str(path), **keys)  # type: ignore[arg-type]

    assert state == FileCheck(rule, ManualClock(1000)).run().level.word


@pytest.mark.parametrize(("exists", "state"), [(True, "unhealthy"), (False, "healthy")])
def test_a_file_that_is_not_there(tmp_path: Path, exists: bool, state: str) -> None:
    """Some must not be."""
    rule = rules.File(kind="file", name="f", path=str(tmp_path / "no" / "f"), exists=exists)

    assert state == FileCheck(rule, ManualClock(1_000)).run().level.word


def test_a_directory_is_added_up_once_a_file(tmp_path: Path) -> None:
    """Below it too; a hard link is the same file, a symlink is not followed, a hole takes no space."""
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "f").write_bytes(b"x" * 8192)
    os.link(tmp_path / "below" / "f", tmp_path / "g")
    (tmp_path / "root").symlink_to("/usr")
    with open(tmp_path / "hole", "wb") as hole:
        hole.truncate(1 << 30)
    rule = rules.Directory(kind="directory", name="d", path=str(tmp_path), warn=Size(8192), critical=Size("1MB"))
    finding = DirectoryCheck(rule).run()

    assert ("warning", 8192) == (finding.level.word, finding.value)
    gone = rules.Directory(kind="directory", name="d", path=str(tmp_path / "no"))
    assert "unhealthy" == DirectoryCheck(gone).run().level.word
