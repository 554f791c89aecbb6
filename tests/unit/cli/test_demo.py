from __future__ import annotations

import ast
import gzip
import io
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import pytest
from rich.console import Console

from agent.cli.demo import judge as judging
from agent.cli.demo.judge import Verdict, judge
from agent.cli.demo.stage import play
from agent.cli.demo.view import Look, Picture, look, show_verdict
from agent.kit.errors import AgentError
from tests.unit.cli.conftest import Stage


def numbered(*ids: int) -> list[bytes]:
    """Lines with these ids, as the generator writes them."""
    text = '{"resourceSpans":[{"key":"telemetry_agent.sequence","value":{"intValue":"%d"}}]}\n'
    return [(text % number).encode() for number in ids]


def seal(live: Path, number: int, lines: list[bytes], start: int, *, inode: int | None = None) -> int:
    """Write a segment of `lines` that lay at `start` of the live file; where they ended."""
    content = b"".join(lines)
    end = start + len(content)
    index = {
        "logical": [start, end],
        "physical": [start, end],
        "incarnation": {"inode": inode or live.stat().st_ino, "birth": None},
    }
    text = json.dumps(index).encode()
    extra = text + struct.pack("<II", zlib.crc32(text), len(text))
    head = struct.pack("<4BI2BH2sH", 31, 139, 8, 4, 0, 0, 255, len(extra) + 4, b"TI", len(extra))
    segment = gzip.compress(content) + head + extra + b"\x03\x00" + bytes(8)
    live.with_name(f"traces_20261122_17200{number}.json.gz").write_bytes(segment)
    return end


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """Ten lines: seven in two segments, whose space is a hole in the live file, and three live."""
    path = tmp_path / "traces.json"
    path.touch()
    end = seal(path, 9, numbered(0, 1, 2, 3), 0)
    end = seal(path, 1, numbered(4, 5, 6), end)  # a name that sorts before its predecessor's
    path.write_bytes(bytes(end) + b"".join(numbered(7, 8, 9)))
    return path


def test_every_line_is_found_once(live: Path) -> None:
    """Sealed lines come from the segments in the order of their positions, live ones from behind the sealed end."""
    verdict = judge(live, 10)

    assert verdict.ok
    assert (verdict.sealed, verdict.live, verdict.segments) == (7, 3, 2)
    assert verdict.ratio > 0


def test_a_file_set_back_to_nothing_is_read_from_its_start(live: Path) -> None:
    """After a reset the newest segment's offset means nothing any more."""
    live.write_bytes(b"".join(numbered(7)))

    assert (judge(live, 8).ok, judge(live, 8).live) == (True, 1)


def test_a_new_file_is_read_from_its_start(live: Path) -> None:
    """A segment of another inode says nothing about this file, however long it is."""
    seal(live, 1, numbered(4, 5, 6), len(b"".join(numbered(0, 1, 2, 3))), inode=1)
    live.write_bytes(b"".join(numbered(*range(7, 20))))

    assert judge(live, 20).ok


def test_without_segments_everything_is_live(tmp_path: Path) -> None:
    """A run that sealed nothing is counted, too."""
    path = tmp_path / "traces.json"
    path.write_bytes(b"".join(numbered(0, 1)))

    assert (judge(path, 2).live, judge(path, 2).ratio) == (2, 0.0)


@pytest.mark.parametrize(
    ("change", "counted"),
    [
        (numbered(7, 9), {"lost": 1}),
        (numbered(7, 8, 8, 9), {"twice": 1}),
        (numbered(8, 7, 9), {"disordered": 1}),
        ([*numbered(7, 8), numbered(9)[0][:-9]], {"torn": 1, "lost": 1}),
        ([*numbered(7, 8), numbered(9)[0][:-3] + b"\n"], {"torn": 1, "lost": 1}),
        ([*numbered(7, 8, 9), b"{}\n"], {"torn": 1}),
        (numbered(7, 8, 9, 10), {"torn": 1}),
    ],
)
def test_every_fault_is_counted(live: Path, change: list[bytes], counted: dict[str, int]) -> None:
    """A line dropped, doubled, swapped, cut, glued or invented is each found out: the count can fail."""
    end = len(b"".join(numbered(*range(7))))
    live.write_bytes(bytes(end) + b"".join(change))
    verdict = judge(live, 10)

    assert not verdict.ok
    faults = {name: getattr(verdict, name) for name in ("lost", "twice", "torn", "disordered")}
    assert {name: number for name, number in faults.items() if number} == counted


def test_the_count_imports_nothing_of_the_agent() -> None:
    """The judge shares no code with the judged: the standard library is all it knows."""
    tree = ast.parse(Path(judging.__file__).read_text("utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_the_writer_tells_the_truth(tmp_path: Path) -> None:
    """The writer truncates what is there, holds its file, numbers every line, and tells how many it wrote."""
    path = tmp_path / "traces.json"
    path.write_bytes(b"of somebody before\n")
    command = [sys.executable, "-m", "agent.rehearsal.writer", str(path), "5000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        while path.stat().st_size < 50_000:
            time.sleep(0.01)
        writer.terminate()
        told = json.loads(writer.communicate()[0])

    assert (writer.returncode, told["bytes"]) == (0, path.stat().st_size)
    verdict = judge(path, told["lines"])
    assert (verdict.ok, verdict.live) == (True, told["lines"])


def test_a_look_tells_length_and_disk_space_apart(live: Path) -> None:
    """Length is st_size, space is allocated blocks, segments are counted."""
    with live.open("r+b") as file:
        file.truncate(10_000_000)
    seen = look(live, 1.5)

    assert (seen.at, seen.apparent, seen.segments) == (1.5, 10_000_000, 2)
    assert seen.allocated < 1_000_000
    assert seen.newest == "traces_20261122_172001.json.gz"


def test_a_look_before_the_writer_began_is_empty(tmp_path: Path) -> None:
    """No file yet is a picture of nothing, not an error."""
    assert look(tmp_path / "traces.json", 0.0) == Look(0.0, 0, 0, 0, 0, "")


def test_the_picture_shows_both_sizes_and_their_course(tmp_path: Path) -> None:
    """Length, space with its course, seals and archive are all in one frame, in ASCII where there is no more."""
    picture = Picture(tmp_path / "traces.json", 20, ascii_only=True)
    for at, allocated in enumerate((0, 500_000, 1_000_000, 100_000)):
        picture.add(Look(float(at), 1_000_000 * at, allocated, at, 100_000 * at, "traces_20261122_172001.json.gz"))
    console = Console(file=io.StringIO(), width=100, markup=False, highlight=False)
    console.print(picture.frame())
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()

    for part in ("traces.json: written, held open", "3.0 MB", "100 kB", "._+#"[0] + "=#.", "3 times", "17 s left"):
        assert part in text
    assert picture.line() == "  3.0s  live file 3.0 MB long, 100 kB on disk;  sealed 3 times into 300 kB"


@pytest.mark.parametrize(("lost", "sentence"), [(0, "found exactly once"), (1, "this is a defect")])
def test_the_verdict_is_a_table_and_a_sentence(lost: int, sentence: str) -> None:
    """The numbers first, then what they mean."""
    verdict = Verdict(1000, 900, 100 - lost, lost, 0, 0, 0, 30, 9_000_000, 1_000_000)
    console = Console(file=io.StringIO(), width=100, markup=False, highlight=False)
    show_verdict(verdict, console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()

    assert f"lost          {lost:>5}" in text
    assert "sealed 30 times while its writer held it open" in text
    assert "9.0 times smaller" in text
    assert sentence in text


@pytest.fixture
def temporary(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demo makes its directory."""
    monkeypatch.setattr(tempfile, "tempdir", str(stage.directory))
    return stage.directory


def test_a_play_counts_and_cleans_up(stage: Stage, temporary: Path) -> None:
    """Plain lines where there is no terminal, the count at the end, and nothing left behind."""
    good = play(0.5, 2000, keep=False, agent=("tests.unit.cli.idle_agent", "idle"))
    out = stage.capture.readouterr().out

    assert good
    assert "live file" in out
    assert "Every line was found exactly once" in out
    assert list(temporary.iterdir()) == []


def test_a_play_with_a_lossy_agent_fails(stage: Stage, temporary: Path) -> None:
    """Lines that vanish are found out; with `keep` the files stay and their place is told."""
    good = play(0.5, 2000, keep=True, agent=("tests.unit.cli.idle_agent", "lossy"))
    out = stage.capture.readouterr().out

    assert not good
    assert "this is a defect" in out
    (kept,) = temporary.iterdir()
    assert f"The files are kept in {kept}" in out
    assert (kept / "telemetry" / "traces.json").exists()


@pytest.mark.usefixtures("temporary")
def test_a_play_without_an_agent_tells_its_last_words() -> None:
    """An agent that cannot start is an error with what it said, not a count of nothing."""
    with pytest.raises(AgentError, match=r"the demo's agent ended with 3: the disk is on fire"):
        play(0.5, 2000, keep=False, agent=("tests.unit.cli.idle_agent", "broken"))


def test_an_interrupt_ends_early_and_still_counts(stage: Stage, temporary: Path) -> None:
    """Ctrl-C reaches the demo alone; writer and agent are ended in order, and the count is made."""
    script = (
        "from agent.cli.demo.stage import play\n"
        "print(play(600, 2000, keep=False, agent=('tests.unit.cli.idle_agent', 'idle')))\n"
    )
    environment = os.environ | {"TMPDIR": str(temporary)}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment, text=True) as demo:
        assert demo.stdout is not None
        while "MB long" not in demo.stdout.readline():
            pass
        demo.send_signal(signal.SIGINT)
        told = demo.stdout.read()

    assert demo.returncode == 0
    assert told.endswith("True\n")
    assert "Every line was found exactly once" in told
    assert list(stage.directory.iterdir()) == []


def test_a_verdict_without_a_seal_says_so() -> None:
    """A run that sealed nothing does not boast of a ratio."""
    console = Console(file=io.StringIO(), width=120, markup=False, highlight=False)
    show_verdict(Verdict(5, 0, 5, 0, 0, 0, 0, 0, 0, 0), console)
    assert isinstance(console.file, io.StringIO)

    assert "Nothing was sealed" in console.file.getvalue()
    assert "times smaller" not in console.file.getvalue()
