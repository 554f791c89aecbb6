"""The keys of `[rotation]` and `[retention]`, which hold for all streams, for some, or for the files of a forward."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from agent.kit.units import Duration, Share, Size

Count = Annotated[int, Meta(ge=0, extra={"off": 0})]


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When and how live files are sealed into segments. Whichever of size, age and schedule comes first."""

    max_size: Size | None = Size("10MB")
    """Due when a stream has this many live bytes."""
    max_age: Duration | None = Duration("1h")
    """Due when the oldest live byte has waited this long."""
    schedule: str = ""
    """Due at these times, in local time: five cron fields (`0 */6 * * *`) or `@hourly`, `@daily`, `@weekly`,
    `@monthly`, `@yearly`."""
    min_size: Size = Size(0)
    """A stream with fewer live bytes than this is not due by age or schedule."""
    method: Literal["auto", "in-place", "rename", "copytruncate"] = "auto"
    """How live bytes leave the live file. `auto` seals in place, without disturbing the writer, and refuses a file
    for which that is impossible. `rename` seals after the last writer let go. `copytruncate` may lose what is
    written between copy and truncation, and counts it."""
    level: Literal["fast", "small"] = "fast"
    """Compression: `fast` costs the least, `small` gives smaller segments for more CPU time; it needs the extra
    `small`."""
    verify: Literal["full", "sample"] = "full"
    """What is read back before anything is released: every byte, or one member in eight and all checksums."""
    capture: Duration | None = None
    """Also compress live bytes at this interval, between rotations, into a hidden file that the rotation publishes;
    at least 100ms. It saves what a writer would truncate when it restarts."""
    archive_directory: str = ""
    """Where segments go; relative to the watched directory. Empty: beside the live file."""
    mode: str = ""
    """Permissions of segments, in octal, such as `0644`. Empty: those of the live file."""
    owner: str = ""
    """Owner of segments, `user` or `user:group`, by name or number. Empty: that of the live file."""
    pre: tuple[str, ...] = ()
    """Command run before a rotation, a list of program and arguments without a shell. When it fails, the rotation
    does not happen and the live file stays as it is."""
    post: tuple[str, ...] = ()
    """Command run after a rotation, as `pre`; a failure is reported."""
    hook_timeout: Duration = Duration("30s")
    """Time that `pre` and `post` have each, before they are killed."""
    unlink_idle: Duration | None = None
    """Remove a live file that is empty, to which nothing was written for this long, and which nobody has open."""


class Retention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long segments are kept. Whichever limit strikes first; the oldest segments go first."""

    keep: Count = 2
    """Number of segments kept of each stream; 0 sets no limit."""
    max_age: Duration | None = Duration("60m")
    """Segments older than this are deleted."""
    max_total: Size | None = Size("50MB")
    """Allocated bytes that live files, parts, segments, quarantine and state of a directory may take together."""
    min_free: Size | Share | None = None
    """Space that must stay free in the file system, a size or a percentage of it."""
