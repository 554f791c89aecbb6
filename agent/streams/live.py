"""The live file: opened without following anything, read without disturbing its writer.

Nothing here changes the file. Offsets are physical. A read may see NULs where a piece is being punched; whoever
reads below a sealed end must look at that end again afterwards (attack H3).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator

from isal import isal_zlib

from agent.kit import linux
from agent.kit.disk import Directory
from agent.kit.errors import RefusedError
from agent.kit.handle import Handle
from agent.streams.position import Identity

GUARD = 256
"""Sealed bytes that are never punched, at least: the content by which a file is known again (attack C4)."""

SCRATCH = 256 << 10
"""Bytes compared at a time: it stays in the processor's cache, which halves what a comparison costs (measured)."""

_WINDOW = 1 << 16
_NULS = bytes(SCRATCH)


class Live(Handle):
    """An open live file."""

    def __init__(self, fd: int, name: str) -> None:
        super().__init__(fd)
        self.name = name
        info = os.fstat(fd)
        self.identity = self.identify()
        self.owner = info.st_uid
        self.group = info.st_gid
        self.mode = stat.S_IMODE(info.st_mode)
        self.links = info.st_nlink
        self.block = max(4096, info.st_blksize if info.st_blksize <= 1 << 20 else 4096)

    @classmethod
    def open(cls, directory: Directory, name: str, *, update: bool = False) -> Live:
        """Open for reading, or with `update` for releasing too.

        Raises RefusedError for what is no ordinary, singly linked, permitted file; BlockingIOError while somebody
        holds a lease on it; FileNotFoundError when it is gone.
        """
        try:
            fd = directory.open_update(name) if update else directory.open_read(name)
        except OSError as error:
            reason = _refusal(error)
            if reason is None:
                raise
            raise refusal(reason, os.path.join(directory.path, name)) from error
        live = cls(fd, name)
        if live.links > 1:
            live.close()
            raise refusal("hardlink", os.path.join(directory.path, name))
        return live

    def identify(self) -> Identity:
        """Which file it is, as the system has it now."""
        return Identity(os.fstat(self.fd).st_ino, linux.birth_time(self.fd))

    def size(self) -> int:
        """The apparent size now."""
        return os.fstat(self.fd).st_size

    def allocated(self) -> int:
        """The bytes that it takes on disk now."""
        return os.fstat(self.fd).st_blocks * 512

    def fills_above(self, start: int) -> bool:
        """True when it has just the blocks that its bytes from `start` on take; nobody waits for the answer.

        Then nothing is below `start`, or a hole of just that size is above it. Where blocks are compressed, allocated
        ahead, or keep the file's own tables, the count is another one, and says nothing.
        """
        info = os.fstat(self.fd)
        block = min(info.st_blksize, 4096)
        return info.st_blocks * 512 == -(-info.st_size // block) * block - start

    def changed(self) -> float:
        """Wall time of the last change of its content."""
        return os.fstat(self.fd).st_mtime

    def floor(self, sealed: int) -> int:
        """Up to where the file may be punched when it is sealed up to `sealed`: whole blocks, guard kept."""
        return max(0, (sealed - GUARD) // self.block * self.block)

    def read(self, start: int, length: int) -> bytes:
        """The bytes of [start, start + length), fewer at the file's end."""
        data = os.pread(self.fd, length, start)
        while len(data) < length:
            more = os.pread(self.fd, length - len(data), start + len(data))
            if not more:
                break
            data += more
        return data

    def read_into(self, buffer: memoryview, start: int) -> int:
        """Fill `buffer` from `start`; how many bytes there were."""
        done = 0
        while done < len(buffer):
            count = os.preadv(self.fd, [buffer[done:]], start + done)
            if count == 0:
                break
            done += count
        return done

    def equals(self, start: int, data: bytes, scratch: memoryview) -> bool:
        """True when the file holds `data` from `start`; read through `scratch`, so that nothing large is allocated."""
        done = 0
        while done < len(data):
            piece = scratch[: len(data) - done]
            count = self.read_into(piece, start + done)
            if count < len(piece) or not data.startswith(piece, done):
                return False
            done += count
        return True

    def crc(self, start: int, length: int, scratch: memoryview) -> int | None:
        """CRC-32 of [start, start + length), read through `scratch`; None when the file ends before."""
        done, value = 0, 0
        while done < length:
            piece = scratch[: length - done]
            count = self.read_into(piece, start + done)
            if count < len(piece):
                return None
            value = isal_zlib.crc32(piece, value)
            done += count
        return value

    def data_from(self, start: int) -> int | None:
        """Where the first allocated byte at or after `start` is; None when only a hole follows.

        lseek(2) takes the inode's lock for it, and a writer that meets that sleeps for some 60 us (measured on ext4).
        """
        try:
            return os.lseek(self.fd, start, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return None
            raise

    def extents(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The allocated ranges within [start, end), in order."""
        at: int | None = start
        while at is not None and at < end:
            at = self.data_from(at)
            if at is None or at >= end:
                return
            hole = min(os.lseek(self.fd, at, os.SEEK_HOLE), end)
            yield at, hole
            at = hole

    def live_bytes(self, sealed: int) -> int:
        """Data from `sealed` to the end, without holes: what rules and reports call the live size (attack M4)."""
        return sum(stop - start for start, stop in self.extents(sealed, self.size()))

    def torn(self, start: int) -> int:
        """Where NULs cut the record at `start` short; `start` itself when they don't (attack C9)."""
        at = start
        while data := self.read(at, _WINDOW):
            nul, newline = data.find(b"\0"), data.find(b"\n")
            if newline >= 0 and not 0 <= nul < newline:
                return start
            if nul >= 0:
                return at + nul
            at += len(data)
        return start

    def first_byte(self, start: int, breathe: Callable[[], None] = lambda: None) -> int | None:
        """Where the first byte that is not NUL is, at or after `start`; None when there is none.

        NULs that were written have to be read, however many they are: it breathes between pieces of them.
        """
        if self.read(start, 1).strip(b"\0"):
            return start  # as a rule; to look for holes makes the writer wait: see `data_from`
        for begin, end in self.extents(start, self.size()):
            at = begin
            while at < end:
                data = self.read(at, min(SCRATCH, end - at))
                if data != _NULS[: len(data)]:  # many times faster than to strip them
                    return at + len(data) - len(data.lstrip(b"\0"))
                if not data:
                    break
                at += len(data)
                breathe()
        return None


_HINTS = {
    "symlink": ("the path is a symbolic link", "watch the directory it points into instead"),
    "special": ("not a regular file", "only regular files are sealed"),
    "hardlink": ("the file has more than one hard link", "a second name could be someone else's file; remove it"),
    "permission": ("not permitted", "run the agent as the file's owner, or give its user write permission"),
    "filesystem": (
        "this file system cannot give sealed bytes back, or other machines may write here unseen",
        'set rotation.method to "rename" (the writer must reopen) or "copytruncate" (lossy)',
    ),
    "not_a_log": (
        "the file holds NUL bytes among its data: it is no line log",
        "exclude it, or write it as lines (an OpenTelemetry Collector: format json, no compression)",
    ),
    "not_json_lines": (
        "the first line is not one complete JSON value: it looks like a document, not a log",
        "exclude it, or write one JSON value a line",
    ),
    "no_newline": ("no line end within a whole segment", "exclude it, or write it as lines"),
    "excluded": (
        "files.include and files.exclude select it no longer",
        "it is left alone, and its segments follow their rules; to have it back, select it again",
    ),
    "rewritten": (
        "the writer rewrites bytes that were sealed already",
        "exclude it, or let the writer only append",
    ),
}


NO_LOG = frozenset({"not_a_log", "not_json_lines", "excluded"})
"""Refused for what is in the file, or by the operator's word; everything else an operator can put right."""


def refusal(reason: str, path: str, detail: str = "") -> RefusedError:
    """The error for a file that is refused for `reason`, one of a bounded set, with its remedy."""
    what, hint = _HINTS[reason]
    error = RefusedError(f"{what}{f' ({detail})' if detail else ''}", path=path, hint=hint)
    error.reason = reason
    return error


def irregular(info: os.stat_result) -> str | None:
    """The reason for which an entry is refused before it is opened; None for a regular file with one name."""
    if stat.S_ISLNK(info.st_mode):
        return "symlink"
    if not stat.S_ISREG(info.st_mode):
        return "special"
    return "hardlink" if info.st_nlink > 1 else None


def _refusal(error: OSError) -> str | None:
    if error.errno == errno.ELOOP:
        return "symlink"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "permission"
    if error.errno in (errno.EINVAL, errno.ENXIO, errno.EISDIR, errno.ENODEV):
        return "special"
    return None
