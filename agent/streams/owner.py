"""Who owns a segment and who may read it: the live file's owner and mode, or what the configuration says."""

from __future__ import annotations

import grp
import os
import pwd
from contextlib import suppress

from agent.config import Rotation
from agent.kit.errors import ConfigError
from agent.streams.live import Live


def dress(fd: int, live: Live, rotation: Rotation) -> None:
    """Give an open part its owner, then its mode (chown clears set-id bits, and opens nothing early).

    Without the right to give files away the segment stays ours, as with every other program.
    """
    user, group = parse_owner(rotation.owner) if rotation.owner else (live.owner, live.group)
    info = os.fstat(fd)
    if (info.st_uid, info.st_gid) != (user, group):
        with suppress(PermissionError):
            os.fchown(fd, user, group)
    os.fchmod(fd, int(rotation.mode, 8) if rotation.mode else live.mode & 0o777)


def parse_owner(text: str) -> tuple[int, int]:
    """`user`, `user:group` or numbers as (uid, gid); -1 leaves the group. Raises ConfigError for unknown ones."""
    user, _, group = text.partition(":")
    try:
        uid = int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid
        if not group:
            return uid, -1
        return uid, int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConfigError(f"owner {text!r} does not exist on this machine", hint="use an existing user:group") from None
