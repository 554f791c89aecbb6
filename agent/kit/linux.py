"""The Linux system calls that Python lacks, by ctypes: each raises OSError with errno, and nothing else.

Numbers and structures are those of the kernel's user API (linux/stat.h, linux/falloc.h, linux/magic.h, fcntl.h).
ctypes releases the GIL around each call.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

_libc = ctypes.CDLL(None, use_errno=True)

_FALLOC_FL_KEEP_SIZE = 1
_FALLOC_FL_PUNCH_HOLE = 2
_RENAME_NOREPLACE = 1
_AT_EMPTY_PATH = 0x1000
_AT_SYMLINK_NOFOLLOW = 0x100
_STATX_BTIME = 0x800
_F_SETSIG = 10
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEPT = 16 << 20
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30}
_IOPRIO_WHO_PROCESS = 1
_IO_CLASSES = {"best-effort": 2 << 13 | 7, "idle": 3 << 13}

MAGIC = {
    0xEF53: "ext4",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0x01021994: "tmpfs",
    0x794C7630: "overlay",
    0xF2F52010: "f2fs",
    0x2FC12FC1: "zfs",
    0x858458F6: "ramfs",
    0x6969: "nfs",
    0xFF534D42: "cifs",
    0xFE534D42: "smb2",
    0x65735546: "fuse",
    0x01021997: "9p",
    0x6A656A63: "virtiofs",
    0x00C36400: "ceph",
}
LOCAL = frozenset({"ext4", "xfs", "btrfs", "tmpfs", "overlay", "f2fs", "zfs"})
"""File systems whose leases and holes this kernel alone decides about (attack H10)."""


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _call(name: str, *args: object) -> int:
    try:
        function = getattr(_libc, name)
    except AttributeError:
        raise OSError(errno.ENOSYS, f"{name} is not in this C library") from None
    return _check(function(*args))


def tune_memory() -> None:
    """Let glibc keep freed buffers of a few MiB instead of giving each back to the kernel (mallopt(3)).

    Sealing allocates and frees a megabyte again and again; without this every one is faulted in page by page, which
    took as long as compressing (measured: 4.2 s of CPU a GB without this, 2.4 s with it). One arena keeps memory small.
    """
    mallopt = getattr(_libc, "mallopt", None)
    if mallopt is None:
        return
    for parameter, value in ((_M_MMAP_THRESHOLD, _KEPT), (_M_TRIM_THRESHOLD, _KEPT), (_M_ARENA_MAX, 1)):
        mallopt(parameter, value)


def trim_memory() -> None:
    """Give freed memory that the C library keeps back to the system (malloc_trim(3))."""
    trim = getattr(_libc, "malloc_trim", None)
    if trim is not None:
        trim(0)


def set_io_class(name: str) -> None:
    """Put the calling thread into the I/O class `best-effort` (its lowest level) or `idle` (ioprio_set(2))."""
    number = _IOPRIO_SET.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, "ioprio_set is not known for this machine")
    _call("syscall", number, _IOPRIO_WHO_PROCESS, 0, _IO_CLASSES[name])


def punch(fd: int, offset: int, length: int) -> None:
    """Give `length` bytes from `offset` back to the file system; they read as NUL, the size stays."""
    mode = _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE
    _call("fallocate", fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length))


def allocate(fd: int, length: int) -> None:
    """Reserve real blocks for the first `length` bytes, so that a full disk cannot take them."""
    _call("fallocate", fd, 0, ctypes.c_int64(0), ctypes.c_int64(length))


def birth_time(fd: int) -> int | None:
    """When the inode behind `fd` was made, in nanoseconds since 1970 UTC; None where it is not recorded."""
    buffer = ctypes.create_string_buffer(256)
    try:
        _call("statx", fd, b"", _AT_EMPTY_PATH | _AT_SYMLINK_NOFOLLOW, _STATX_BTIME, buffer)
    except OSError:
        return None
    mask = struct.unpack_from("=I", buffer, 0)[0]
    if not mask & _STATX_BTIME:
        return None
    seconds, nanoseconds = struct.unpack_from("=qI", buffer, 80)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def filesystem(fd: int) -> str:
    """The kind of file system `fd` lies on: a value of MAGIC, or the number in hexadecimal."""
    buffer = ctypes.create_string_buffer(256)
    _call("fstatfs", fd, buffer)
    number = int(struct.unpack_from("=q", buffer, 0)[0]) & 0xFFFFFFFF
    return MAGIC.get(number, hex(number))


def rename_noreplace(old_dir: int, old: str, new_dir: int, new: str, *, linking: bool = True) -> None:
    """Rename, but raise FileExistsError instead of replacing (renameat2).

    Where that is unknown a hard link does it, and its second step removes whatever `old` is by then. Without `linking`
    the target is looked at first instead: for an `old` that others may replace, and a `new` that only we make.
    """
    try:
        _call(
            "renameat2",
            old_dir,
            os.fsencode(old),
            new_dir,
            os.fsencode(new),
            ctypes.c_uint(_RENAME_NOREPLACE),
        )
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EINVAL):
            raise
        if linking:
            os.link(old, new, src_dir_fd=old_dir, dst_dir_fd=new_dir, follow_symlinks=False)
            os.unlink(old, dir_fd=old_dir)
        elif new in os.listdir(new_dir):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new) from None
        else:
            os.rename(old, new, src_dir_fd=old_dir, dst_dir_fd=new_dir)


def sync_filesystem(fd: int) -> None:
    """Write everything of the file system that `fd` lies on to its medium (syncfs)."""
    _call("syncfs", fd)


def take_write_lease(fd: int) -> bool:
    """Ask for F_WRLCK on `fd`: True means nobody else has the file open, and an opener now waits for us.

    False when somebody has it open, when we may not ask (not owner, no CAP_LEASE), or when leases are unknown
    here. The break signal is moved to SIGURG, which is ignored by default (signal(7)); SIGIO would end the process.
    """
    import signal

    try:
        fcntl.fcntl(fd, _F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError:
        return False
    return True


def has_writers(fd: int) -> bool | None:
    """True when somebody has the file open for writing, told by a read lease; `fd` must be open for reading alone.

    None where we may not ask: somebody else's file without CAP_LEASE (fcntl(2)), or a file system without leases.
    """
    import signal

    try:
        fcntl.fcntl(fd, _F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    drop_lease(fd)
    return False


def holds_write_lease(fd: int) -> bool:
    """True while the write lease stands; a lease that is being broken reads as something else (attack C1)."""
    return fcntl.fcntl(fd, fcntl.F_GETLEASE) == fcntl.F_WRLCK


def drop_lease(fd: int) -> None:
    """Let the next opener in."""
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
