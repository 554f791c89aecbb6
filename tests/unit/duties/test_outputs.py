"""The directories of forwards of the kind `file`."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import Config, Forward
from agent.duties.outputs import Outputs
from agent.kit.clock import SystemClock
from agent.kit.errors import AgentError


class _Nobody:
    """Nobody is told of steps here."""

    def stepped(self, name: str, seconds: float) -> None:
        """A step succeeded."""

    def failed(self, name: str, error: Exception, failures: int, retry: float) -> None:
        """A step failed."""

    def recovered(self, name: str, failures: int) -> None:
        """It works again."""


def test_a_directory_that_cannot_be_made_is_told_with_its_forward(tmp_path: Path) -> None:
    """By name, path and key: there may be several, and the watched directory is another one."""
    (tmp_path / "file").touch()
    forward = Forward(name="copies", kind="file", directory=str(tmp_path / "file" / "below"))
    outputs = Outputs(Config(forward=(forward,)), SystemClock(), _Nobody())

    with pytest.raises(AgentError, match="forward copies: its directory cannot be made") as caught:
        outputs.open()
    assert (forward.directory, True) == (caught.value.path, "forward.directory" in caught.value.hint)
