"""Finding, merging and refusing configurations."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agent.config import PROFILES, Config, Files, Retention, Rotation, StreamRule, load, require_directory
from agent.config.keys import kinds
from agent.kit.errors import ConfigError
from agent.kit.units import Duration, Share, Size
from tests.unit.config.conftest import Load

# -- where the file is found


def test_without_a_file_the_defaults_hold() -> None:
    """No file is no error; every key comes from the defaults."""
    loaded = load(None, environ={})

    assert Config() == loaded.config
    assert not loaded.path
    assert dict.fromkeys(kinds(), "default") == loaded.origins


def test_file_is_found_by_option_then_variable_then_here_then_etc(home: Path) -> None:
    """The first place in the documented order wins, and the answer says which it was."""
    places = ["option.toml", "variable.toml", "agent.toml", "etc/agent.toml"]
    (home / "etc").mkdir()
    for place in places:
        (home / place).write_text(f'agent.environment = "{place}"\n')
    environ = {"TELEMETRY_AGENT_CONFIG": "variable.toml"}

    found = [load("option.toml", environ=environ), load(None, environ=environ), load(None, environ={})]
    (home / "agent.toml").unlink()
    found.append(load(None, environ={}))

    assert places == [loaded.path for loaded in found]
    assert places == [loaded.config.agent.environment for loaded in found]


@pytest.mark.parametrize("environ", [{}, {"TELEMETRY_AGENT_CONFIG": "nowhere.toml"}])
def test_named_file_that_is_missing_is_an_error(environ: dict[str, str]) -> None:
    """Whoever names a file means it; the defaults are no substitute."""
    with pytest.raises(ConfigError, match=r"No such file or directory, path nowhere\.toml"):
        load(None if environ else "nowhere.toml", environ=environ)


def test_empty_variable_names_no_file() -> None:
    """An environment that sets the variable to nothing is as one that does not set it."""
    assert not load(None, environ={"TELEMETRY_AGENT_CONFIG": ""}).path


def test_file_that_is_not_utf8_is_an_error(home: Path) -> None:
    """The error says where in the file the first wrong byte is."""
    (home / "agent.toml").write_bytes(b"[files]\xff")

    with pytest.raises(ConfigError, match=r"not UTF-8, path agent\.toml, position 7"):
        load(None, environ={})


# -- precedence


def test_each_source_goes_before_the_ones_below_it(load_text: Load) -> None:
    """Defaults < profile < file < environment < --set, key by key, and the origin names the winner."""
    loaded = load_text(
        '[agent]\nprofile = "production"\n[system]\ninterval = "1s"\n[rotation]\nmax_size = "1MB"\nmin_size = "1kB"\n',
        "rotation.max_size=3MB",
        environ={"TELEMETRY_AGENT__ROTATION__MAX_SIZE": "2MB", "TELEMETRY_AGENT__ROTATION__MIN_SIZE": "2kB"},
    )

    expected = {
        "rotation.level": ("fast", "default"),
        "health.interval": (Duration("30s"), "profile production"),
        "agent.log_format": ("json", "profile production"),
        "system.interval": (Duration("1s"), "file agent.toml:4"),
        "rotation.min_size": (Size("2kB"), "environment TELEMETRY_AGENT__ROTATION__MIN_SIZE"),
        "rotation.max_size": (Size("3MB"), "--set"),
    }
    actual = {}
    for key in expected:
        section, name = key.split(".")
        actual[key] = (getattr(getattr(loaded.config, section), name), loaded.origins[key])

    assert expected == actual


@pytest.mark.parametrize(
    ("profile", "system", "health", "log_format"),
    [
        ("development", "5s", "10s", "console"),
        ("production", "15s", "30s", "json"),
        ("high-load", "30s", "60s", "json"),
    ],
)
def test_profile_sets_intervals_and_logs(
    load_text: Load, profile: str, system: str, health: str, log_format: str
) -> None:
    """A profile may come from any source, and is itself below the file."""
    config = load_text("", environ={"TELEMETRY_AGENT__AGENT__PROFILE": profile}).config

    assert Duration(system) == config.system.interval
    assert Duration(health) == config.health.interval
    assert log_format == config.agent.log_format
    assert len(PROFILES[profile]) == 3


def test_directory_on_the_command_line_goes_before_everything(load_text: Load) -> None:
    """`run DIR` means DIR."""
    load_text('files.directory = "/a"\n')

    loaded = load(None, environ={}, overrides=["files.directory=/b"], directory="/c")

    expected = ("/c", "command line")
    assert expected == (loaded.config.files.directory, loaded.origins["files.directory"])


def test_last_override_of_a_key_wins(load_text: Load) -> None:
    """As on any command line."""
    expected = 7

    assert expected == load_text("", "retention.keep=3", "retention.keep=7").config.retention.keep


# -- values


def test_values_of_every_type_are_read_from_toml(load_text: Load) -> None:
    """Text, numbers, lists, truth, durations, sizes, percentages, and limits that are off."""
    config = load_text(
        """
        [files]
        directory = "/var/log/otel"
        include = ["*.x"]
        recursive = true
        scan_interval = "500ms"
        [rotation]
        max_size = 1048576
        max_age = "off"
        schedule = "@daily"
        capture = "1s"
        pre = ["/bin/true", "a b"]
        mode = "0640"
        owner = "otel:adm"
        [retention]
        keep = 5
        max_age = ""
        min_free = "12.5%"
        """
    ).config

    files = Files(directory="/var/log/otel", include=("*.x",), recursive=True, scan_interval=Duration("500ms"))
    assert files == config.files
    assert (
        Rotation(
            max_size=Size("1MiB"),
            max_age=None,
            schedule="@daily",
            capture=Duration("1s"),
            pre=("/bin/true", "a b"),
            mode="0640",
            owner="otel:adm",
        )
        == config.rotation
    )
    assert Retention(keep=5, max_age=None, min_free=Share("12.5%")) == config.retention


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("files.include=*.a, *.b", ("*.a", "*.b")),
        ('files.include=["a,b", "c"]', ("a,b", "c")),
        ("files.exclude=", ()),
        ("files.recursive=TRUE", True),
        ("files.directory=/a=b", "/a=b"),
        ("retention.keep=0", 0),
        ("retention.keep=off", 0),
        ("retention.min_free=1GB", Size("1GB")),
        ("retention.max_total=", None),
        ("rotation.capture=off", None),
        ("rotation.level=small", "small"),
    ],
)
def test_text_is_read_as_the_type_of_its_key(load_text: Load, override: str, expected: object) -> None:
    """On the command line and in the environment there are no quotes; lists are TOML arrays or comma-separated."""
    section, name = override.partition("=")[0].split(".")

    assert expected == getattr(getattr(load_text("", override).config, section), name)


# -- entries


def test_entry_changes_only_what_it_gives(load_text: Load) -> None:
    """The rest of rotation and retention comes from the sections, wherever these were set."""
    config = load_text(
        """
        [[stream]]
        match = "traces*.json"
        rotation.max_size = "1MB"
        [[stream]]
        match = "*.json"
        [stream.retention]
        keep = 9
        [rotation]
        level = "small"
        """,
        "rotation.max_age=5m",
    ).config
    base = Rotation(level="small", max_age=Duration("5m"))
    traces = Rotation(level="small", max_age=Duration("5m"), max_size=Size("1MB"))

    expected = (
        StreamRule(match="traces*.json", rotation=traces),
        StreamRule(match="*.json", retention=Retention(keep=9)),
    )
    assert expected == config.stream
    assert (traces, Retention()) == config.rules_for("sub/traces-1.json")
    assert (base, Retention(keep=9)) == config.rules_for("metrics.json")
    assert (base, Retention()) == config.rules_for("app.log")


def test_entries_may_be_written_inline(load_text: Load) -> None:
    """An array of inline tables is the same as tables of their own."""
    config = load_text('stream = [{ match = "a" }, { match = "b", retention = { keep = 1 } }]\n').config

    assert (StreamRule(match="a"), StreamRule(match="b", retention=Retention(keep=1))) == config.stream


# -- errors


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[rotation]\nmax_sise = 1\n",
            "agent.toml:2: rotation.max_sise is no known key; did you mean rotation.max_size?",
        ),
        ("[rotation]\n\nkeep = 1\n", "agent.toml:3: rotation.keep is no known key; did you mean retention.keep?"),
        ("[rotations]\n", "agent.toml:1: rotations is no known key; did you mean rotation?"),
        ("verify = 1\n", "agent.toml:1: verify is no known key; did you mean rotation.verify?"),
        ("[web]\nzzz = 1\n", "agent.toml:2: web.zzz is no known key; known are listen"),
        (
            '[[stream]]\nmatch = "a"\n[[stream]]\nmatch = "b"\nmax_size = 1\n',
            "agent.toml:5: stream[1].max_size is no known key; did you mean stream.rotation.max_size?",
        ),
        (
            '[[forward]]\nname = "a"\nendpoint = "b"\n',
            "agent.toml:3: forward[0].endpoint is no known key; did you mean forward.endpoints or forward.traces.",
        ),
        (
            '[[stream]]\nmatch = "a"\n[stream.rotation]\nlevle = "fast"\n',
            "agent.toml:4: stream[0].rotation.levle is no known key; did you mean stream.rotation.level?",
        ),
        ("rotation = 3\n", "agent.toml:1: rotation is not a table; write [rotation] on a line of its own"),
        ("[[rotation]]\n", "agent.toml:1: rotation is not a table; write [rotation] on a line of its own"),
        (
            '\n[stream]\nmatch = "a"\n',
            "agent.toml:2: stream is not an array of tables; write [[stream]], once for each entry",
        ),
        (
            "[stream.rotation]\nlevel = 1\n",
            "agent.toml:1: stream is not an array of tables; write [[stream]], once for each entry",
        ),
        ("\n[[stream]]\n", "agent.toml:2: stream[0] has no match; match must be given"),
        ("[files\n", "agent.toml:1: is not TOML: Expected ']' at the end of a table declaration, column 7"),
        ('a = """\n', "agent.toml: is not TOML: "),
    ],
)
def test_wrong_key_or_table_names_place_and_near_match(load_text: Load, text: str, message: str) -> None:
    """File, line, dotted key, and what was probably meant."""
    with pytest.raises(ConfigError) as caught:
        load_text(text)

    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("retention.keep", '"2"', 'retention.keep: "2" is of the wrong type, expected integer or "" (off)'),
        ("retention.keep", "-1", "retention.keep: -1 is out of range: >= 0"),
        ("retention.keep", "true", 'retention.keep: true is of the wrong type, expected integer or "" (off)'),
        ("retention.min_free", '"0%"', "retention.min_free: 0% is out of range: above 0% up to 100%"),
        ("retention.min_free", "0.5", "retention.min_free: 0.5 is of the wrong type, expected size or percentage"),
        ("rotation.level", '"fats"', "rotation.level: 'fats' is none of 'fast', 'small'"),
        ("rotation.mode", "0o644", "rotation.mode: 420 is of the wrong type, expected string"),
        ("rotation.max_size", "true", "rotation.max_size: true is of the wrong type, expected size"),
        ("rotation.max_size", '"10M"', "rotation.max_size: '10M' is no size; write a size such as"),
        ("rotation.min_size", '"off"', "rotation.min_size: 'off' is no size; write a size such as"),
        ("rotation.hook_timeout", "30", "rotation.hook_timeout: 30 is of the wrong type, expected duration"),
        ("rotation.pre", '"/bin/true"', 'rotation.pre: "/bin/true" is of the wrong type, expected list of strings'),
        ("files.include", "[1]", "files.include: [1] is of the wrong type, expected list of strings"),
        ("files.recursive", '"yes"', 'files.recursive: "yes" is of the wrong type, expected true or false'),
        ("files.directory", "1979-05-27", "files.directory: 1979-05-27 is of the wrong type, expected string"),
    ],
)
def test_wrong_value_says_what_would_be_right(load_text: Load, key: str, value: str, message: str) -> None:
    """File and line stand before the key; nothing is guessed from a value of another type."""
    with pytest.raises(ConfigError) as caught:
        load_text(f"\n{key} = {value}\n")

    assert str(caught.value).startswith(f"agent.toml:2: {message}")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rotation.max_sise=1", "--set: rotation.max_sise is no known key; did you mean rotation.max_size?"),
        ("rotation.max_size", "--set rotation.max_size: no value; write --set section.key=value"),
        ("rotation.max_size=1X", "--set: rotation.max_size: '1X' is no size; write a size such as"),
        ("retention.keep=two", '--set: retention.keep: "two" is of the wrong type, expected integer'),
        ("files.include=[x", '--set: files.include: "[x" is no list: '),
        ("rotation=1", "--set: rotation is a table or in an array of tables; such are only read from the file"),
        (
            "stream[0].match=a",
            "--set: stream[0].match is a table or in an array of tables; such are only read from the file",
        ),
    ],
)
def test_wrong_override_names_the_option(load_text: Load, override: str, message: str) -> None:
    """As in the file, with the option as the place."""
    with pytest.raises(ConfigError) as caught:
        load_text("", override)

    assert str(caught.value).startswith(message)


def test_everything_wrong_is_told_at_once(load_text: Load) -> None:
    """Unknown keys, values that do not fit and missing ones, the file's by line, then those of other sources."""
    text = """[[stream]]
max_size = "1MB"
[rotation]
max_sise = "1MB"
level = "fats"
[health]
check = [{ name = "a" }, { kind = "diks", name = "b" }, { kind = "disk", name = "c", pth = "/" }]
[[stream]]
match = 7
[retentions]
"""
    with pytest.raises(ConfigError) as caught:
        load_text(text, "retention.keep=two", "nothing", environ={"TELEMETRY_AGENT__WEB__LISTN": ":1"})

    assert [line.partition("; known are")[0] for line in str(caught.value).splitlines()] == [
        "agent.toml:1: stream[0] has no match; match must be given",
        "agent.toml:2: stream[0].max_size is no known key; did you mean stream.rotation.max_size?",
        "agent.toml:4: rotation.max_sise is no known key; did you mean rotation.max_size?",
        "agent.toml:5: rotation.level: 'fats' is none of 'fast', 'small'",
        "agent.toml:7: health.check[0] has no kind",
        "agent.toml:7: health.check[1].kind is 'diks', which no package here provides; did you mean disk?",
        "agent.toml:7: health.check[2].pth is no known key; did you mean health.check.path?",
        "agent.toml:9: stream[1].match: 7 is of the wrong type, expected string",
        "agent.toml:10: retentions is no known key; did you mean retention?",
        "environment TELEMETRY_AGENT__WEB__LISTN: web.listn is no known key; did you mean web.listen?",
        "--set nothing: no value; write --set section.key=value",
        '--set: retention.keep: "two" is of the wrong type, expected integer or "" (off)',
    ]


def test_every_impossible_combination_is_told(load_text: Load) -> None:
    """Once each value is right alone, all that cannot be meant together is found in one go."""
    with pytest.raises(ConfigError) as caught:
        load_text('[retention]\nmax_age = "0s"\n[rotation]\nmin_size = "20MB"\nmode = "999"\n')

    assert [str(one).partition(" is ")[0] for one in (caught.value.what, *caught.value.others)] == [
        "agent.toml:2: retention.max_age",
        "agent.toml:4: rotation.min_size",
        "agent.toml:5: rotation.mode",
    ]


def test_unknown_variable_is_an_error(load_text: Load) -> None:
    """A misspelled variable would otherwise change nothing, silently; other programs' variables are none of ours."""
    assert Config() == load_text("", environ={"TELEMETRY_AGENT_SERVICE_HOST": "1", "ROTATION__MAX_SIZE": "1"}).config

    with pytest.raises(ConfigError) as caught:
        load_text("", environ={"TELEMETRY_AGENT__ROTATION__MAXSIZE": "1MB"})

    expected = (
        "environment TELEMETRY_AGENT__ROTATION__MAXSIZE: rotation.maxsize is no known key; "
        "did you mean rotation.max_size?"
    )
    assert expected == str(caught.value)


def test_impossible_value_names_its_place(load_text: Load) -> None:
    """What only shows when all values are together still names the file and line of the key."""
    with pytest.raises(ConfigError) as caught:
        load_text('[rotation]\nmin_size = "20MB"\n')

    expected = "agent.toml:2: rotation.min_size is 20MB, more than max_size, 10MB"
    assert expected == str(caught.value)


def test_impossible_value_that_an_entry_inherits_names_the_entry(load_text: Load) -> None:
    """The key is not in the entry, so the entry's own line is the nearest place."""
    with pytest.raises(ConfigError) as caught:
        load_text('[rotation]\nmin_size = "5MB"\n[[stream]]\nmatch = "a"\nrotation.max_size = "1MB"\n')

    expected = "agent.toml:3: stream[0].rotation.min_size is 5MB, more than max_size, 1MB"
    assert expected == str(caught.value)


def test_directory_is_required_where_it_is_needed() -> None:
    """Loading does without one; a command that needs it says how to give it."""
    with pytest.raises(ConfigError, match=r"files\.directory is not set; name it on the command line"):
        require_directory(Config())

    config = load(None, environ={}, directory="/data").config
    expected = "/data"
    assert expected == require_directory(config)


def test_import_is_light() -> None:
    """Loading the configuration is part of every start: nothing for terminals, schedules or spelling comes with it."""
    heavy = "{'typer', 'rich', 'click', 'difflib', 'cronsim', 'asyncio'}"
    code = f"import sys, agent.config; print(sorted({heavy} & set(sys.modules)))"

    done = subprocess.run(
        [sys.executable, "-I", "-c", f"sys_path = {sys.path!r}; import sys; sys.path[:] = sys_path; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )

    expected = "[]\n"
    assert expected == done.stdout
