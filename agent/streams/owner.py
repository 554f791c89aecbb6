"""Who owns a segment and who may read it: the live file's owner and mode, or what the configuration says."""

from __future__ import annotations

import errno
import os

from agent.config import Rotation
from agent.kit.user import parse as user_of
from agent.streams.live import Live


def dress(fd: int, live: Live, rotation: Rotation, *, still_open: bool = False) -> None:
    """Give a part its owner, then its mode (chown clears set-id bits, and opens nothing early).

    Without the right to give files away, and where this user namespace does not know the owner (EINVAL), the segment
    stays ours, as with every other program. A part that is `still_open` may be written by its owner, whatever the
    rules say of segments.
    """
    user, group = user_of(rotation.owner) if rotation.owner else (live.owner, live.group)
    mode = int(rotation.mode, 8) if rotation.mode else live.mode & 0o777
    _dress(fd, user, -1 if group is None else group, mode | 0o600 if still_open else mode)


def dress_as(fd: int, part: os.stat_result, rotation: Rotation) -> None:
    """Give what an open part becomes the owner and the mode that the part took from its live file."""
    _dress(fd, part.st_uid, part.st_gid, int(rotation.mode, 8) if rotation.mode else part.st_mode & 0o777)


def _dress(fd: int, user: int, group: int, mode: int) -> None:
    info = os.fstat(fd)
    if info.st_uid != user or group not in (-1, info.st_gid):
        try:
            os.fchown(fd, user, group)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EINVAL):
                raise
    os.fchmod(fd, mode)
