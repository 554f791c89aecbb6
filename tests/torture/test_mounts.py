"""The file systems that the torture runs on are what they say, and are gone afterwards."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.torture.mounts import KINDS, mounted, overlaid


def kinds_of(point: Path) -> list[str]:
    """The kinds of file system mounted at `point`."""
    lines = [line.split() for line in Path("/proc/mounts").read_text("utf-8").splitlines()]
    return [fields[2] for fields in lines if fields[1] == str(point)]


@pytest.mark.root
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_system_is_mounted_and_unmounted(kind: str, tmp_path: Path) -> None:
    """Inside the context a fresh file system of the kind is there; behind it neither mount nor image."""
    with mounted(kind, tmp_path, 16 << 20) as point:
        (point / "file").write_bytes(b"x")

        assert [kind] == kinds_of(point)
    assert [] == kinds_of(point)
    assert [point] == list(tmp_path.iterdir())


@pytest.mark.root
def test_an_overlay_is_mounted_and_unmounted(tmp_path: Path) -> None:
    """What lies in the layer below is seen, and can be written; behind the context no mount is left."""
    with overlaid(tmp_path, 1 << 20, lambda lower: (lower / "below").write_bytes(b"x")) as point:
        assert ["overlay"] == kinds_of(point)
        assert b"x" == (point / "below").read_bytes()
        (point / "below").write_bytes(b"y")
        assert b"y" == (point / "below").read_bytes()
    assert [] == [kind for path in tmp_path.iterdir() for kind in kinds_of(path)]


@pytest.mark.root
def test_a_failing_test_leaves_no_mount(tmp_path: Path) -> None:
    """An exception inside the context unmounts as well."""
    with pytest.raises(ZeroDivisionError), mounted("tmpfs", tmp_path, 1 << 20) as point:
        raise ZeroDivisionError

    assert [] == kinds_of(point)


@pytest.mark.root
def test_a_small_file_system_is_really_full(tmp_path: Path) -> None:
    """The size is the file system's, so that a full disk can be had."""
    with mounted("tmpfs", tmp_path, 1 << 20) as point:
        fd = os.open(point / "file", os.O_WRONLY | os.O_CREAT)
        try:
            assert 1 << 20 == os.write(fd, bytes(2 << 20))
            with pytest.raises(OSError, match="No space left"):
                os.write(fd, b"x")
        finally:
            os.close(fd)


def test_without_root_a_test_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where mounting is not allowed the reason says so."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(pytest.skip.Exception, match="needs root"), mounted("ext4", tmp_path, 1):
        pass
