"""`health`, with and without an agent; `--probe`, which must be fast."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from agent.kit.disk import Directory
from tests.unit.cli.conftest import Stage
from tests.unit.web.conftest import CHECK, Site

CONFIG = '[health]\nbuilt_in = []\n[[health.check]]\nkind = "file"\nname = "x"\n'


@pytest.fixture
def site(stage: Stage) -> Iterator[Site]:
    """The web server of an agent that watches the stage's directory."""
    with Directory.make(str(stage.state), 0o700) as state:
        made = Site(state)
        made.start()
        yield made
        made.stop()


@pytest.mark.parametrize(
    ("level", "word", "code", "line"),
    [
        (1, "healthy", 0, "OK: 1 of 1 checks are healthy"),
        (2, "warning", 1, "WARNING: check memory is warning: much"),
        (3, "unhealthy", 2, "CRITICAL: check memory is unhealthy: much"),
    ],
)
def test_the_running_agents_verdict_is_a_plug_ins(
    stage: Stage, site: Site, level: int, word: str, code: int, line: str
) -> None:
    """Its first line and its exit code are what a monitoring system reads; a table follows."""
    site.checks = [msgspec.structs.replace(CHECK, level=level, state=word, message="much")]

    status, out, _ = stage.run("health")

    assert (code, line) == (status, out.splitlines()[0])
    name, state, *looked, said = out.splitlines()[2].split()
    assert ("memory", word, "ago", "much") == (name, state, looked[-1], said)


def test_checks_that_found_nothing_out_are_unknown(stage: Stage, site: Site) -> None:
    """Exit code 3: nobody can say."""
    site.checks = [msgspec.structs.replace(CHECK, level=0, state="unknown", last_run=None)]

    assert 3 == stage.run("health")[0]


def test_json_is_the_agents_answer(stage: Stage, site: Site) -> None:
    """With the checks and the tree, and the same exit code."""
    code, out, _ = stage.run("health", "--json")

    assert 0 == code
    assert ["memory"] == [check["name"] for check in json.loads(out)["checks"]]
    assert site.addresses.tcp


@pytest.mark.parametrize(("path", "code", "word"), [("/", 0, "OK"), ("/nowhere/at/all", 2, "CRITICAL")])
def test_without_an_agent_every_check_is_run_once(stage: Stage, path: str, code: int, word: str) -> None:
    """In this process."""
    Path("agent.toml").write_text(f'{CONFIG}path = "{path}"\n', "utf-8")

    status, out, _ = stage.run("health")

    assert (code, word) == (status, out.partition(":")[0])
    assert out.splitlines()[0].endswith("; no agent is running here, each was run once now")


def test_built_in_checks_run_without_an_agent(stage: Stage) -> None:
    """All but the one of the main loop."""
    _, out, _ = stage.run("health", "--json")

    names = ["disk_space", "memory", "streams", "telemetry_directory"]
    assert names == [check["name"] for check in json.loads(out)["checks"]]


def test_what_cannot_be_found_out_is_unknown(stage: Stage) -> None:
    """A wrong configuration too: for a monitoring system 78 means nothing."""
    Path("agent.toml").write_text("nonsense = 1\n", "utf-8")

    status, out, _ = stage.run("health")

    assert 3 == status
    assert out.startswith("UNKNOWN: agent.toml:1: nonsense is no known key")


def test_check_config_makes_the_checks(stage: Stage) -> None:
    """What only making one shows is an error of the configuration, too."""
    Path("agent.toml").write_text('[[health.check]]\nkind = "tcp"\nname = "x"\naddress = "nowhere"\n', "utf-8")

    status, _, err = stage.run("check-config")

    assert 78 == status
    assert "'nowhere' is no address" in err


Ask = Callable[[Stage, Site], list[str]]
WAYS: dict[str, Ask] = {
    "set": lambda _, site: ["--set", f"web.listen={site.addresses.tcp}", "health", "--probe"],
    "set joined": lambda _, site: ["health", "--probe", f"--set=web.listen={site.addresses.tcp}"],
    "socket": lambda stage, _: ["health", "--probe", "-d", str(stage.directory), "--set", "web.listen="],
    "file": lambda _, site: _with_file(site),
}


def _with_file(site: Site) -> list[str]:
    Path("other.toml").write_text(f'[web]\nlisten = "{site.addresses.tcp}"\n', "utf-8")
    return ["health", "--config", "other.toml", "--probe"]


@pytest.mark.parametrize("way", WAYS)
def test_probe_finds_the_agent_and_tells_whether_it_lives(stage: Stage, site: Site, way: str) -> None:
    """0 while the main loop lives, 1 once it is stuck, and why."""
    words = WAYS[way](stage, site)
    assert (0, "ok\n", "") == stage.run(*words, at=False)

    site.clock.steady += 60
    code, _, err = stage.run(*words, at=False)
    assert 1 == code
    assert "the main loop has not answered for 60.0 s" in err


@pytest.mark.parametrize(("word", "near"), [("--confg=a", "--config"), ("--prob", "--probe"), ("--jsno", "--json")])
def test_probe_knows_its_options(stage: Stage, word: str, near: str) -> None:
    """A word that is none of them is an error that names the nearest one, and nobody is asked."""
    code, _, err = stage.run("health", "--probe", word)

    assert 2 == code
    assert f"No such option: {word.partition('=')[0]}" in err
    assert near in err.partition("No such option")[2]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("web.lisen=127.0.0.1:1", "did you mean web.listen"),
        ("web.listen", "section.key=value"),
        ("rotation.max_size=huge", "rotation.max_size"),
    ],
)
@pytest.mark.parametrize("form", ["-d", "-d."], ids=["plain", "typer"])
def test_probe_tells_a_wrong_override(stage: Stage, site: Site, override: str, told: str, form: str) -> None:
    """As every other command does, by 78 and the nearest key; nobody is asked."""
    at = [form, "."] if form == "-d" else [form]
    words = ["health", "--probe", *at, "--set", f"web.listen={site.addresses.tcp}", "--set", override]
    code, out, err = stage.run(*words, at=False)

    assert (78, "") == (code, out)
    assert told in err


def test_probe_takes_overrides_that_say_nothing_about_the_address(stage: Stage, site: Site) -> None:
    """The same words may be given to the agent and to its probe."""
    words = ["--set", "rotation.max_size=5MB", "--set", f"web.listen={site.addresses.tcp}"]

    assert (0, "ok\n", "") == stage.run("health", "--probe", *words, at=False)


def test_probe_passes_by_a_guarded_port(stage: Stage, site: Site) -> None:
    """Where the port may ask for certificates and passwords, the local socket is asked: it needs neither."""
    words = ["--set", f"web.listen={site.addresses.tcp}", "--set", "web.config_file=/nowhere.yml"]

    assert (0, "ok\n", "") == stage.run("health", "--probe", "-d", str(stage.directory), *words, at=False)


def test_probe_obeys_the_environment(stage: Stage, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the agent does."""
    monkeypatch.setenv("TELEMETRY_AGENT__WEB__LISTEN", site.addresses.tcp)

    assert 0 == stage.run("health", "--probe")[0]


@pytest.mark.parametrize("text", ["[web]\nlisten = ", '[web]\nlisten = "127.0.0.1:1"', '[web]\nlisten = "nonsense"'])
def test_probe_fails_where_there_is_no_agent(stage: Stage, text: str) -> None:
    """Or no sense in the file."""
    Path("agent.toml").write_text(text, "utf-8")

    code, _, err = stage.run("health", "--probe")
    assert 1 == code
    assert err.startswith("no answer: ")


def test_probe_imports_the_standard_library_alone(stage: Stage) -> None:
    """It runs every few seconds in a container."""
    script = (
        "import sys; before = set(sys.modules); from agent.cli import main; main(['health', '--probe']);"
        "print({name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "{'agent'}\n" == told.stdout
    assert not stage.state.exists()
