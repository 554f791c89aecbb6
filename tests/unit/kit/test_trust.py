"""Who may change what a path leads to: by real directories, owners and links."""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.kit import trust

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")]
OTHER = 65534
NOBODY = 2**32 - 1
"""In an access list: the entry is of no single user."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory that only root may write, as everything above it."""
    found = tmp_path / "place"
    found.mkdir(mode=0o755)
    return found


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory like /tmp."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o1777)
    yield path
    shutil.rmtree(path)


def test_a_directory_of_roots_own_is_good(place: Path) -> None:
    """Also what does not exist yet below it, and a directory below /tmp."""
    assert "" == trust.intruder(str(place))
    assert "" == trust.intruder(str(place / "not" / "yet"))
    assert "" == trust.intruder(f"{place}/../{place.name}/.")


@pytest.mark.parametrize(
    ("owner", "group", "mode", "said"),
    [
        (OTHER, 0, 0o700, "belongs to nobody"),
        (0, 1, 0o775, "the group daemon"),
        (0, 0, 0o777, "everybody"),
        (0, 0, 0o1777, "everybody"),
        (0, 0, 0o775, ""),
        (0, 1, 0o755, ""),
    ],
)
def test_who_may_write(place: Path, owner: int, group: int, mode: int, said: str) -> None:
    """Owner, group and everybody; the group root is root's."""
    os.chown(place, owner, group)
    place.chmod(mode)
    found = trust.intruder(str(place))

    assert said in found
    assert bool(said) is bool(found)


def test_what_lies_above_counts(place: Path) -> None:
    """Whoever may rename a directory above decides what the path leads to."""
    below = place / "below"
    below.mkdir()
    os.chown(place, OTHER, 0)

    assert f"{place} belongs to nobody" == trust.intruder(str(below))
    assert f"{place} belongs to nobody" == trust.intruder(str(place / "not yet"))


def test_a_link_is_as_good_as_where_it_lies(place: Path, tmp_path: Path) -> None:
    """It leads to a good directory now; whoever may change it leads it elsewhere."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "link").symlink_to(place)
    (tmp_path / "good").symlink_to("place")
    (tmp_path / "twice").symlink_to("theirs/link")
    os.chown(theirs, OTHER, 0)

    assert "" == trust.intruder(str(tmp_path / "good"))
    assert f"{theirs} belongs to nobody" == trust.intruder(str(theirs / "link"))
    assert f"{theirs} belongs to nobody" == trust.intruder(str(tmp_path / "twice"))


def test_in_a_directory_like_tmp_only_what_root_made_is_good(place: Path, shared: Path) -> None:
    """Others may make names there, but not take root's away."""
    (shared / "ours").mkdir()
    (shared / "theirs").mkdir()
    os.chown(shared / "theirs", OTHER, 0)
    (shared / "link").symlink_to(place)
    os.chown(shared / "link", OTHER, 0, follow_symlinks=False)

    assert "" == trust.intruder(str(shared / "ours"))
    assert "" == trust.intruder(str(shared / "not yet"))
    assert "belongs to nobody" in trust.intruder(str(shared / "theirs"))
    assert "belongs to nobody" in trust.intruder(str(shared / "link"))


def test_an_access_list_is_seen(place: Path) -> None:
    """With a list the group's bits are what anybody on it may do at most."""
    entries = [(1, 7, NOBODY), (2, 7, OTHER), (4, 5, NOBODY), (16, 7, NOBODY), (32, 5, NOBODY)]
    text = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(place, "system.posix_acl_access", text)

    assert "may be written" in trust.intruder(str(place))


def test_links_in_a_circle_end(place: Path) -> None:
    """Nothing is there, so nothing can be wrong with it but what leads to it."""
    (place / "a").symlink_to("b")
    (place / "b").symlink_to("a")

    assert "" == trust.intruder(str(place / "a"))
