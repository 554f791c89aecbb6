from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from agent.cli.status import show
from agent.control import NextRotation, Status
from tests.unit.cli.conftest import FakeControl, Stage
from tests.unit.cli.samples import DIRECTORY, NOW, STATUS, stream

GOLDEN = Path(__file__).with_name("status.golden").read_text("utf-8")


def shown(status: Status, width: int = 160) -> str:
    """What a pipe of that width gets, without the padding at the line ends."""
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False, emoji=False)
    show(status, console)
    assert isinstance(console.file, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


def test_status_looks_like_this(stage: Stage) -> None:
    """The whole picture of a running agent, through the socket, as a pipe gets it."""
    with stage.agent(FakeControl()):
        code, out, err = stage.run("status")

    assert (code, err) == (0, "")
    assert out == GOLDEN


def test_status_json_is_the_message_itself(stage: Stage) -> None:
    """A program gets control.Status back, field for field."""
    with stage.agent(FakeControl()):
        _, out, _ = stage.run("status", "--json")

    assert msgspec.json.decode(out, type=Status) == STATUS


def test_status_without_streams_says_what_will_happen() -> None:
    """An empty directory is a sentence, not an empty table."""
    text = shown(msgspec.structs.replace(STATUS, streams=[], components=[], audit_unwritten=0))

    assert "No telemetry files yet" in text
    assert text.endswith("No problems.\n")


def test_status_of_a_stopped_agent_says_so() -> None:
    """What the files alone say is not passed off as an agent's answer."""
    text = shown(msgspec.structs.replace(STATUS, running=False, service_name="", environment="", config_path=""))

    assert text.startswith("telemetry-agent 0.1.0: no agent is running here")
    assert "configuration is the defaults\n\n" in text


def test_status_of_a_stopped_agent_names_its_configuration(stage: Stage) -> None:
    """The file that was read is named, with a running agent and without one."""
    path = stage.directory.parent / "own.toml"
    path.write_text(f"[files]\ndirectory = {str(stage.directory)!r}\n")
    code, out, _ = stage.run("status", "--config", str(path), at=False)

    assert 0 == code
    assert f"configuration {path}\n" in out


@pytest.mark.parametrize("width", [40, 60, 80, 100, 130])
def test_a_narrow_terminal_drops_columns_before_it_breaks_rows(width: int) -> None:
    """On a narrow screen the less important columns go; name, state, live bytes and next rotation stay."""
    lines = shown(STATUS, width).splitlines()
    heading = next(line for line in lines if line.startswith("STREAM"))

    assert len(heading) <= width
    if width >= 60:
        assert heading.split()[:3] == ["STREAM", "STATE", "LIVE"]
        assert "NEXT ROTATION" in heading
    assert ("METHOD" in heading) == (width >= 130)


def test_a_name_cannot_command_the_terminal() -> None:
    """Control characters of a file name are shown escaped, and brackets are no markup."""
    text = shown(msgspec.structs.replace(STATUS, streams=[stream("\x1b[31m[bold]x.json")]))

    assert "\\x1b[31m[bold]x.json" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("rotation", "text"),
    [
        (NextRotation(reason=""), "-"),
        (NextRotation(reason="size"), "by size"),
        (NextRotation(reason="schedule", at=NOW + 90), "schedule, in 1m 30s"),
        (NextRotation(reason="age", at=NOW - 5), "age, now"),
    ],
)
def test_next_rotation_in_words(rotation: NextRotation, text: str) -> None:
    """Whatever is known about the next rotation is told, and nothing else."""
    status = msgspec.structs.replace(STATUS, streams=[stream("a.json", next_rotation=rotation)])
    row = next(line for line in shown(status).splitlines() if line.startswith("a.json"))

    assert f"  {text}  " in row


def test_critical_directory_is_a_problem() -> None:
    """A directory above its critical total is told as a problem even where nobody gave a reason."""
    directory = msgspec.structs.replace(DIRECTORY, critical=True, critical_total=40_000_000)
    text = shown(msgspec.structs.replace(STATUS, directory=directory))

    assert "103% of 40.0 MB (files.critical_total)" in text
    assert "- The directory is above files.critical_total" in text


def test_unknown_flag_is_shown_as_it_is() -> None:
    """A flag of a newer agent is not swallowed by an older command."""
    assert "- a.json is flagged brand_new." in shown(
        msgspec.structs.replace(STATUS, streams=[stream("a.json", flags=("brand_new",))])
    )
