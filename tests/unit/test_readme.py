"""The README says what the program does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import agent
from agent import cli
from agent.cli.commands import app
from agent.config import load
from agent.config.keys import known
from agent.streams.index import Index
from tests.support.readme import README, command, metrics_reference, own_families, renewed, section

TEXT = README.read_text("utf-8")
SHELL = """#!/bin/sh
echo "pip $*"
for name in telemetry-agent pytest; do
    printf '#!/bin/sh\\necho "$0 $*"\\n' > "${3%/*}/$name"
    chmod +x "${3%/*}/$name"
done
"""


def blocks(language: str) -> list[str]:
    """The README's blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def first_cells(heading: str) -> list[str]:
    """The first column of the table below a heading row that begins so."""
    rows = TEXT.partition(f"\n| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [row.split("|")[1].strip().strip("`") for row in rows]


def run(line: str, place: Path, **environment: str) -> list[str]:
    """What a command prints with a pip that only tells its arguments and makes programs that tell theirs."""
    tools = place / "tools"
    tools.mkdir()
    (tools / "pip").write_text(SHELL)
    (tools / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    for name in ("pip", "python3"):
        (tools / name).chmod(0o755)
    path = f"{tools}{os.pathsep}{os.defpath}"
    done = subprocess.run(
        ["bash", "-c", line], cwd=place, env={"PATH": path, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_generated_parts_are_those_of_the_code() -> None:
    """Run `python -m tests.support.readme` after a change of the schema or of the metrics."""
    assert renewed(TEXT) == TEXT


def test_a_missing_marker_is_an_error() -> None:
    """A reference that silently stays old would lie."""
    with pytest.raises(ValueError, match="has no <!-- a -->"):
        section("text", ("<!-- a -->", "<!-- b -->"))


@pytest.mark.parametrize(
    ("name", "what", "last"), [("demo", ".", "telemetry-agent demo"), ("test", ".[test]", "pytest ")]
)
def test_a_command_makes_its_own_environment_where_none_is_active(
    name: str, what: str, last: str, tmp_path: Path
) -> None:
    """Without ensurepip, too: plain Debian has none."""
    assert [f"pip -q --python .venv/bin/python install {what}", f".venv/bin/{last}"] == run(
        command(TEXT, name), tmp_path
    )
    assert (tmp_path / ".venv/pyvenv.cfg").exists()
    assert not (tmp_path / ".venv/bin/pip").exists()


@pytest.mark.parametrize("name", ["demo", "test"])
def test_a_command_uses_the_environment_that_is_active(name: str, tmp_path: Path) -> None:
    """Nothing appears in the clone then."""
    mine = tmp_path / "mine"
    (mine / "bin").mkdir(parents=True)
    (mine / "bin/python").symlink_to(sys.executable)

    printed = run(command(TEXT, name), tmp_path, VIRTUAL_ENV=str(mine))

    assert printed[0].startswith(f"pip -q --python {mine}/bin/python install ")
    assert printed[1].startswith(f"{mine}/bin/")
    assert not (tmp_path / ".venv").exists()


def test_a_command_fails_when_pip_fails(tmp_path: Path) -> None:
    """An old installation is not taken for the new one."""
    line = command(TEXT, "test").replace("pip -q", "false -q")

    with pytest.raises(subprocess.CalledProcessError):
        run(line, tmp_path)


@pytest.mark.parametrize("block", blocks("toml"))
def test_configuration_examples_load(block: str, tmp_path: Path) -> None:
    """Each example is valid as it stands."""
    path = tmp_path / "agent.toml"
    path.write_text(block, "utf-8")

    load(str(path), environ={})


def test_keys_named_in_the_text_exist() -> None:
    """A key that was renamed is renamed here, too."""
    named = set(re.findall(r"`((?:files|rotation|retention|agent|web)\.\w+)", TEXT))

    assert len(named) > 5
    assert set() == named - set(known())


def test_metrics_named_in_the_text_exist() -> None:
    """An alert on a metric that does not exist never fires."""
    families = {one.name for one in own_families()}

    assert set() == set(re.findall(r"telemetry_agent_\w+", TEXT)) - families


def test_every_metric_has_its_row() -> None:
    """Those of streams, delivery, checks, the machine and the container are metrics as well."""
    table = metrics_reference()

    assert all(f"| `{one.name}` |" in table for one in own_families())


def test_every_command_is_in_the_table() -> None:
    """In the order in which --help shows them."""
    names = [(one.name or one.callback.__name__).replace("_", "-") for one in app.registered_commands if one.callback]
    names += [one.name for one in app.registered_groups if one.name]

    assert names == [cell.split()[0] for cell in first_cells("command")]


def test_exit_codes_are_those_of_the_program() -> None:
    """Scripts rely on them."""
    codes = {cli.OK, cli.FAILED, cli.UNAVAILABLE, cli.BAD_CONFIG, 2, 130}

    assert sorted(codes) == [int(cell) for cell in first_cells("exit code")]


def test_every_key_of_a_segment_index_is_described() -> None:
    """The format is a public contract."""
    table = section(TEXT, ("<!-- segment index -->", "<!-- end of segment index -->"))

    assert list(Index.__struct_fields__) == re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)


def test_the_changelog_begins_with_this_version() -> None:
    """A release without an entry is not finished."""
    assert agent.__version__ == re.findall(r"^### (\d\S*)$", TEXT, re.MULTILINE)[0]


def test_links_within_the_document_lead_somewhere() -> None:
    """Each heading is found by its name in lower case with hyphens."""
    names = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    headings = {re.sub(r"[^\w -]", "", name).lower().replace(" ", "-") for name in names}

    assert set() == set(re.findall(r"\]\(#([\w-]+)\)", TEXT)) - headings


def test_every_test_that_is_named_is_there() -> None:
    """A promise without its test is none."""
    named = set(re.findall(r"`(tests/[\w/.]+\.py)`", TEXT))

    assert len(named) > 10
    assert [] == sorted(one for one in named if not (README.parent / one).exists())
