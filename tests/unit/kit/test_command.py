from agent.kit import command
from agent.kit.clock import SystemClock

CLOCK = SystemClock()


def test_output_and_status_come_back() -> None:
    """A command's exit status and its output, both streams, are what it gave."""
    done = command.run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=5, clock=CLOCK)
    assert (3, "out\nerr\n", False) == (done.status, done.output, done.timed_out)
    assert not done.ok


def test_a_command_that_hangs_is_killed_with_what_it_started() -> None:
    """At the time limit the whole group dies, also a child that holds the pipe open."""
    done = command.run(["sh", "-c", "sleep 60 & sleep 60"], timeout=0.3, clock=CLOCK)
    assert done.timed_out
    assert "killed at its time limit" == str(done)


def test_a_child_left_behind_does_not_hold_us() -> None:
    """A command that ends while its background child keeps the pipe counts as ended, and the child is killed."""
    done = command.run(["sh", "-c", "sleep 60 & echo done"], timeout=30, clock=CLOCK)
    assert done.ok
    assert "done\n" == done.output


def test_a_missing_program_is_told_not_raised() -> None:
    """A program that is not there is an outcome with a reason."""
    done = command.run(["/no/such/program"], timeout=1, clock=CLOCK)
    assert done.status is None
    assert "could not be started" in str(done)


def test_the_environment_is_clean() -> None:
    """Only what is given and a fixed PATH reach the command."""
    done = command.run(["env"], timeout=5, clock=CLOCK, environ={"A": "1"})
    names = {line.partition("=")[0] for line in done.output.splitlines()}
    assert {"PATH", "LANG", "A"} <= names
    assert not names & {"HOME", "PYTHONPATH", "USER"}


def test_endless_output_is_bounded() -> None:
    """A command that floods its output is read on and kept only up to the bound."""
    done = command.run(["sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x"], timeout=10, clock=CLOCK)
    assert done.ok
    assert command.OUTPUT == len(done.output)
