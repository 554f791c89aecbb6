from __future__ import annotations

import json
import sys

import pytest

from agent.cli.check import warnings
from agent.config import load
from tests.unit.cli.conftest import Stage


def odd(*overrides: str, directory: str = "/") -> list[str]:
    """The warnings about a configuration."""
    return list(warnings(load(None, environ={}, overrides=overrides, directory=directory).config))


def test_check_config_aligns_keys_origins_and_values(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key is one row: its name, where its value is from, and the value."""
    (stage.directory.parent / "agent.toml").write_text('[rotation]\nmax_size = "1MB"\n')
    monkeypatch.setenv("TELEMETRY_AGENT__RETENTION__KEEP", "3")
    monkeypatch.setenv("COLUMNS", "500")
    code, out, err = stage.run("check-config", "--set", "agent.environment=test")

    lines = [line.rstrip() for line in out.splitlines()]
    rows = {fields[0]: fields[1:] for line in lines[2:] if len(fields := line.split("  ")) > 1}
    assert (code, err) == (0, "")
    assert lines[0] == "Configuration: agent.toml"
    assert lines[1].split() == ["KEY", "ORIGIN", "VALUE"]
    assert [part.strip() for part in rows["rotation.max_size"] if part] == ["file agent.toml:2", '"1MB"']
    assert [part.strip() for part in rows["retention.keep"] if part] == [
        "environment TELEMETRY_AGENT__RETENTION__KEEP",
        "3",
    ]
    assert [part.strip() for part in rows["agent.environment"] if part] == ["--set", '"test"']
    assert [part.strip() for part in rows["rotation.max_age"] if part] == ["default", '"1h"']
    assert len({line.index(line.split()[1]) for line in lines[1:8]}) == 1


def test_check_config_json_has_keys_origins_and_warnings(stage: Stage) -> None:
    """A program gets every key with value and origin, and the warnings."""
    code, out, _ = stage.run("check-config", "--json", "--set", "rotation.method=copytruncate")
    answer = json.loads(out)

    assert code == 0
    assert {"key": "rotation.method", "value": '"copytruncate"', "origin": "--set"} in answer["keys"]
    assert answer["warnings"] == ["rotation.method copytruncate may lose records; in-place does not"]


@pytest.mark.parametrize("text", ['["https://bob:hunter2@h:1"]', '"https://bob:hunter2@h:1"', "7"])
def test_a_password_in_an_endpoint_is_not_printed(stage: Stage, text: str) -> None:
    """Neither by the configuration, as text or JSON, nor by the error about a list that was forgotten."""
    more = '[forward.logs]\nendpoint = "https://bob:hunter2@h:1/logs"\n'
    (stage.directory.parent / "agent.toml").write_text(f'[[forward]]\nname = "a"\nendpoints = {text}\n{more}')
    printed = "".join(str(part) for json in ([], ["--json"]) for part in stage.run("check-config", *json))

    assert "forward[0].endpoints" in printed
    assert "hunter2" not in printed


def test_quiet_says_only_what_is_odd(stage: Stage) -> None:
    """As a unit's start or a pipeline wants it; where warnings are denied they are a finding."""
    assert (0, "", "") == stage.run("check-config", "--quiet")
    code, out, err = stage.run("check-config", "-q", "--deny-warnings", "--set", "rotation.method=copytruncate")

    assert (1, "") == (code, out)
    assert "warning: rotation.method copytruncate may lose records; in-place does not\n" == err


def test_a_wrong_configuration_exits_with_78(stage: Stage) -> None:
    """The error names file, line and key, on standard error, and nothing is printed on standard output."""
    (stage.directory.parent / "agent.toml").write_text('[rotation]\nmax_sise = "1MB"\n')
    code, out, err = stage.run("check-config")

    assert (code, out) == (78, "")
    assert err.startswith("error: ")
    assert "max_sise" in err
    assert "max_size" in err
    assert "agent.toml:2" in err


def test_everything_wrong_is_told_at_once(stage: Stage) -> None:
    """Each finding with its place, key and near match, for people and for programs; the exit code stays 78."""
    text = '[rotation]\nmax_sise = "1MB"\nlevel = "fats"\n[retention]\nkep = 3\n'
    (stage.directory.parent / "agent.toml").write_text(text)
    code, out, err = stage.run("check-config")
    as_json = stage.run("check-config", "--json")

    assert (code, out) == (78, "")
    assert err.splitlines() == [
        "error: agent.toml:2: rotation.max_sise is no known key",
        " hint: did you mean rotation.max_size?",
        "error: agent.toml:3: rotation.level: 'fats' is none of 'fast', 'small'",
        "error: agent.toml:5: retention.kep is no known key",
        " hint: did you mean retention.keep?",
    ]
    assert as_json[0] == 78
    assert as_json[2] == err
    assert json.loads(as_json[1])["path"] == "agent.toml"
    assert [(one["what"].partition(" is ")[0], one["hint"]) for one in json.loads(as_json[1])["errors"]] == [
        ("agent.toml:2: rotation.max_sise", "did you mean rotation.max_size?"),
        ("agent.toml:3: rotation.level: 'fats'", ""),
        ("agent.toml:5: retention.kep", "did you mean retention.keep?"),
    ]


def test_what_only_making_shows_is_told_at_once(stage: Stage) -> None:
    """Checks, alerts, notifiers and the doors are tried out, and each one that cannot be made is told."""
    (stage.directory.parent / "agent.toml").write_text(
        """
        [[health.check]]
        kind = "tcp"
        name = "one"
        address = "nowhere"
        [[health.check]]
        kind = "tcp"
        name = "two"
        address = "here"
        [[alert]]
        name = "busy"
        when = "up =="
        [[alert]]
        name = "idle"
        when = "up"
        description = "{{ nothing }}"
        [[notifier]]
        name = "nobody"
        kind = "alertmanager"
        urls = ["ftp://x"]
        [web]
        admin_token_file = "/not/there"
        """
    )
    code, _, err = stage.run("check-config")
    errors = [line for line in err.splitlines() if line.startswith("error: ")]

    assert code == 78
    assert [next(word for word in ("nowhere", "here", "busy", "idle", "nobody", "token") if word in error)
            for error in errors] == ["nowhere", "here", "busy", "idle", "nobody", "token"]  # fmt: skip


def test_warnings_go_to_standard_error(stage: Stage) -> None:
    """What is only odd does not disturb the table, and is no failure."""
    code, _, err = stage.run("check-config", at=False)

    assert code == 0
    assert err == "warning: files.directory is not set: every command needs --directory, and run its DIR\n"


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("retention.max_total=1MB", "retention.max_total (1MB) is smaller than rotation.max_size (10MB)"),
        ("files.critical_total=1MB", "files.critical_total (1MB) is smaller than retention.max_total (50MB)"),
        ("retention.max_age=10m", "retention.max_age (10m) is shorter than rotation.max_age (1h)"),
        ("rotation.method=copytruncate", "copytruncate may lose records"),
        ("web.listen=0.0.0.0:9464", "web.listen (0.0.0.0:9464) is open to the network"),
        ("web.listen=:9464", "is open to the network"),
    ],
)
def test_one_odd_value_is_one_warning(override: str, sentence: str) -> None:
    """Each oddity is told once, with the keys and values that make it one."""
    assert [sentence in warning for warning in odd(override)] == [True]


def test_the_defaults_are_not_odd() -> None:
    """Nobody is warned about what nobody chose."""
    assert odd() == []


@pytest.mark.parametrize("listen", ["", "localhost:1", "127.9.9.9:1", "[::1]:9464"])
def test_loopback_is_not_odd(listen: str) -> None:
    """No warning where only this machine can reach the metrics."""
    assert odd(f"web.listen={listen}") == []


def test_no_rule_to_rotate_is_odd() -> None:
    """Without size, age and schedule nothing is ever rotated."""
    off = ("rotation.max_size=off", "rotation.max_age=off")

    assert any("nothing is ever rotated" in warning for warning in odd(*off))
    assert odd(*off, "rotation.schedule=@daily") == []
    assert any("slow stream may never" in warning for warning in odd(off[0], "rotation.min_size=1MB"))


def test_no_limit_at_all_is_odd() -> None:
    """Without any limit the disk fills; one limit is enough."""
    off = ("retention.keep=0", "retention.max_age=off", "retention.max_total=off")

    assert any("retention has no limit" in warning for warning in odd(*off))
    assert odd(*off, "retention.min_free=10%") == []


def test_rules_of_streams_are_looked_at(stage: Stage) -> None:
    """An oddity of a `[[stream]]` is told with its pattern; a rule without one is not."""
    (stage.directory.parent / "agent.toml").write_text(
        '[[stream]]\nmatch = "a*.json"\n[stream.rotation]\nmethod = "copytruncate"\n[[stream]]\nmatch = "b*.json"\n'
    )
    _, _, err = stage.run("check-config")

    assert err == "warning: stream a*.json: rotation.method copytruncate may lose records; in-place does not\n"


def test_a_directory_without_permission_is_odd(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The permission is tested as the user who asks; a directory that is still missing is made at start."""
    monkeypatch.setattr("os.access", lambda *_: False)

    assert odd(directory=str(stage.directory)) == [
        f"files.directory: {stage.directory} may not be read and written by this user"
    ]
    assert odd(directory=str(stage.directory / "missing")) == []


def test_what_a_start_would_refuse_is_refused_before(stage: Stage) -> None:
    """A destination's files and variables are looked at too, all of them; each error names its forward."""
    text = '[[forward]]\nname = "a"\nheaders = { x = "${env:NOT_SET}" }\n'
    text += '[[forward]]\nname = "b"\nendpoints = ["https://127.0.0.1"]\n[forward.tls]\nca_file = "/nowhere.pem"\n'
    (stage.directory.parent / "agent.toml").write_text(text)
    code, out, err = stage.run("check-config")

    assert (78, "") == (code, out)
    assert "forward a: the variable NOT_SET is not set" in err
    assert "forward b: TLS: a file cannot be read" in err
    assert "/nowhere.pem" in err


def test_a_missing_package_is_refused_by_check_and_by_start(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first file is due: exit code 78, key, line and remedy; other findings are told with it."""
    (stage.directory.parent / "agent.toml").write_text(
        '[rotation]\nlevel = "small"\n[[stream]]\nmatch = "a"\nrotation.level = "small"\n'
        '[[alert]]\nname = "busy"\nwhen = "up =="\n'
    )
    monkeypatch.setitem(sys.modules, "deflate", None)
    code, out, err = stage.run("check-config")
    started = stage.run("run")

    told = 'is "small", which needs the package deflate'
    remedy = " hint: pip install 'telemetry-agent[small]'"
    lacking = [f"error: agent.toml:2: rotation.level {told}", remedy]
    lacking += [f"error: agent.toml:5: stream[0].rotation.level {told}", remedy]
    assert (78, "") == (code, out)
    assert lacking == err.splitlines()[:4]
    assert "busy" in err
    assert (78, lacking) == (started[0], started[2].splitlines())
    assert not stage.state.exists()


@pytest.mark.parametrize(
    ("module", "text", "extra"),
    [
        ("deflate", '[rotation]\nlevel = "small"\n', "small"),
        ("google.protobuf", '[[forward]]\nname = "a"\nencoding = "protobuf"\n', "protobuf"),
        ("google.protobuf", '[[forward]]\nname = "a"\n[forward.logs]\nencoding = "protobuf"\n', "protobuf"),
        ("grpc", '[[forward]]\nname = "a"\nencoding = "grpc"\n', "grpc"),
        ("promql_parser", '[[alert]]\nname = "a"\nwhen = "up == 0"\n', "alerts"),
        ("apprise", '[[notifier]]\nname = "a"\nurls = ["json://localhost"]\n', "apprise"),
        ("yaml", '[web]\nconfig_file = "web.yaml"\n', "web"),
        ("bcrypt", '[web]\nconfig_file = "web.yaml"\n', "web"),
    ],
)
def test_each_extra_that_is_missing_is_refused_with_its_remedy(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, module: str, text: str, extra: str
) -> None:
    """Whatever is configured, its package is missed here and not at work."""
    home = stage.directory.parent
    (home / "agent.toml").write_text(text)
    (home / "web.yaml").write_text(f"basic_auth_users:\n  alice: $2b$04${'a' * 53}\n")
    monkeypatch.delitem(sys.modules, "agent.sinks.otlp_grpc", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    code, _, err = stage.run("check-config")

    assert 78 == code
    assert f"pip install 'telemetry-agent[{extra}]'" in err
