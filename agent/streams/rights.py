"""With whose rights the agent works: as `agent.user`, or as root only where nobody else may write."""

from __future__ import annotations

import os

from agent.config import Config
from agent.kit import trust, user
from agent.kit.disk import Directory
from agent.kit.errors import AgentError, ConfigError

_HINT = (
    'name the user to become in [agent] user (or user = "root", if everybody who may write there is trusted), '
    "or let only root write there"
)


def settle(config: Config) -> None:
    """Before anything is opened for changing: become `agent.user`, or as root check every directory.

    Raises ConfigError where others than root may write, and for an unknown or impossible user. A user that is named
    is the operator's word: `user = "root"` trusts everybody who may write there.
    """
    places = {config.files.directory: 0o755, config.state_path: 0o700}
    if config.agent.user:
        user.drop(config.agent.user, places)
        return
    if os.geteuid() != 0:
        return
    for path in (*places, *_archive(config)):
        _check(path)
        if path == config.files.directory:
            Directory.make(path).close()
            _check(path)  # in a directory like /tmp somebody may have been faster


def check_below(config: Config, home: Directory) -> None:
    """Raises AgentError for a directory below in which root may not work, though it may above."""
    if os.geteuid() == 0 and not config.agent.user and (who := trust.writable(home.fd)):
        raise AgentError(f"as root the agent does not work where others may write: {home.path} {who}", hint=_HINT)


def _archive(config: Config) -> tuple[str, ...]:
    target = config.rotation.archive_directory
    return (os.path.join(config.files.directory, target),) if target else ()


def _check(path: str) -> None:
    why = trust.intruder(path)
    if why:
        raise ConfigError(
            f"as root the agent does not work where others may write: {why}",
            path=path,
            hint=_HINT,
        )
