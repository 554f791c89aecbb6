"""With whose rights the agent works: as `agent.user`, or as root only where nobody else may write."""

from __future__ import annotations

import os

from agent.config import Config
from agent.kit import trust, user
from agent.kit.disk import Directory
from agent.kit.errors import ConfigError


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


def guarded(config: Config) -> bool:
    """True where directories that others may write are left out: as root, without a user that was named."""
    return os.geteuid() == 0 and not config.agent.user


def _archive(config: Config) -> tuple[str, ...]:
    target = config.rotation.archive_directory
    return (os.path.join(config.files.directory, target),) if target else ()


def _check(path: str) -> None:
    why = trust.intruder(path)
    if why:
        raise ConfigError(
            f"as root the agent does not work where others may write: {why}",
            path=path,
            hint='name the user to become in [agent] user (or user = "root", if everybody who may write there is '
            "trusted), or let only root write there",
        )
