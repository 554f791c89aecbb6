"""Who owns a segment and who may read it: the live file's owner and mode, or what the configuration says."""

from __future__ import annotations

import errno
import os

from agent.config import Rotation
from agent.kit.user import parse as user_of
from agent.streams.live import Live


def dress(fd: int, live: Live, rotation: Rotation) -> None:
    """Give an open part its owner, then its mode (chown clears set-id bits, and opens nothing early).

    Without the right to give files away, and where this user namespace does not know the owner (EINVAL), the segment
    stays ours, as with every other program.
    """
    user, group = user_of(rotation.owner) if rotation.owner else (live.owner, live.group)
    group = -1 if group is None else group
    info = os.fstat(fd)
    if info.st_uid != user or group not in (-1, info.st_gid):
        try:
            os.fchown(fd, user, group)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EINVAL):
                raise
    os.fchmod(fd, int(rotation.mode, 8) if rotation.mode else live.mode & 0o777)
