"""Where the agent will work: a directory, who owns the telemetry in it, and which paths the agent must write."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from agent.config import Config, Files, load
from agent.kit import trust
from agent.kit.errors import AgentError, ConfigError

SETTINGS = "/etc/telemetry-agent/agent.toml"
"""The configuration that the units name."""


@dataclass(frozen=True)
class Place:
    """What `survey` found. `uid` 0 means: only root can do the work, for the reason in `why`."""

    directory: str
    writable: tuple[str, ...]
    """Every directory the agent writes in; the watched one first."""
    uid: int
    gid: int
    why: str
    configured: bool
    """The configuration is there already."""
    groups: bool = False
    """Files and directory are of several groups, which segments must keep."""
    intruder: str = ""
    """Why others than root may change what root works with."""

    @property
    def user(self) -> str:
        """The owner's name, or number where it has none."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)


def settings(root: str) -> str:
    """Path of the units' configuration in the image at `root`."""
    return os.path.join(root, SETTINGS.lstrip("/"))


def survey(directory: str, config_path: str) -> Place:
    """Look at an absolute `directory` and the configuration that may exist at `config_path`.

    Raises AgentError when there is no such directory, ConfigError when the configuration is about another one.
    """
    if not os.path.isdir(directory):
        raise AgentError(
            "no such directory", path=directory,
            hint="make it first, owned by the user who writes the telemetry: the unit may write nowhere else",
        )  # fmt: skip
    config = _configured(config_path, directory)
    files = config.files if config else Files()
    owners = set(_owners(directory, files))
    uid, gid, why = _owner(directory, owners)
    return Place(
        directory=directory,
        writable=tuple(_writable(directory, config or Config())),
        uid=uid,
        gid=gid,
        why=why,
        configured=config is not None,
        intruder=trust.intruder(directory) if uid == 0 else "",
        groups={gid} != {group for _, group in owners} | {os.stat(directory).st_gid},
    )


def _configured(path: str, directory: str) -> Config | None:
    if not os.path.exists(path):
        return None
    config = load(path, environ={}).config
    if config.files.directory and os.path.realpath(config.files.directory) != os.path.realpath(directory):
        raise ConfigError(
            f"the configuration is for {config.files.directory}, not for {directory}", path=path,
            hint="change files.directory there, or move the file away: setup then writes a new one",
        )  # fmt: skip
    return config if config.files.directory else load(path, environ={}, directory=directory).config


def _owner(directory: str, found: set[tuple[int, int]]) -> tuple[int, int, str]:
    """Who can give space back in files of these owners, make others beside them, and hold a lease."""
    here = os.stat(directory)
    owners = found or {(here.st_uid, here.st_gid)}
    users = {uid for uid, _ in owners}
    if users == {0}:
        return 0, 0, "the telemetry files belong to root"
    if len(users) > 1:
        return 0, 0, f"the telemetry files belong to {len(users)} users"
    uid = users.pop()
    groups = {gid for _, gid in owners}
    gid = groups.pop() if len(groups) == 1 else here.st_gid
    if not _may_write(here, uid, gid):
        return 0, 0, "the files' owner may not write in their directory, where segments go"
    return uid, gid, ""


def _owners(directory: str, files: Files) -> Iterator[tuple[int, int]]:
    for path, below, names in os.walk(directory):
        if not files.recursive:
            below.clear()
        for name in names:
            full = os.path.join(path, name)
            if files.selects(os.path.relpath(full, directory)):
                info = os.lstat(full)
                if stat.S_ISREG(info.st_mode):
                    yield info.st_uid, info.st_gid


def _may_write(info: os.stat_result, uid: int, gid: int) -> bool:
    shift = 6 if info.st_uid == uid else 3 if info.st_gid == gid else 0
    return info.st_mode >> shift & 0o3 == 0o3


def _writable(directory: str, config: Config) -> Iterator[str]:
    yield directory
    archives = [rule.rotation.archive_directory for rule in config.stream if rule.rotation]
    known = [directory]
    for path in (config.agent.state_directory, config.rotation.archive_directory, *archives):
        full = os.path.normpath(os.path.join(directory, path))
        if path and not any(os.path.commonpath((full, one)) == one for one in known):
            known.append(full)
            yield full
