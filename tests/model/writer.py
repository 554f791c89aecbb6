"""A writer that does to its file what writers and operators do, one action at a time, and remembers what it wrote.

A record counts as written once its line end is. Where the file is emptied, deleted or replaced, what was in it may be
lost: its id is noted, and the judge excuses the unsealed run before it, and nothing else.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.torture import record
from tests.torture.tally import Truth

PAYLOAD = 40
MODES = ("append", "hold", "truncate")
BLOCK = 4096


class Writer:
    """One program and its operator; every method is one action."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = -1
        self.written = 0
        self.emptied: list[int] = []
        self.fragments = 0
        self.renamed: list[Path] = []
        self.links: list[Path] = []
        self.moved = False
        """The open file was renamed by the operator."""
        self.unlinked = False
        """The open file has no name any more."""
        self._make = record.maker(0, PAYLOAD)
        self._rest = b""

    def truth(self) -> Truth:
        """What the judge is told."""
        return Truth(self.path.name, 0, self.written, record.length(PAYLOAD), tuple(self.emptied), self.fragments)

    @property
    def away(self) -> bool:
        """The open file is not the one at the path: it was renamed, by the operator or by the agent."""
        if self.fd < 0 or self.unlinked:
            return False
        return not self.path.exists() or self.path.stat().st_ino != os.fstat(self.fd).st_ino

    # -- the program

    def write(self, count: int) -> None:
        """Finish the line that was begun, then write `count` records, each with two calls."""
        if self.fd < 0:
            self._open("append")
        self._finish()
        for _ in range(count):
            os.write(self.fd, self._make(self.written))
            os.write(self.fd, b"\n")
            self.written += 1

    def half(self, part: int) -> None:
        """Write the first `part` per cent of a record."""
        if self.fd < 0:
            self._open("append")
        self._finish()
        line = self._make(self.written) + b"\n"
        cut = 1 + (len(line) - 1) * part // 100
        os.write(self.fd, line[:cut])
        self._rest = line[cut:]
        if not self._rest:
            self.written += 1

    def close(self) -> None:
        """Finish the line and let the file go."""
        if self.fd >= 0:
            self._finish()
            os.close(self.fd)
            self.fd = -1
        if self.unlinked:
            self.emptied.append(self.written)
        self.moved = self.unlinked = False

    def reopen(self, mode: str) -> None:
        """Restart: close, and open again in another mode."""
        self.close()
        self._open(mode)

    def rewrite(self) -> None:
        """Write the last, partly filled block once more from its start, as page buffers do (attack C4)."""
        if self.fd < 0 or self.away or self.unlinked or not self.path.exists():
            return
        with self.path.open("r+b", buffering=0) as file:
            start = os.fstat(file.fileno()).st_size // BLOCK * BLOCK
            file.seek(start)
            data = file.read()
            file.seek(start)
            file.write(data)

    # -- the operator

    def truncate(self) -> None:
        """Empty the file under its writer, whose next write goes where it was, or to the start when it appends."""
        if self.path.exists() and not self.away and not self.unlinked:
            self._abandon()
            os.truncate(self.path, 0)
            self.emptied.append(self.written)

    def delete(self, *, hold: bool) -> None:
        """Unlink the file; its writer keeps it open or not. With a second name it would only be renamed."""
        if not self.path.exists() or self.away or self.unlinked or self.links:
            return
        self.path.unlink()
        if hold and self.fd >= 0:
            self.unlinked = True
        else:
            self._abandon()
            self.close()
        self.emptied.append(self.written)

    def rename(self) -> None:
        """Move the file away, as rotating writers and logrotate do; the writer may still have it open."""
        if self.path.exists() and not self.away and not self.unlinked and not self.links:
            target = self.path.with_name(f"{self.path.name}.{len(self.renamed) + 1}")
            self.path.rename(target)
            self.renamed.append(target)
            self.moved = self.fd >= 0

    def link(self) -> None:
        """Give the file a second name."""
        if self.path.exists() and not self.links and not self.away:
            other = self.path.with_name(f"link-{self.written}")
            if not other.exists():
                os.link(self.path, other)
                self.links.append(other)

    def unlink(self) -> None:
        """Take the second name away again."""
        while self.links:
            self.links.pop().unlink(missing_ok=True)

    def _open(self, mode: str) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        if mode == "append":
            flags |= os.O_APPEND
        if mode == "truncate":
            flags |= os.O_TRUNC
            if self.path.exists():
                self.emptied.append(self.written)
        self.fd = os.open(self.path, flags, 0o644)
        if mode == "hold":
            os.lseek(self.fd, 0, os.SEEK_END)

    def _abandon(self) -> None:
        """Give up the line that was begun; what is there of it goes with the file."""
        if self._rest:
            self.fragments += record.length(PAYLOAD) - len(self._rest)
            self._rest = b""

    def _finish(self) -> None:
        if self._rest:
            os.write(self.fd, self._rest)
            self._rest = b""
            self.written += 1
