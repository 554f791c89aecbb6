"""Which paths a list of patterns means.

Patterns are fnmatch patterns with case. One with a "/" is matched against the path below the watched directory
(where `*` also crosses "/"), one without against the last part of the path.
"""

from __future__ import annotations

import fnmatch
import re
from functools import lru_cache

_DAY = "[12]" + "[0-9]" * 7

FOREIGN_ARCHIVES = (
    "*-[12]???-??-??T??-??-??.???*",
    f"*-{_DAY}",
    f"*-{_DAY}.*",
    f"*-{_DAY}[0-9][0-9]",
    f"*-{_DAY}[0-9][0-9].*",
    "*.[1-9]",
    "*.[1-9][0-9]",
    "*[!0-9].[1-9].*",
    "*[!0-9].[1-9][0-9].*",
    "*.gz",
    "*.bz2",
    "*.xz",
    "*.zst",
)
"""What other tools call their archives: lumberjack and timberjack (a time, with `-size`, also after the suffix);
logrotate's `dateext` by day, hour or second (`-%s`), and its numbers, each also before an `extension`; compressed
files. A number between dots counts only after a character that is no digit: `app-1.2.json` stays a live file."""


def hidden(path: str) -> bool:
    """True when a part of the path begins with a dot: parts under construction, state, others' temporary files."""
    return path.startswith(".") or "/." in path


@lru_cache(maxsize=256)
def _compiled(patterns: tuple[str, ...]) -> tuple[re.Pattern[str] | None, re.Pattern[str] | None]:
    """One expression for paths, one for their last parts; None where no pattern asks for it."""
    paths = [fnmatch.translate(one) for one in patterns if "/" in one]
    names = [fnmatch.translate(one) for one in patterns if "/" not in one]
    return (re.compile("|".join(paths)) if paths else None, re.compile("|".join(names)) if names else None)


def matches(patterns: tuple[str, ...], path: str) -> bool:
    """True when one of `patterns` means `path`, a path below the watched directory with "/" between its parts."""
    paths, names = _compiled(patterns)
    if names is not None and names.match(path[path.rfind("/") + 1 :]):
        return True
    return paths is not None and paths.match(path) is not None
