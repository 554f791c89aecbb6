"""Packages that are not installed: refused with the configuration, not missed at work."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agent.app.configuration import Configuration
from agent.config.extras import require
from agent.kit.errors import ConfigError
from agent.kit.notify import Notifier
from agent.metrics import Metrics
from tests.support.clock import ManualClock
from tests.unit.config.conftest import Load

TOLD = "is \"small\", which needs the package deflate; pip install 'telemetry-agent[small]'"


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which libdeflate's binding cannot be imported."""
    monkeypatch.setitem(sys.modules, "deflate", None)


@pytest.mark.usefixtures("without")
def test_each_small_without_its_package_is_told_with_its_line(load_text: Load) -> None:
    """The section, an entry, and the files of a forward; an entry that only inherits it is not blamed."""
    loaded = load_text(
        '[rotation]\nlevel = "small"\n'
        '[[stream]]\nmatch = "a"\nrotation.max_size = "1MB"\n'
        '[[stream]]\nmatch = "b"\nrotation.level = "small"\n'
        '[[forward]]\nname = "copies"\nkind = "file"\ndirectory = "/x"\nrotation.level = "small"\n'
    )
    with pytest.raises(ConfigError) as caught:
        require(loaded)

    assert str(caught.value).splitlines() == [
        f"agent.toml:2: rotation.level {TOLD}",
        f"agent.toml:8: stream[1].rotation.level {TOLD}",
        f"agent.toml:13: forward[0].rotation.level {TOLD}",
    ]


@pytest.mark.usefixtures("without")
def test_a_key_of_the_command_line_is_told_with_that(load_text: Load) -> None:
    """There is no line in a file then."""
    with pytest.raises(ConfigError, match=r"^--set: rotation\.level is"):
        require(load_text("", "rotation.level=small"))


@pytest.mark.usefixtures("without")
def test_who_does_not_ask_for_it_needs_no_package(load_text: Load) -> None:
    """The default, and `fast` where it is written down."""
    require(load_text(""))
    require(load_text('[rotation]\nlevel = "fast"\n'))


def test_with_its_package_small_is_fine(load_text: Load) -> None:
    """Nothing is told where it can be imported."""
    require(load_text('[rotation]\nlevel = "small"\n'))


def test_a_reload_that_needs_a_missing_package_changes_nothing(
    load_text: Load, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old configuration stays in force, and the answer names line and remedy."""
    old = load_text("")
    clock = ManualClock()
    asked = Configuration(old, Metrics(), clock, Notifier({}, clock))
    (home / "agent.toml").write_text('[rotation]\nlevel = "small"\n', "utf-8")
    monkeypatch.setitem(sys.modules, "deflate", None)
    config, answer = asked.again()

    assert (old.config, old) == (config, asked.loaded)
    assert (False, f"agent.toml:2: rotation.level {TOLD}") == (answer.ok, answer.message)
