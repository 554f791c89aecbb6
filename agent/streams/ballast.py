"""Room that is kept back for a full disk: a file of real blocks, which goes when nothing else can be written.

At 0 bytes free no part can be begun, so nothing could be sealed and no space given back (attack H1). The ballast lies
on the archive's file system. It is made again when there is room, and only where limits leave room for it.
"""

from __future__ import annotations

import os
from contextlib import suppress

from agent.kit import disk
from agent.kit.disk import Directory
from agent.kit.steps import reach

SIZE = 4 << 20
"""Bytes. Members of 256 KiB take about 40 KiB, so this begins many of them, however full the disk stays."""

PLENTY = 4 * SIZE
"""Bytes that must be free for the ballast to be made again."""

SHARE = 10
"""A limit of fewer than so many ballasts leaves no room for one."""


class Ballast:
    """One file; one thread uses it."""

    def __init__(self, state: Directory, archive: Directory) -> None:
        beside = os.fstat(state.fd).st_dev == os.fstat(archive.fd).st_dev
        self._home = state if beside else archive
        self._name = "ballast" if beside else ".telemetry-agent.ballast"

    def drop(self) -> bool:
        """Give the room away; False when there was none, or it could not be removed."""
        try:
            self._home.stat(self._name)
            self._home.remove(self._name)
        except OSError:
            return False
        with suppress(OSError):
            self._home.sync()  # the blocks are free once the removal is on the medium; a write asks for that, too
        reach("ballast.dropped")
        return True

    def renew(self, limit: int | None) -> None:
        """Make it where it is missing and there is room, on disk and within `limit`. A failure is the next pass's."""
        if limit is not None and limit < SHARE * SIZE:
            return
        info = os.fstatvfs(self._home.fd)
        with suppress(OSError):
            if self._whole() or info.f_bavail * info.f_frsize < PLENTY:
                return
            self._home.remove(self._name)
            fd = self._home.create(self._name)
            try:
                disk.allocate(fd, SIZE)
                reach("ballast.made")
            except OSError:
                self._home.remove(self._name)
                raise
            finally:
                os.close(fd)

    def _whole(self) -> bool:
        try:
            return self._home.stat(self._name).st_blocks * 512 >= SIZE
        except FileNotFoundError:
            return False
