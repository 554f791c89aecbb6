from __future__ import annotations

import msgspec
import pytest

from agent.control import PlanItem, Reloaded, Rotated
from agent.kit.errors import LockedError
from tests.unit.cli.conftest import FakeControl, Stage

SEALED = Rotated(stream="a.json", outcome="sealed", segment="a_20261122_172000.json.gz", bytes=12_345, records=1234)
REFUSED = Rotated(stream="package.json", outcome="refused", message="it is somebody's document")
ITEM = PlanItem(action="retire", stream="a.json", target="a_20261122_160000.json.gz", reason="keep", bytes=4096)


def test_rotate_shows_each_stream(stage: Stage) -> None:
    """A rotation of all streams prints one row each and succeeds although one of them is refused."""
    with stage.agent(FakeControl({"rotate": [SEALED, REFUSED]})) as fake:
        code, out, _ = stage.run("rotate")

    rows = out.splitlines()
    assert code == 0
    assert rows[0].split() == ["STREAM", "OUTCOME", "RECORDS", "BYTES", "SEGMENT"]
    assert rows[1].split() == ["a.json", "sealed", "1,234", "12.3", "kB", "a_20261122_172000.json.gz"]
    assert [part.strip() for part in rows[2].split(None, 2)] == ["package.json", "refused", "it is somebody's document"]
    assert fake.asked == [("rotate", [], 60.0)]


@pytest.mark.parametrize(
    ("names", "outcome", "expected"),
    [
        ([], "refused", 0),
        (["a.json"], "refused", 1),
        ([], "failed", 1),
        (["a.json"], "nothing", 0),
    ],
)
def test_rotate_fails_when_what_was_asked_did_not_happen(
    stage: Stage, names: list[str], outcome: str, expected: int
) -> None:
    """A failure exits with 1, and so does the refusal of a stream that was asked for by name."""
    answer = msgspec.convert({"stream": "a.json", "outcome": outcome}, Rotated)
    with stage.agent(FakeControl({"rotate": [answer]})):
        code, _, _ = stage.run("rotate", *names)

    assert expected == code


def test_rotate_without_streams_says_so(stage: Stage) -> None:
    """No stream at all is a sentence."""
    with stage.agent(FakeControl()):
        assert stage.run("rotate") == (0, "There is no stream to rotate.\n", "")


def test_rotate_json_is_the_answer(stage: Stage) -> None:
    """A program gets the list of Rotated."""
    with stage.agent(FakeControl({"rotate": [SEALED]})):
        _, out, _ = stage.run("rotate", "--json")

    assert msgspec.json.decode(out, type=list[Rotated]) == [SEALED]


def test_cleanup_dry_run_only_tells(stage: Stage) -> None:
    """The plan is shown as what would be done, and being undone is then no failure."""
    with stage.agent(FakeControl({"cleanup": [ITEM]})) as fake:
        code, out, _ = stage.run("cleanup", "--dry-run")

    assert (code, fake.asked) == (0, [("cleanup", True, 300.0)])
    assert "would be done" in out
    assert out.endswith("1 segment would be deleted, 4.1 kB.\n")


def test_cleanup_fails_when_an_item_was_not_done(stage: Stage) -> None:
    """What was due and could not be done is shown with its message, and the exit code is 1."""
    done = msgspec.structs.replace(ITEM, done=True)
    failed = msgspec.structs.replace(ITEM, message="permission denied")
    with stage.agent(FakeControl({"cleanup": [done, failed]})):
        code, out, _ = stage.run("cleanup")

    assert code == 1
    assert "failed: permission denied" in out
    assert out.endswith("1 segment deleted, 4.1 kB.\n")


def test_cleanup_with_nothing_due_says_so(stage: Stage) -> None:
    """An empty plan is a sentence and a success."""
    with stage.agent(FakeControl()):
        assert stage.run("cleanup") == (0, "Nothing is due.\n", "")


def test_reload_tells_what_changed_and_what_needs_a_restart(stage: Stage) -> None:
    """The keys are named, apart from those that wait for a restart."""
    answer = Reloaded(ok=True, changed=["retention.keep", "web.listen"], restart_needed=["web.listen"])
    with stage.agent(FakeControl({"reload": answer})):
        code, out, _ = stage.run("reload")

    assert code == 0
    assert out == "Reloaded; changed: retention.keep, web.listen.\nOnly a restart brings into force: web.listen.\n"


def test_reload_of_a_bad_configuration_exits_with_78(stage: Stage) -> None:
    """The agent keeps its configuration, and a deployment script notices."""
    with stage.agent(FakeControl({"reload": Reloaded(ok=False, message="agent.toml:3: unknown key")})):
        code, out, _ = stage.run("reload")

    assert (code, out) == (78, "The configuration stays as it was: agent.toml:3: unknown key\n")


def test_reload_without_an_agent_exits_with_75(stage: Stage) -> None:
    """There is nothing to reload: told with the directory and what to do."""
    code, _, err = stage.run("reload")

    assert code == 75
    assert ["error: no agent is running for this directory", f"where: {stage.directory}"] == err.splitlines()[:2]


def test_a_locked_directory_exits_with_75(stage: Stage) -> None:
    """Somebody else's lock is a reason to try again later, and it is told who has it."""
    from agent.cli import _tell

    assert _tell(LockedError("another agent, pid 17, already manages this directory", path="/t", pid=17)) == 75
    assert "pid 17" in stage.capture.readouterr().err
