"""Rules become checks; other packages bring kinds of their own."""

import importlib.metadata
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from agent.config import Health
from agent.config.checks import KINDS, Plugin
from agent.config.keys import kind_of
from agent.health.build import build
from agent.health.check import Finding, healthy
from agent.kit.errors import ConfigError
from tests.unit.health.conftest import Around


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the plug-in below takes."""

    depth: int = 100


class QueueCheck:
    """A plug-in as another package would write it."""

    options = Options

    def __init__(self, options: Options) -> None:
        self._depth = options.depth

    def run(self) -> Finding:
        """Whatever it looks at."""
        return healthy(f"depth {self._depth}")


def plugin(monkeypatch: pytest.MonkeyPatch, **options: Any) -> Health:
    """A configuration with the plug-in, and its package installed."""
    entry = SimpleNamespace(value="my_package:QueueCheck", load=lambda: QueueCheck)

    def installed(*, group: str, name: str) -> list[Any]:
        return [entry] if (group, name) == ("telemetry_agent.checks", "queue") else []

    monkeypatch.setattr(importlib.metadata, "entry_points", installed)
    return Health(built_in=(), check=(Plugin(kind="queue", name="q", options=options),))


def test_every_kind_can_be_made(around: Around) -> None:
    """With nothing but what must be given."""
    for kind, struct in KINDS.items():
        required = {
            field.name: kind_of(f"health.check.{field.name}", {"health.check.kind": kind}).examples[0]
            for field in msgspec.structs.fields(struct)
            if field.required
        }
        rule = struct(**{**required, "kind": kind, "name": kind})
        (made,) = build(Health(built_in=(), check=(rule,)), around.made)

        assert rule == made.rule
        assert callable(made.check.run)


def test_a_plug_in_gets_its_own_options(around: Around, monkeypatch: pytest.MonkeyPatch) -> None:
    """As its own struct."""
    (made,) = build(plugin(monkeypatch, depth=5), around.made)

    assert "depth 5" == made.check.run().message


@pytest.mark.parametrize("options", [{"depth": "deep"}, {"length": 1}])
def test_options_that_a_plug_in_does_not_take_are_refused(
    around: Around, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """By its own struct, with the key."""
    with pytest.raises(ConfigError, match=f"health check q: .*{next(iter(options))}"):
        build(plugin(monkeypatch, **options), around.made)


def test_a_plug_in_that_breaks_is_an_error_of_the_configuration(
    around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named, whatever it raises."""
    health = plugin(monkeypatch)
    monkeypatch.setattr(QueueCheck, "__init__", lambda _self, _options: 1 / 0)

    with pytest.raises(ConfigError, match="my_package:QueueCheck cannot be used: division by zero"):
        build(health, around.made)


def test_a_package_that_is_gone_is_an_error_of_the_configuration(around: Around) -> None:
    """It may be uninstalled between two reloads."""
    health = Health(built_in=(), check=(Plugin(kind="gone", name="g"),))

    with pytest.raises(ConfigError, match="no installed package has a check of the kind 'gone'"):
        build(health, around.made)
