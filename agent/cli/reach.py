"""How a command reaches the agent: through its socket when it runs, in process otherwise.

Only this module knows who stands behind commands: the running agent, or what does an agent's work without one.
Reading needs no lock; changing takes the directory's, so a command never works beside an agent it could not reach.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from agent.control import Control, CursorStatus, Delivery, Status, Trial
from agent.kit.clock import SystemClock
from agent.kit.disk import Directory
from agent.kit.errors import UnknownError
from agent.web.messages import Health
from agent.web.remote import RemoteControl, UnreachableError

if TYPE_CHECKING:
    from agent.config import Config
    from agent.streams.deadletters import Letter
    from agent.streams.verify import Finding


__all__ = [
    "UnreachableError",
    "alerting",
    "control",
    "cursors",
    "delivery",
    "findings",
    "health",
    "letters",
    "records",
    "running",
    "status",
    "test_alert",
]


def running(config: Config) -> Control | None:
    """The running agent, None when there is none. Raises UnreachableError when it is there and cannot be asked."""
    control = RemoteControl(config.state_path)
    return control if control.listens() else None


@contextlib.contextmanager
def control(config: Config) -> Iterator[Control]:
    """What carries out a change: the running agent, else this process with the directory's lock.

    Raises LockedError when somebody holds the directory without answering on the socket, UnreachableError, and
    ConfigError where root may not work.
    """
    agent = running(config)
    if agent:
        yield agent
        return
    from agent.duties.commands import offline
    from agent.streams import rights

    rights.settle(config)
    with offline(config, SystemClock()) as here:
        yield here


@contextlib.contextmanager
def delivery(config: Config) -> Iterator[Delivery]:
    """Who moves cursors and handles dead letters: the running agent, else this process with the directory's lock."""
    agent = running(config)
    if agent:
        yield RemoteControl(config.state_path)
        return
    from agent.duties.forwards import offline
    from agent.streams import rights

    rights.settle(config)
    with offline(config, SystemClock(), os.environ) as here:
        yield here


def cursors(config: Config) -> list[CursorStatus]:
    """Where each consumer stands: as the running agent says, else as the files do."""
    agent = running(config)
    # Asked of the agent: the file may have got or lost its forwards since it was started.
    if agent and agent.status().forwards:
        return RemoteControl(config.state_path).cursors()
    from agent.duties.standing import peek

    return peek(config, SystemClock())


def present(config: Config, hint: str = "start one: telemetry-agent run") -> RemoteControl:
    """The running agent, for what only a running one can answer. Raises UnreachableError when there is none."""
    agent = RemoteControl(config.state_path)
    if not agent.listens():
        raise UnreachableError("no agent is running for this directory", path=config.files.directory, hint=hint)
    return agent


def alerting(config: Config) -> RemoteControl:
    """The running agent, to ask about alerts. Raises UnreachableError when there is none."""
    return present(config, "alerts are what a running agent finds; --test works without one")


def test_alert(config: Config, name: str) -> list[Trial]:
    """Send a test message: by the running agent, else from here. Raises AgentError, ConfigError."""
    agent = RemoteControl(config.state_path)
    if agent.listens():
        return agent.test_alert(name)
    from agent.alerts.build import build
    from agent.alerts.rule import find
    from agent.alerts.trial import trial

    clock = SystemClock()
    made = build(config, clock)
    return trial(find(made.rules, name), made.outlets, made.common, clock, 60.0)


def letters(config: Config, consumer: str | None) -> list[tuple[str, Letter]]:
    """The dead letters of one consumer or of all that have some, from the files. Raises UnknownError."""
    from agent.streams.deadletters import DeadLetters, owners

    if not os.path.isdir(config.state_path):
        return []
    with Directory.open(config.state_path) as state:
        names = owners(state)
        if consumer:
            known = sorted({*names, *(one.name for one in config.forward)})
            if consumer not in known:
                hint = f"there are: {', '.join(known) or 'none'}"
                raise UnknownError(f"no forward is called {consumer!r}", hint=hint)
            names = [consumer]
        return [(name, one) for name in names for one in DeadLetters(state, name).all()]


def status(config: Config, path: str) -> Status:
    """The running agent's snapshot, else what the files alone say; `path` is where the configuration came from."""
    agent = running(config)
    if agent:
        return agent.status()
    from agent.streams import report

    return report.offline(config, SystemClock(), path)


def health(config: Config) -> Health:
    """The running agent's verdict, else one run of every check here. Raises ConfigError when one cannot be made."""
    agent = RemoteControl(config.state_path)
    if agent.listens():
        return agent.health()
    from agent.duties.vitals import once
    from agent.web.probes import judge_offline

    clock = SystemClock()
    return judge_offline(config.agent, once(config, clock))


def findings(config: Config) -> list[Finding]:
    """Everything that is wrong with the archive and the state files."""
    from agent.streams.verify import verify

    return verify(config)


def records(
    config: Config, stream: str, *, start: int | None, since: float | None, follow: bool,
    left_out: Callable[[int, int, str], None],
) -> Iterator[bytes]:  # fmt: skip
    """The stream's bytes: from position `start`, or of what was written after the time `since`, else all."""
    from agent.streams.follow import records as read

    return read(config, stream, start=start, since=since, follow=follow, left_out=left_out)
