"""Whether anybody but root decides what lies in a directory, or which directory a path leads to.

As root the agent works only where the answer is no: whoever may write a directory could put a link to somebody else's
file there. The rule is logrotate's (a parent directory writable by others is refused without `su`), asked of every
directory that the path goes through, links included.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator

_ACCESS_LIST = "system.posix_acl_access"
_MOST_LINKS = 40


def writable(place: int | str) -> str:
    """Who but root may write this directory (a descriptor or path), as the end of a sentence; empty for nobody."""
    info = os.stat(place)
    if info.st_uid != 0:
        return f"belongs to {user_name(info.st_uid)}"
    if info.st_mode & stat.S_IWOTH:
        return "may be written by everybody"
    if info.st_mode & stat.S_IWGRP and (info.st_gid != 0 or _has_access_list(place)):
        return f"may be written by the group {_group_name(info.st_gid)}"
    return ""


def intruder(path: str) -> str:
    """Why others than root may change what is at `path`, as a sentence; empty when they may not.

    What does not exist yet counts as good as the directory it would be made in: ask again once it was made.
    """
    for there, inside, last in _passed(path):
        info = os.lstat(there)
        if inside and info.st_uid != 0:
            return f"{there} belongs to {user_name(info.st_uid)}, in {inside}, which others may write"
        if not stat.S_ISLNK(info.st_mode):
            who = "" if _sticky(info) and not last else writable(there)
            if who:
                return f"{there} {who}"
    return ""


def _sticky(info: os.stat_result) -> bool:
    """True for a directory such as /tmp: nobody else can take away what root made in it."""
    return info.st_uid == 0 and bool(info.st_mode & stat.S_ISVTX)


def _passed(path: str) -> Iterator[tuple[str, str, bool]]:
    """Every existing directory and link on the way to `path`, links followed by hand.

    With it the directory that it lies in, where that is one like /tmp, and whether it is the end of the way.
    """
    left = os.path.abspath(path).split("/")[:0:-1]
    there, links = "/", 0
    yield there, "", not left
    while left:
        name = left.pop()
        if name in ("", "."):
            continue
        if name == "..":
            there = os.path.dirname(there)
            continue
        inside = there if _sticky(os.stat(there)) else ""
        there = os.path.join(there, name)
        if os.path.islink(there) and links < _MOST_LINKS:
            links += 1
            yield there, inside, False
            target = os.readlink(there)
            there = "/" if target.startswith("/") else os.path.dirname(there)
            left.extend(reversed(target.split("/")))
        elif os.path.isdir(there):
            yield there, inside, not left
        else:
            return


def _has_access_list(place: int | str) -> bool:
    try:
        os.getxattr(place, _ACCESS_LIST)
    except OSError:
        return False
    return True


def user_name(uid: int) -> str:
    """The account's name, or its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
