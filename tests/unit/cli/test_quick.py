"""The plain forms of `run` and `health --probe` mean the same with and without typer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from agent.cli import commands, main, quick
from agent.cli.options import Invocation

PLAIN = (
    ["run"],
    ["run", "here"],
    ["run", "-c", "a.toml"],
    ["run", "--config=a.toml", "here"],
    ["run", "--set", "rotation.max_size=1MB", "--set=agent.log_level=debug", "here"],
    ["--set", "a=1", "-d", "there", "run", "--set", "b=2"],
    ["--directory", "there", "--config", "a", "run", "here", "-c", "b"],
    ["--directory=there", "run", ""],
    ["run", "--set", "rotation.pre=['a', '--b=c']"],
)


PROBES = (
    ["health", "--probe"],
    ["-c", "a.toml", "--set", "a=1", "health", "--probe", "--set=b=2", "-d", "there"],
    ["--directory", "there", "health", "--config=b", "--probe"],
)


@pytest.mark.parametrize("words", PLAIN, ids=" ".join)
def test_a_plain_line_means_what_typer_reads(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Configuration file, overrides in their order and directory are those that the `run` command would use."""
    asked: list[tuple[Any, ...]] = []

    def load(config: str | None, *, overrides: list[str], directory: str | None, **_: object) -> None:
        asked.append((config, overrides, directory or None))
        raise SystemExit

    monkeypatch.setattr("agent.config.load", load)
    said = quick.read(words)
    assert said is not None
    acts: tuple[Callable[[], object], ...] = (
        lambda: commands.app(words, prog_name="telemetry-agent", obj=Invocation()),
        lambda: quick.run(said),
    )
    for act in acts:
        with pytest.raises(SystemExit):
            act()
    assert asked[0] == asked[1]


@pytest.mark.parametrize("words", PROBES, ids=" ".join)
def test_a_plain_probe_asks_what_typer_would_ask(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Configuration file, overrides in their order and directory, whoever reads them."""
    asked: list[tuple[str | None, list[str], str | None]] = []

    def probe(config: str | None, overrides: list[str], directory: str | None) -> int:
        asked.append((config, overrides, directory))
        return 7

    monkeypatch.setattr("agent.cli.probe.probe", probe)
    with pytest.raises(SystemExit) as left:
        commands.app(words, prog_name="telemetry-agent", obj=Invocation())

    assert (7, 7) == (left.value.code, main(words))
    assert asked[0] == asked[1]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["health"],
        ["health", "--probe", "--help"],
        ["health", "--probe", "--confg", "a"],
        ["health", "--probe", "here"],
        ["--probe", "health"],
        ["run", "--probe"],
        ["status"],
        ["--version"],
        ["--debug", "run"],
        ["run", "--help"],
        ["run", "--sett", "a=1"],
        ["run", "one", "two"],
        ["run", "--set"],
        ["run", "--", "here"],
        ["run", "-cfile"],
        ["run", "here", "-d", "there"],
        ["--config", "run"],
    ],
    ids=" ".join,
)
def test_whatever_is_not_plain_is_typers(words: list[str]) -> None:
    """Help, mistakes and unknown options are answered by typer."""
    assert quick.read(words) is None


def test_the_running_agent_never_imports_typer() -> None:
    """What the process that stays imports holds neither typer nor pydantic."""
    code = (
        "import sys; from agent.cli import main; import agent.app; agent.app.run = lambda loaded: 0;"
        "status = main(['run', '.']);"
        "print(status, [one for one in ('typer', 'pydantic', 'rich', 'httpx') if one in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "0 []\n"
