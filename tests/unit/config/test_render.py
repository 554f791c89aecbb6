"""The configuration as text: it is true to the schema, and shows no secret."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated

import pytest
from msgspec import Meta

from agent.config import Config, Forward, Health, load
from agent.config.checks import KINDS, Check
from agent.config.keys import fields, kinds, known, unnumbered, variants
from agent.config.render import commented_toml, effective, markdown_reference
from agent.config.secrets import secret_texts
from agent.config.values import SECRET, Kind, to_toml
from tests.unit.config.conftest import Load

ROOT = Path(__file__).parents[3]


def test_committed_agent_toml_is_the_generated_one() -> None:
    """Run `python -m agent.config.render > agent.toml` after a change of the schema."""
    assert commented_toml() == (ROOT / "agent.toml").read_text("utf-8")


def test_agent_toml_equals_the_defaults() -> None:
    """As it is, it loads and changes nothing."""
    loaded = load(str(ROOT / "agent.toml"), environ={})

    assert Config() == loaded.config
    assert {"default"} == set(loaded.origins.values())


def test_every_key_of_agent_toml_loads_when_uncommented(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uncommented it is still valid, still equals the defaults, and has every key there is."""
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: ["a_plugin"])
    beginnings = ("[", "# [", "#     ", "# ]")
    lines = [
        line.removeprefix("# ")
        for line in commented_toml().splitlines()
        if line.startswith(beginnings) or re.match(r"# \w+ = ", line)
    ]
    (home / "agent.toml").write_text("\n".join(lines), "utf-8")

    loaded = load(None, environ={})

    (rule,), (alert,), (notifier,) = loaded.config.stream, loaded.config.alert, loaded.config.notifier
    given = {key for key, origin in loaded.origins.items() if origin.startswith("file ")}
    checks = loaded.config.health.check
    forward = (Forward(name="collector"),)
    entries = {"stream": (rule,), "alert": (alert,), "notifier": (notifier,), "forward": forward}
    assert Config(health=Health(check=checks), **entries) == loaded.config
    assert ["clock", *KINDS, "a_plugin"] == [check.kind for check in checks]
    apart = ("health.check", "forward.rotation.", "forward.retention.", "stream.rotation.", "stream.retention.")
    tables = tuple(f"{name}." for name in entries)
    keys = {key for key in known() if key.startswith(tables) and not key.startswith(apart)}
    plain = {key for key in keys if not any(other.startswith(f"{key}.") for other in known())}
    expected = {*entries, *plain, *kinds()}
    assert expected == {unnumbered(key) for key in given if not key.startswith("health.check")}


def test_reference_has_a_row_for_every_key_and_a_table_for_every_section() -> None:
    """Each row has four cells: key, type, default, meaning."""
    lines = markdown_reference().splitlines()
    rows = [line.replace("\\|", "") for line in lines if line.startswith("| `")]
    apart = ("stream.rotation.", "stream.retention.", "forward.rotation.", "forward.retention.", "health.check.")
    keys = [key for key in known() if "." in key and not key.startswith(apart)]
    keys += [
        key
        for check in (Check, *variants(Check))
        for key in fields(check)
        if check is Check or key not in fields(Check)
    ]

    assert sorted(key.split(".")[-1] for key in keys) == sorted(row.split("`")[1] for row in rows)
    assert all(row.count("|") == 5 for row in rows)
    assert "### `[[stream]]`" in lines
    assert "### `[rotation]`" in lines


def test_effective_lists_every_value_with_its_origin(load_text: Load) -> None:
    """Values are written as in the file; of an entry only what it gives is listed."""
    loaded = load_text(
        '[[stream]]\nmatch = "a*"\nretention.max_age = "90m"\n',
        "retention.max_total=off",
        "files.include=*.x",
    )
    rows = {key: (value, origin) for key, value, origin in effective(loaded)}

    expected = {
        "rotation.max_size": ('"10MB"', "default"),
        "retention.keep": ("2", "default"),
        "retention.max_total": ('""', "--set"),
        "files.include": ('["*.x"]', "--set"),
        "files.recursive": ("false", "default"),
        "stream[0].match": ('"a*"', "file agent.toml:2"),
        "stream[0].retention.max_age": ('"1h30m"', "file agent.toml:3"),
    }
    assert expected == {key: rows[key] for key in expected}
    assert {"stream[0].match", "stream[0].retention.max_age", *kinds()} == set(rows)


def test_secret_is_not_shown() -> None:
    """Only whether it is set can be seen."""
    kind = Kind(Annotated[str, Meta(extra={"secret": True})])

    expected = [SECRET, to_toml(""), to_toml("x")]
    assert expected == [kind.shown("hunter2"), kind.shown(""), Kind(str).shown("x")]


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("https://bob:hunter2@h:4318/a", "https://(secret)@h:4318/a"),
        ("https://bob:hun@ter2@h", "https://(secret)@h"),
        ("https://hunter2@[::1]:1", "https://(secret)@[::1]:1"),
        ("https://bob:hunter2${file:/run/a}@h/", "https://(secret)@h/"),
        ("${env:SCHEME}://bob:hunter2@h", "${env:SCHEME}://(secret)@h"),
        ("http://h/v1/logs?key=hunter2#a", "http://h/v1/logs?(secret)#a"),
        ("http://h:4318/a@b", "http://h:4318/a@b"),
        ("${env:ENDPOINT}", "${env:ENDPOINT}"),
    ],
)
def test_of_a_url_only_credentials_are_hidden(url: str, seen: str, load_text: Load) -> None:
    """Where it leads can be read; what is hidden is also looked for in every text that others read."""
    loaded = load_text(
        f'[[forward]]\nname = "a"\nendpoints = ["http://b:1", "{url}"]\n[forward.logs]\nendpoint = "{url}"'
    )
    rows = {key: value for key, value, _ in effective(loaded)}

    assert f'["http://b:1", "{seen}"]' == rows["forward[0].endpoints"]
    assert f'"{seen}"' == rows["forward[0].logs.endpoint"]
    assert ("hunter2" in url) == any("hunter2" in text for text in secret_texts(loaded.config))
    assert not any("b:1" in text for text in secret_texts(loaded.config))


@pytest.mark.parametrize("text", ['"', "\\", "a\nb\t\x00\x1f\x7f", "ä€😀", ""])
def test_text_survives_toml(text: str) -> None:
    """Quotes, control characters and anything else come back as they were."""
    assert text == tomllib.loads(f"x = {to_toml(text)}")["x"]
