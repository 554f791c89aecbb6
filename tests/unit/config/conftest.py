"""A directory of its own for each test, where no configuration of the machine is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.config import Loaded, load

Load = Callable[..., Loaded]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory; the file in /etc is looked for in `etc` below it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("agent.config.loader.SEARCH", ("agent.toml", "etc/agent.toml"))
    return tmp_path


@pytest.fixture
def load_text(home: Path) -> Load:
    """Loads a configuration from the text of its file, with environment and overrides as given."""

    def from_text(text: str, *overrides: str, environ: dict[str, str] | None = None) -> Loaded:
        (home / "agent.toml").write_text(text, "utf-8")
        return load(None, environ=environ or {}, overrides=overrides)

    return from_text
