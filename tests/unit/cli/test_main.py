from __future__ import annotations

import json
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import typer

import agent
from agent.cli import reach
from agent.cli.commands import app
from tests.unit.cli.conftest import FakeControl, Stage

COMMANDS = ("run", "status", "rotate", "cleanup", "verify", "cat", "audit", "reload", "check-config", "demo")

HELP = """\
Usage: telemetry-agent [OPTIONS] COMMAND [ARGS]...
Rotates, compresses and keeps telemetry files that somebody else is writing, and loses no record.
Exit codes: 0 done; 1 a finding, or failed; 2 wrong command line; 75 try again later (the directory is locked, or the \
agent cannot be reached); 78 wrong configuration; 130 interrupted.
Configuration: --config, else $TELEMETRY_AGENT_CONFIG, ./agent.toml, /etc/telemetry-agent/agent.toml."""


def words(text: str) -> str:
    """Help without the lines around it and its line breaks, which are the terminal's."""
    return re.sub(r"\s+", " ", re.sub("[─│╭╮╰╯]", " ", text)).strip()


def test_help_names_every_command_and_exit_code(stage: Stage) -> None:
    """The first thing a user sees: what it is, the commands in the order of use, the exit codes."""
    code, out, _ = stage.run("--help", at=False)
    text = words(out)

    assert code == 0
    for sentence in HELP.splitlines():
        assert sentence in text
    listed = text[text.index("Commands ") : text.index("Exit codes")]
    assert sorted(COMMANDS, key=lambda name: listed.index(f" {name} ")) == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself_with_an_example(stage: Stage, command: str) -> None:
    """`--help` of each command has an example that begins with the program's name, and the exit codes."""
    code, out, _ = stage.run(command, "--help", at=False)
    text = words(out)

    assert code == 0
    assert f"Usage: telemetry-agent {command} " in text
    assert f"Example: telemetry-agent {command} " in text or f"&& telemetry-agent {command}" in text
    assert "75 try again later" in text


def named(group: Any, *path: str) -> Iterator[tuple[str, ...]]:
    """Every command below a group, the groups below it too."""
    for name, command in group.commands.items():
        yield (*path, name)
        if hasattr(command, "commands"):
            yield from named(command, *path, name)


@pytest.mark.parametrize("path", [*named(typer.main.get_command(app))], ids=" ".join)
def test_each_command_of_a_group_has_an_example(stage: Stage, path: tuple[str, ...]) -> None:
    """Groups and what is in them, however deep: the example calls the very command, or one of the group."""
    _, out, _ = stage.run(*path, "--help", at=False)

    assert re.search(rf"Example: (.* && )?telemetry-agent {' '.join(path)}\b", words(out))


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "demo"])
def test_each_command_takes_the_configuration_options(stage: Stage, command: str) -> None:
    """`--config` and `--set` may follow the name of every command that reads a configuration."""
    _, out, _ = stage.run(command, "--help", at=False)

    assert {"--config", "--set"} <= set(words(out).split())


def test_options_count_before_and_after_the_command(stage: Stage) -> None:
    """`--set` adds up over both places, and what comes later wins."""
    _, out, _ = stage.run(
        "--set", "retention.keep=3", "--set", "agent.environment=one", "check-config", "--json",
        "--set", "agent.environment=two",
    )  # fmt: skip
    values = {row["key"]: row["value"] for row in json.loads(out)["keys"]}

    assert (values["retention.keep"], values["agent.environment"]) == ("3", '"two"')
    assert values["files.directory"] == json.dumps(str(stage.directory))


def test_a_config_file_after_the_command_wins(stage: Stage) -> None:
    """Of two `--config` the one after the command's name is read."""
    for name in ("one", "two"):
        (stage.directory.parent / name).write_text(f'[agent]\nenvironment = "{name}"\n')
    _, out, _ = stage.run("--config", "one", "check-config", "--json", "--config", "two")

    assert json.loads(out)["path"] == "two"


def test_version_is_one_line(stage: Stage) -> None:
    """`--version` prints the program's name and version."""
    assert stage.run("--version", at=False) == (0, f"telemetry-agent {agent.__version__}\n", "")


@pytest.mark.parametrize("arguments", [["--nonsense"], ["nonsense"], ["cat"], ["demo", "--rate", "0"]])
def test_a_wrong_command_line_exits_with_2(stage: Stage, arguments: list[str]) -> None:
    """Usage errors are told on standard error."""
    code, out, err = stage.run(*arguments, at=False)

    assert (code, out) == (2, "")
    assert "Usage: telemetry-agent" in err


def test_without_a_directory_the_command_says_what_to_set(stage: Stage) -> None:
    """No default directory exists, so its absence is a configuration error with a remedy."""
    code, _, err = stage.run("status", at=False)

    assert code == 78
    assert "files.directory" in err
    assert " hint: " in err


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A status that fails for no known reason."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(reach, "status", fail)
    return iter(())


@pytest.mark.usefixtures("broken")
def test_an_unexpected_error_is_told_without_its_stack(stage: Stage) -> None:
    """A defect is never silent: it is named, exits with 1, and the hint says how to see more."""
    code, _, err = stage.run("status")

    assert code == 1
    assert err.splitlines()[0] == "error: unexpected ZeroDivisionError: by zero"
    assert "--debug" in err
    assert "Traceback" not in err


@pytest.mark.usefixtures("broken")
def test_debug_shows_the_stack(stage: Stage) -> None:
    """With `--debug` the exception leaves the program as it is, traceback and all."""
    with pytest.raises(ZeroDivisionError):
        stage.run("--debug", "status")


def test_an_error_of_the_system_is_told_in_its_words(stage: Stage) -> None:
    """A full disk or a missing permission is no defect, and is not called one."""
    stage.state.write_text("not a directory")
    code, _, err = stage.run("audit")

    assert code == 1
    assert "Not a directory" in err
    assert "defect" not in err


def test_run_starts_the_agent_with_its_directory(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run DIR` hands the whole configuration to the agent and leaves with its exit code."""
    seen: list[Any] = []

    def start(loaded: Any) -> int:
        seen.append(loaded)
        return 3

    monkeypatch.setattr(agent, "app", types.SimpleNamespace(run=start), raising=False)
    code, _, _ = stage.run("run", str(stage.directory), "--set", "rotation.max_size=1MB", at=False)

    assert code == 3
    assert seen[0].config.files.directory == str(stage.directory)
    assert seen[0].config.rotation.max_size == 1_000_000


class Finding(msgspec.Struct):
    """What verify finds."""

    path: str
    stream: str
    position: int | None
    what: str
    hint: str
    severity: str


def test_verify_without_findings_succeeds(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything whole is one sentence and exit code 0."""
    monkeypatch.setattr(reach, "findings", lambda _: [])
    code, out, _ = stage.run("verify")

    assert code == 0
    assert out.startswith("No findings")


def test_verify_tells_each_finding_and_fails(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finding says what, where and what to do; the exit code is 1, also with `--json`."""
    finding = Finding("/t/a.gz", "a.json", 17, "the digest differs", "restore it from a backup", "error")
    monkeypatch.setattr(reach, "findings", lambda _: [finding, Finding("", "b.json", None, "a gap", "", "warning")])
    code, out, _ = stage.run("verify")

    assert code == 1
    assert [line.strip() for line in out.splitlines()] == [
        "error: the digest differs",
        "where: /t/a.gz, a.json, position 17",
        "hint: restore it from a backup",
        "warning: a gap",
        "where: b.json",
        "2 findings.",
    ]
    code, out, _ = stage.run("verify", "--json")
    assert (code, json.loads(out)[0]["position"]) == (1, 17)


CAT = """
import sys
from agent.cli import main, reach
def records(config, stream, **options):
    assert (stream, options["start"], options["follow"]) == ("a.json", 5, False), options
    yield from [b"\\xff\\x00 bytes as they are\\n"] * {times}
    {then}
reach.records = records
sys.exit(main(["--directory", {directory!r}, "cat", "a.json", "--from", "5"]))
"""


def test_cat_writes_bytes_as_they_are(stage: Stage) -> None:
    """Nothing is decoded, so what is no UTF-8 survives."""
    script = CAT.format(times=2, then="", directory=str(stage.directory))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)

    assert (done.stdout, done.stderr) == (b"\xff\x00 bytes as they are\n" * 2, b"")


def test_cat_tells_what_it_leaves_out_and_fails(stage: Stage) -> None:
    """On standard error, so that what can be read stays as it is: which stream, from where to where, and why."""
    script = CAT.format(times=1, then='options["left_out"](30, 1530, "damaged")', directory=str(stage.directory))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)

    assert (1, b"\xff\x00 bytes as they are\n") == (done.returncode, done.stdout)
    assert [
        "error: 1,500 bytes left out, positions 30 to 1530: damaged",
        "where: a.json",
    ] == done.stderr.decode().splitlines()[:2]


def test_cat_dies_quietly_with_its_reader(stage: Stage) -> None:
    """`cat | head` ends by SIGPIPE without a word, as cat(1) does."""
    script = CAT.format(times=10_000_000, then="", directory=str(stage.directory))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        code = process.wait()

    assert (code, said) == (-13, b"")


def test_cat_from_and_since_exclude_each_other(stage: Stage) -> None:
    """Two starting points are a usage error."""
    code, _, err = stage.run("cat", "a.json", "--from", "1", "--since", "1h")

    assert code == 2
    assert "use one of them" in words(err)


def test_a_broken_pipe_of_a_table_is_quiet(stage: Stage) -> None:
    """`status | true` prints no traceback."""
    with stage.agent(FakeControl()):
        command = [sys.executable, "-m", "agent", "status", "--directory", str(stage.directory)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            said = process.stderr.read()

    assert said == b""


@pytest.mark.parametrize("arguments", [["--version"], ["run", "/"]])
def test_starting_costs_no_tables_and_no_clients(arguments: list[str]) -> None:
    """Neither `--version` nor `run` imports what only other commands print or talk with."""
    script = (
        "import sys, types, agent\n"
        "agent.app = types.SimpleNamespace(run=lambda loaded: 0)\n"
        "from agent.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: pass\n"
        "print(sorted({'rich', 'httpx', 'http.client', 'watchfiles', 'starlette', 'asyncio'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"
