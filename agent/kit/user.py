"""Giving up root once, at the start, for good."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Mapping

from agent.kit import trust
from agent.kit.disk import Directory
from agent.kit.errors import ConfigError


def parse(text: str) -> tuple[int, int | None]:
    """`user`, `user:group` or numbers as (uid, gid); None where no group is given. Raises ConfigError."""
    user, _, group = text.partition(":")
    try:
        uid = int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid
        if not group:
            return uid, None
        return uid, int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConfigError(f"{text!r} does not exist on this machine", hint="use an existing user:group") from None


def drop(text: str, directories: Mapping[str, int]) -> None:
    """Become another user with its groups; `directories` are made before, with their modes, where they are missing.

    One below a directory that others may write is left for after: root would follow whatever they put there.
    Raises ConfigError for an unknown user, or when the process may not change its user.
    """
    uid, gid = parse(text)
    try:
        record = pwd.getpwuid(uid)
        name, group = record.pw_name, record.pw_gid if gid is None else gid
    except KeyError:
        name, group = "", uid if gid is None else gid
    if os.geteuid() == uid and os.getegid() == group:
        return
    try:
        for path, mode in directories.items():
            if not os.path.isdir(path) and not trust.intruder(path):
                with Directory.make(path, mode) as made:
                    os.fchown(made.fd, uid, group)
        os.setgroups(os.getgrouplist(name, group) if name else [group])
        os.setresgid(group, group, group)
        os.setresuid(uid, uid, uid)
    except PermissionError:
        raise ConfigError(
            f"agent.user: cannot become {text}", hint="start as root, or as that user and leave agent.user empty"
        ) from None
