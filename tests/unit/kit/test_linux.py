"""The kernel's calls as the kernel answers them, on a disk and in memory."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.kit import linux
from tests.support.bench import MEMORY


@pytest.fixture(params=["disk", "memory"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A directory on each kind of file system."""
    if request.param == "disk":
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as made:
        yield Path(made)


@pytest.fixture
def fd(home: Path) -> Iterator[int]:
    """A file of 64 KiB."""
    (home / "f").write_bytes(b"x" * 65_536)
    opened = os.open(home / "f", os.O_RDWR)
    yield opened
    os.close(opened)


def test_a_punched_range_reads_as_nul_and_the_size_stays(fd: int) -> None:
    """The space comes back, the writer's offsets stay."""
    before = os.fstat(fd).st_blocks
    linux.punch(fd, 4096, 32_768)

    assert b"x" * 4096 + bytes(32_768) + b"x" * 28_672 == os.pread(fd, 1 << 20, 0)
    assert (65_536, before - 64) == (os.fstat(fd).st_size, os.fstat(fd).st_blocks)


def test_reserved_blocks_are_real(home: Path) -> None:
    """What a full disk cannot take."""
    fd = os.open(home / "g", os.O_RDWR | os.O_CREAT)
    linux.allocate(fd, 1 << 20)
    blocks = os.fstat(fd).st_blocks
    os.close(fd)

    assert blocks * 512 >= 1 << 20


def test_birth_times_tell_files_apart(home: Path, fd: int) -> None:
    """C5: a new file of the same name has another one; the same file keeps its own."""
    first = linux.birth_time(fd)
    assert first == linux.birth_time(fd)
    assert first is not None
    (home / "f").unlink()
    (home / "f").write_bytes(b"")
    other = os.open(home / "f", os.O_RDONLY)
    second = linux.birth_time(other)
    os.close(other)

    assert second is not None
    assert second >= first
    assert abs(first / 1e9 - os.fstat(fd).st_mtime) < 60


def test_a_rename_replaces_nothing(home: Path) -> None:
    """FileExistsError, and both stay."""
    (home / "a").write_bytes(b"a")
    (home / "b").write_bytes(b"b")
    fd = os.open(home, os.O_RDONLY)
    with pytest.raises(FileExistsError):
        linux.rename_noreplace(fd, "a", fd, "b")
    linux.rename_noreplace(fd, "a", fd, "c\udcff\n")
    os.close(fd)

    assert b"b" == (home / "b").read_bytes()
    assert b"a" == (home / "c\udcff\n").read_bytes()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL])
def test_where_renameat2_is_unknown_a_link_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """H7: the same promise with older kernels and file systems."""

    def unknown(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(linux, "_call", unknown)
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(FileExistsError):
        linux.rename_noreplace(fd, "a", fd, "b")
    linux.rename_noreplace(fd, "a", fd, "c")
    os.close(fd)

    assert ["b", "c"] == sorted(os.listdir(tmp_path))
    assert 1 == (tmp_path / "c").stat().st_nlink


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL])
def test_a_new_file_of_its_owner_stays_where_renameat2_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """It comes to the path while the one before it is renamed: without links no second step can remove it."""

    def unknown(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    def overtaken(real: Callable[..., None]) -> Callable[..., None]:
        def act(*args: object, **places: object) -> None:
            real(*args, **places)
            (tmp_path / "new").write_bytes(b"new")
            os.replace(tmp_path / "new", tmp_path / "a")

        return act

    monkeypatch.setattr(linux, "_call", unknown)
    for name in ("link", "rename"):
        monkeypatch.setattr(linux.os, name, overtaken(getattr(os, name)))
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(FileExistsError):
        linux.rename_noreplace(fd, "a", fd, "b", linking=False)
    linux.rename_noreplace(fd, "a", fd, "c", linking=False)
    os.close(fd)

    assert (b"new", b"b", b"a") == tuple((tmp_path / name).read_bytes() for name in "abc")


def test_a_lease_is_granted_only_when_nobody_else_has_it_open(home: Path, fd: int) -> None:
    """C1: neither a reader nor a writer; and it is really held."""
    for flags in (os.O_RDONLY, os.O_WRONLY):
        other = os.open(home / "f", flags)
        assert not linux.take_write_lease(fd)
        os.close(other)

    assert linux.take_write_lease(fd)
    assert linux.holds_write_lease(fd)
    with pytest.raises(BlockingIOError):
        os.open(home / "f", os.O_RDONLY | os.O_NONBLOCK)
    assert not linux.holds_write_lease(fd)
    linux.drop_lease(fd)
    os.close(os.open(home / "f", os.O_RDONLY | os.O_NONBLOCK))


def test_file_systems_have_names(fd: int) -> None:
    """H10: what is allowed is a list of local ones."""
    assert linux.filesystem(fd) in linux.LOCAL
    assert {"nfs", "cifs", "smb2", "fuse", "9p", "virtiofs", "ceph"}.isdisjoint(linux.LOCAL)
    proc = os.open("/proc", os.O_RDONLY)
    kind = linux.filesystem(proc)
    os.close(proc)
    assert "0x9fa0" == kind


def test_errors_carry_their_number() -> None:
    """Every call raises OSError with errno."""
    for call in (lambda: linux.punch(-1, 0, 1), lambda: linux.sync_filesystem(-1), lambda: linux.filesystem(-1)):
        with pytest.raises(OSError, match="Bad file descriptor"):
            call()
    assert linux.birth_time(-1) is None


def test_an_unknown_function_is_enosys() -> None:
    """A C library without it is a kernel without it."""
    with pytest.raises(OSError, match="not in this C library"):
        linux._call("no_such_function")


def test_a_file_system_can_be_synced(fd: int) -> None:
    """One call for many files."""
    linux.sync_filesystem(fd)

    assert 65_536 == os.fstat(fd).st_size
