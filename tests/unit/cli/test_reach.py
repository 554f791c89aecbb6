from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from agent.cli.reach import running
from agent.config import load
from agent.control import PlanItem, Reloaded, Rotated
from agent.kit.errors import AgentError, ConfigError
from agent.web.remote import RemoteControl, UnreachableError
from tests.unit.cli.conftest import FakeControl, Stage
from tests.unit.cli.samples import STATUS

SEALED = Rotated(stream="a.json", outcome="sealed", segment="a_20261122_172000.json.gz", bytes=10, records=1)
ITEM = PlanItem(action="retire", stream="a.json", target="x.gz", reason="keep", bytes=4096, done=True)


def test_every_request_comes_back_typed(stage: Stage) -> None:
    """Arguments arrive at the agent's Control, and its answers arrive as its messages."""
    fake = FakeControl({"rotate": [SEALED], "cleanup": [ITEM], "reload": Reloaded(ok=True, changed=["web.listen"])})
    with stage.agent(fake):
        remote = RemoteControl(str(stage.state))

        assert remote.status() == STATUS
        assert remote.rotate(["a.json"], timeout=7.0) == [SEALED]
        assert remote.cleanup(dry_run=True, timeout=8.0) == [ITEM]
        assert remote.reload(timeout=9.0).changed == ["web.listen"]

    assert fake.asked == [("rotate", ["a.json"], 7.0), ("cleanup", True, 8.0), ("reload", 9.0)]


def test_a_deep_state_directory_is_reached(stage: Stage) -> None:
    """A path longer than the 107 bytes of an AF_UNIX address works."""
    deep = stage.directory / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    with Stage(deep, stage.capture).agent(FakeControl()):
        assert RemoteControl(str(deep / ".telemetry-agent")).listens()


def test_no_directory_no_socket_and_a_dead_socket_are_no_agent(stage: Stage) -> None:
    """Whatever a stopped or killed agent leaves behind counts as no agent, not as an error."""
    config = load(None, environ={}, directory=str(stage.directory)).config
    assert running(config) is None

    stage.state.mkdir()
    assert running(config) is None

    fd = os.open(stage.state, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"/proc/self/fd/{fd}/agent.sock")
    os.close(fd)
    assert running(config) is None


def test_a_socket_that_hangs_up_is_unreachable(stage: Stage) -> None:
    """An agent that closes without an answer is told as unreachable, with its socket and a hint."""
    stage.state.mkdir()
    with pytest.raises(UnreachableError) as caught:
        RemoteControl(str(stage.state)).status()

    assert str(stage.state / "agent.sock") == caught.value.path
    assert caught.value.hint


def test_an_error_of_the_agent_keeps_its_parts(stage: Stage) -> None:
    """What the agent refuses is raised here with the same sentence, path, position and hint."""
    error = AgentError("no stream of that name", path="x.json", position=7, hint="see status")
    with stage.agent(FakeControl({"rotate": error})), pytest.raises(AgentError) as caught:
        RemoteControl(str(stage.state)).rotate(["x.json"])

    got = caught.value
    assert (got.what, got.path, got.position, got.hint) == ("no stream of that name", "x.json", 7, "see status")


@pytest.mark.parametrize(("code", "kind"), [(422, ConfigError), (503, UnreachableError)])
def test_the_status_tells_the_kind_of_error(stage: Stage, code: int, kind: type[AgentError]) -> None:
    """A wrong configuration and a stopping agent have exit codes of their own, so their kind survives the socket."""
    error = AgentError("not now")
    error.code = code  # type: ignore[attr-defined]
    with stage.agent(FakeControl({"reload": error})), pytest.raises(kind):
        RemoteControl(str(stage.state)).reload()


@pytest.mark.parametrize("raw", [b"<html>", b'{"version": 3}', b"[]"])
def test_an_answer_of_another_version_is_an_error(stage: Stage, raw: bytes) -> None:
    """What does not decode is an error that points at the versions, never a half-filled answer."""
    with stage.agent(FakeControl(), raw=raw), pytest.raises(AgentError, match="not understood") as caught:
        RemoteControl(str(stage.state)).status()

    assert "--version" in caught.value.hint


def test_a_socket_of_somebody_else_names_the_remedy() -> None:
    """Without permission the hint says whose command this is, not that something is stuck."""
    error = RemoteControl("/x")._unreachable(PermissionError(13, "Permission denied"))

    assert "as root" in error.hint
    assert Path("/x/agent.sock") == Path(error.path)
