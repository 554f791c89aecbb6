"""The only module that renames, fsyncs, unlinks, truncates or punches.

Everything goes through an open directory descriptor and O_NOFOLLOW, so a directory or file that is swapped for a
symlink after it was looked at is never followed. Every call raises OSError and leaves the rest as it was.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager

from agent.kit import linux
from agent.kit.errors import LockedError
from agent.kit.handle import Handle
from agent.kit.steps import reach

_OPEN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Directory(Handle):
    """An open directory; every file in it is reached through its descriptor."""

    def __init__(self, fd: int, path: str) -> None:
        super().__init__(fd)
        self.path = path

    @classmethod
    def open(cls, path: str) -> Directory:
        """Open an existing directory by path."""
        return cls(os.open(path, _DIRECTORY), path)

    @classmethod
    def make(cls, path: str, mode: int = 0o755) -> Directory:
        """Open a directory, made with its missing parents first; the parent of each one made is fsynced."""
        missing: list[str] = []
        there = os.path.abspath(path)
        while not os.path.isdir(there):
            missing.append(there)
            there = os.path.dirname(there)
        for one in reversed(missing):
            os.mkdir(one, mode)
            with cls.open(os.path.dirname(one)) as parent:
                parent.sync()
        return cls.open(path)

    def open_child(self, name: str) -> Directory:
        """Open the directory `name` in this one; a symlink is an error (ELOOP or ENOTDIR)."""
        fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=self.fd)
        return Directory(fd, os.path.join(self.path, name))

    def make_child(self, name: str, mode: int = 0o755) -> Directory:
        """Open the directory `name` in this one, made with `mode` and fsynced where it is missing."""
        try:
            os.mkdir(name, mode, dir_fd=self.fd)
            self.sync()
        except FileExistsError:
            pass
        return self.open_child(name)

    def make_below(self, relative: str, mode: int = 0o755) -> Directory:
        """Open a directory below this one, made with what is missing on the way; a symlink there is an error."""
        here = self
        for name in relative.split("/"):
            if name in ("", "."):
                continue
            above = here
            try:
                here = above.make_child(name, mode)
            finally:
                if above is not self:
                    above.close()
        return here if here is not self else self.open_child(".")

    def __repr__(self) -> str:
        return f"<Directory {self.path} fd={self.fd}>"

    # -- looking

    def entries(self) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
        """The directory's entries, by `with`: in the file system's order; types and inodes come without a stat."""
        return os.scandir(self.fd)

    def names(self) -> list[str]:
        """The names of the directory's entries, in no order."""
        return os.listdir(self.fd)

    def stat(self, name: str) -> os.stat_result:
        """What `name` is, without following it."""
        return os.stat(name, dir_fd=self.fd, follow_symlinks=False)

    def exists(self, name: str) -> bool:
        """True when an entry of that name is here, of any type."""
        try:
            self.stat(name)
        except FileNotFoundError:
            return False
        return True

    # -- opening

    def open_read(self, name: str) -> int:
        """Open a regular file for reading; EAGAIN while somebody holds a lease on it."""
        return self._open_regular(name, os.O_RDONLY)

    def open_update(self, name: str) -> int:
        """Open a regular file for reading and writing: what punch, lease and truncate need."""
        return self._open_regular(name, os.O_RDWR)

    def create(self, name: str, mode: int = 0o600) -> int:
        """Make a new file for reading and writing; an entry of that name, of any type, is FileExistsError."""
        return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | _OPEN, mode, dir_fd=self.fd)

    def open_append(self, name: str, mode: int = 0o600) -> int:
        """Open a file for appending, made where it is missing."""
        return self._open_regular(name, os.O_RDWR | os.O_APPEND | os.O_CREAT, mode)

    def _open_regular(self, name: str, flags: int, mode: int = 0o600) -> int:
        fd = os.open(name, flags | _OPEN, mode, dir_fd=self.fd)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "not a regular file", name)
        return fd

    # -- changing

    def publish(self, old: str, new: str) -> None:
        """Rename `old` to `new`; FileExistsError when `new` is taken."""
        linux.rename_noreplace(self.fd, old, self.fd, new)

    def displace(self, old: str, new: str) -> None:
        """Rename a file that is not ours to a name that only we make; FileExistsError when that is taken.

        Its owner may put another file at `old` at any time, which no file system may make us remove.
        """
        linux.rename_noreplace(self.fd, old, self.fd, new, linking=False)

    def replace(self, old: str, new: str) -> None:
        """Rename `old` over `new`."""
        os.rename(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def move(self, old: str, to: Directory, new: str) -> None:
        """Rename into another directory of the same file system; FileExistsError when `new` is taken there."""
        linux.rename_noreplace(self.fd, old, to.fd, new)

    def remove(self, name: str) -> None:
        """Unlink a file; one that is already gone is no error."""
        try:
            os.unlink(name, dir_fd=self.fd)
        except FileNotFoundError:
            return

    def sync(self) -> None:
        """Make the directory's entries durable."""
        os.fsync(self.fd)

    def lock(self, holder: str = "another agent") -> None:
        """Take the directory's flock without waiting; LockedError says who has it as far as that is known.

        The lock is on the directory itself, so it cannot be missed through another state directory (attack H9),
        and it dies with its process.
        """
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _lock_holder(self.fd)
            who = f"{holder}, pid {pid}," if pid else holder
            raise LockedError(
                f"{who} already manages this directory",
                path=self.path,
                pid=pid,
                hint="stop it first, or let it do the work: commands reach it through its socket",
            ) from None


def unlock(directory: Directory) -> None:
    """Let others lock a directory that stays open."""
    fcntl.flock(directory.fd, fcntl.LOCK_UN)


def _lock_holder(fd: int) -> int | None:
    """The pid behind a flock, from /proc/locks (proc(5)); None where it is hidden or of another namespace."""
    info = os.fstat(fd)
    place = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}:{info.st_ino}"
    try:
        with open("/proc/locks", encoding="ascii") as table:
            for line in table:
                fields = line.split()
                if "FLOCK" in fields and place in fields:
                    pid = int(fields[fields.index(place) - 1])
                    return pid if pid > 0 else None
    except OSError:
        return None
    return None


def write_all(fd: int, *pieces: bytes | bytearray | memoryview) -> int:
    """Write every byte of `pieces` at the descriptor's position; a short write goes on, an error is raised."""
    total = sum(len(piece) for piece in pieces)
    written = os.writev(fd, pieces)
    while written < total:
        rest = b"".join(bytes(piece) for piece in pieces)[written:]
        count = os.write(fd, rest)
        if count == 0:
            raise OSError(errno.EIO, "write returned 0")
        written += count
    return total


def end_line(fd: int) -> int:
    """End the last line of a file open for appending where a crash or a full disk cut it short; the file's size.

    Without this the next line would be glued to the torn one, and both would be unreadable.
    """
    size = os.fstat(fd).st_size
    if size and os.pread(fd, 1, size - 1) != b"\n":
        size += write_all(fd, b"\n")
    return size


def sync_file(fd: int) -> None:
    """Make a file's content durable. After an error the content is unknown: write a new file (attack H8)."""
    os.fsync(fd)


def sync_filesystem(fd: int) -> None:
    """Make everything on the file system of `fd` durable: one call for many files."""
    linux.sync_filesystem(fd)


def forget_cache(fd: int, start: int = 0) -> None:
    """Drop a synced file's pages from `start` on, so that what is read back comes from the medium."""
    os.posix_fadvise(fd, start, 0, os.POSIX_FADV_DONTNEED)


def truncate(fd: int, length: int) -> None:
    """Cut an open file to `length` bytes."""
    os.ftruncate(fd, length)


def allocate(fd: int, length: int) -> None:
    """Reserve real blocks for an open file."""
    linux.allocate(fd, length)


def punch(fd: int, start: int, end: int) -> None:
    """Give the blocks of [start, end) back; the range reads as NUL afterwards."""
    if end > start:
        linux.punch(fd, start, end - start)


def largest_file(directory: Directory) -> int | None:
    """The size that no file here can pass (16 TiB on most ext4); None where the file system does not tell.

    A file without a name is stretched until EFBIG, which allocates nothing. A limit of this process's own
    (RLIMIT_FSIZE) would answer in the file system's place: then it is not known.
    """
    if resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY:
        return None
    low, high = 0, 1 << 63  # no offset is that large
    try:
        fd = os.open(".", os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600, dir_fd=directory.fd)
        try:
            while high - low > 1:
                middle = (low + high) // 2
                if _stretches(fd, middle):
                    low = middle
                else:
                    high = middle
        finally:
            os.close(fd)
    except OSError:
        return None
    return low


def _stretches(fd: int, length: int) -> bool:
    try:
        os.ftruncate(fd, length)
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        return False
    return True


def write_atomic(directory: Directory, name: str, content: bytes, mode: int = 0o600) -> None:
    """Replace `name` by `content`: whole and durable, or the old one stays."""
    temporary = f".{name}.new"
    directory.remove(temporary)
    fd = directory.create(temporary, mode)
    try:
        write_all(fd, content)
        reach("state.written")
        sync_file(fd)
    except OSError:
        directory.remove(temporary)
        raise
    finally:
        os.close(fd)
    reach("state.synced")
    directory.replace(temporary, name)
    reach("state.renamed")
    directory.sync()
