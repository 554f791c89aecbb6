"""`cursors` and `dead-letters`: with no agent by the files, with one through its socket."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.cli.cursors import target
from tests.support.hostile import Hostile, Say
from tests.support.program import AGENT, Program
from tests.support.yard import LEAF, Yard, bodies, forward, numbers, settled, span, spans
from tests.unit.cli.conftest import Stage


@pytest.fixture
def shipped(stage: Stage, server: Hostile) -> Stage:
    """A directory of which ten records were delivered and one is a dead letter; its configuration is agent.toml."""
    Path("agent.toml").write_text(
        f'[web]\nlisten = ""\n[[forward]]\nname = "out"\nendpoints = ["{server.url}"]\n'
        '[forward.batch]\nmax_delay = "0s"\n',
        "utf-8",
    )
    with Yard(stage.directory, forward(server)) as yard:
        yard.write(spans(0, 10) + b'{"one":"two"}\n')
        yard.run(settled(yard, 11))
    return stage


def until(program: Program, done: Callable[[], bool]) -> None:
    """Wait for what the program brings about, as long as the test may take."""
    while not done():
        program.check_alive()
        time.sleep(0.02)


def test_cursors_tell_how_far_behind(shipped: Stage) -> None:
    """Bytes behind each stream; a consumer that is no longer configured is orphaned."""
    with (shipped.directory / LEAF).open("ab") as file:
        file.write(span(11))
    code, out, _ = shipped.run("cursors", "--json")
    (row,) = json.loads(out)

    assert (0, "out", LEAF, len(span(11)), False) == (
        code, row["consumer"], row["stream"], row["lag_bytes"], row["orphaned"]
    )  # fmt: skip
    Path("agent.toml").write_text("", "utf-8")
    assert "orphaned: holds nothing" in shipped.run("cursors")[1]


def test_a_cursor_is_moved_after_a_question(shipped: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """No is no; yes is durable; an unknown forward or stream is an error that names the known ones."""
    monkeypatch.setattr("typer.confirm", lambda *_, **__: sys.exit(1))
    assert 1 == shipped.run("cursors", "reset", "out", "--to", "earliest")[0]
    assert 0 == json.loads(shipped.run("cursors", "--json")[1])[0]["lag_bytes"]

    assert 0 == shipped.run("cursors", "reset", "out", "--to", "5", "--yes")[0]
    assert 0 == json.loads(shipped.run("cursors", "--json")[1])[0]["position"]
    assert "there are: out" in shipped.run("cursors", "reset", "other", "--to", "5", "-y")[2]
    assert f"there are: {LEAF}" in shipped.run("cursors", "reset", "out", "--stream", "x", "--to", "5", "-y")[2]


def test_letters_are_listed_shown_and_dropped(shipped: Stage) -> None:
    """The list has no content, show has nothing else."""
    code, out, _ = shipped.run("dead-letters", "list", "--json")
    (letter,) = json.loads(out)

    assert (0, "out", "not_otlp") == (code, letter["forward"], letter["kind"])
    assert "not_otlp" in shipped.run("dead-letters", "list", "out")[1]
    assert 2 == shipped.run("dead-letters")[0]
    assert "there is no dead letter x" in shipped.run("dead-letters", "show", "out", "x")[2]
    assert (0, "1 letter deleted.\n") == shipped.run("dead-letters", "drop", "out", letter["id"], "-y")[:2]
    assert "no dead letters" in shipped.run("dead-letters", "list")[1]


def test_a_replay_tells_what_the_destination_refused_of_it(shipped: Stage, server: Hostile) -> None:
    """A letter whose spans were not all taken is sent, and the command fails: something is lost."""
    two = span(20).replace(b'{"name":"n20"}', b'{"name":"n20"},{"name":"n21"}')
    with Yard(shipped.directory, forward(server)) as yard:
        server.will(Say(400), Say(body=b'{"partialSuccess":{"rejectedSpans":"1"}}'))
        yard.write(two)
        yard.run(settled(yard, 1))
    (_, letter) = json.loads(shipped.run("dead-letters", "list", "--json")[1])

    code, out, _ = shipped.run("dead-letters", "replay", "out", letter["id"])
    assert (1, "1 letter sent, 1 item of them refused and lost.\n") == (code, out)


def test_a_running_agent_is_asked(shipped: Stage, server: Hostile) -> None:
    """Through its socket: cursors, a reset that sends again, letters that are sent again."""
    server.will(Say(400), Say())
    with (shipped.directory / LEAF).open("ab") as file:
        file.write(span(20))
    config = str(Path("agent.toml").resolve())
    program = Program((*AGENT, "--config", config), shipped.directory, {})
    until(program, lambda: 20 in numbers(bodies(server)))

    code, out, _ = shipped.run("dead-letters", "replay", "out", "--json")
    assert (1, {"sent": 1, "kept": 1}) == (code, {key: json.loads(out)[key] for key in ("sent", "kept")})
    assert 0 == shipped.run("cursors", "reset", "out", "--to", "earliest", "-y")[0]
    until(program, lambda: numbers(bodies(server))[0] >= 2)
    (row,) = json.loads(shipped.run("cursors", "--json")[1])
    program.stop()

    assert row["position"] == row["end"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("earliest", (0, None)),
        ("latest", (2**62, None)),
        ("17", (17, None)),
        ("1970-01-01T00:00:05+00:00", (None, 5.0)),
    ],
)
def test_a_target_is_a_word_a_position_or_a_time(text: str, expected: tuple[int | None, float | None]) -> None:
    """As an operator writes them."""
    assert expected == target(text)


def test_a_target_may_be_a_span_before_now() -> None:
    """As `cat --since` has it."""
    position, moment = target("1h30m")

    assert position is None
    assert moment is not None
    assert 5400 <= time.time() - moment < 5500


def test_a_misspelt_forward_has_no_letters(shipped: Stage) -> None:
    """It is an error that names those there are, and not an empty list."""
    for command in (("list", "ouut"), ("show", "ouut")):
        code, out, err = shipped.run("dead-letters", *command)
        assert (1, "") == (code, out)
        assert "no forward is called 'ouut'" in err
        assert "there are: out" in err


def test_a_running_forward_is_no_orphan(shipped: Stage) -> None:
    """Also when it was taken out of the file since the agent was started."""
    command = (*AGENT, "--config", str(Path("agent.toml").resolve()))
    with Program(command, shipped.directory, {}) as program:
        program.wait_ready()
        Path("agent.toml").write_text("", "utf-8")
        (row,) = json.loads(shipped.run("cursors", "--json")[1])

    assert ("out", False) == (row["consumer"], row["orphaned"])
