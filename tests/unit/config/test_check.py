"""Values that are of the right type and still cannot be meant."""

from __future__ import annotations

import pytest

from agent.config import Config, Files, Health, Retention, Rotation, StreamRule, System, Web
from agent.config.check import problems
from agent.kit.units import Duration, Size


def test_defaults_have_no_problem() -> None:
    """The agent starts without a configuration."""
    assert not list(problems(Config()))


@pytest.mark.parametrize(
    ("config", "key", "what"),
    [
        (Config(files=Files(include=())), "files.include", "is empty"),
        (Config(files=Files(include=("*.x", ""))), "files.include", "empty pattern"),
        (Config(files=Files(exclude=("/var/*",))), "files.exclude", "matches nothing"),
        (Config(files=Files(scan_interval=Duration("99ms"))), "files.scan_interval", "is 99ms, shorter than 100ms"),
        (Config(rotation=Rotation(max_size=Size(0))), "rotation.max_size", "is 0"),
        (Config(rotation=Rotation(max_age=Duration(0))), "rotation.max_age", "is 0s, shorter than 100ms"),
        (Config(rotation=Rotation(min_size=Size("11MB"))), "rotation.min_size", "is 11MB, more than max_size, 10MB"),
        (Config(rotation=Rotation(schedule="@fortnightly")), "rotation.schedule", "is no schedule"),
        (Config(rotation=Rotation(capture=Duration("50ms"))), "rotation.capture", "is 50ms, shorter than 100ms"),
        (Config(rotation=Rotation(hook_timeout=Duration(0))), "rotation.hook_timeout", "shorter than"),
        (Config(rotation=Rotation(mode="0888")), "rotation.mode", "is '0888'"),
        (Config(rotation=Rotation(mode="rw-r--r--")), "rotation.mode", "is 'rw-r--r--'"),
        (Config(rotation=Rotation(owner="a:b:c")), "rotation.owner", "is 'a:b:c'"),
        (Config(rotation=Rotation(pre=("", "x"))), "rotation.pre", "names no program"),
        (Config(rotation=Rotation(post=("",))), "rotation.post", "names no program"),
        (Config(retention=Retention(max_age=Duration(0))), "retention.max_age", "keep nothing"),
        (Config(retention=Retention(max_total=Size(0))), "retention.max_total", "keep nothing"),
        (Config(stream=(StreamRule(match=""),)), "stream[0].match", "empty pattern"),
        (
            Config(stream=(StreamRule(match="a"), StreamRule(match="b", rotation=Rotation(mode="x")))),
            "stream[1].rotation.mode",
            "is 'x'",
        ),
        (
            Config(stream=(StreamRule(match="a", retention=Retention(max_total=Size(0))),)),
            "stream[0].retention.max_total",
            "keep nothing",
        ),
        (Config(web=Web(listen="localhost")), "web.listen", "is no address"),
        (Config(system=System(interval=Duration(0))), "system.interval", "shorter than"),
        (Config(health=Health(interval=Duration(0))), "health.interval", "shorter than"),
        (Config(health=Health(timeout=Duration(0))), "health.timeout", "shorter than"),
    ],
)
def test_impossible_value_is_the_only_problem(config: Config, key: str, what: str) -> None:
    """Each has its key and says what is wrong."""
    (problem,) = problems(config)

    assert key == problem.key
    assert what in problem.what


@pytest.mark.parametrize(
    "rotation",
    [
        Rotation(max_size=None, min_size=Size("1GB")),
        Rotation(max_size=None, max_age=None),
        Rotation(mode="644"),
        Rotation(mode="0o644"),
        Rotation(mode="2750"),
        Rotation(owner="otel"),
        Rotation(owner="1000:1000"),
        Rotation(owner=":adm"),
        Rotation(capture=Duration("100ms")),
    ],
)
def test_unusual_rotation_is_allowed(rotation: Rotation) -> None:
    """Nobody is told what to want: a stream that only a command rotates is one."""
    assert not list(problems(Config(rotation=rotation)))
