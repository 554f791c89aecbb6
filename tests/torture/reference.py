"""A small rotator of our own, to try the harness on: `python -m tests.torture.reference DIR --set rotation.max_size=N`.

It seals and releases in place as the design says, for one well-behaved directory: no incarnations, no recovery, no
lease. It takes the agent's command line and reads one setting of it. `--fault copytruncate` makes it lose what is
written between copy and truncation, so that the harness is seen to notice a real rotator's real loss; it waits there
until something was.
"""

from __future__ import annotations

import argparse
import ctypes
import gzip
import hashlib
import os
import signal
import time
import uuid
from pathlib import Path
from typing import Any

from tests.torture import segments

_MEMBER = 1 << 20
_BLOCK = 4096
_PUNCH_KEEP_SIZE = 3
_PAUSE = 0.003


class Rotator:
    """Seals the files of one directory."""

    def __init__(self, directory: Path, limit: int, fault: str) -> None:
        self.directory = directory
        self.limit = limit
        self.fault = fault
        self.sealed: dict[str, int] = {}
        self.base: dict[str, int] = {}
        self.id = uuid.uuid4().hex
        self.stop = False

    def run(self) -> None:
        """Look, seal, sleep a little; until told to stop."""
        while not self.stop:
            for path in self.directory.glob("*.json"):
                self.look(path)
            time.sleep(_PAUSE)

    def look(self, path: Path) -> None:
        """Seal `path` when it is due."""
        with path.open("r+b") as file:
            start = self.sealed.get(path.name, 0)
            if os.fstat(file.fileno()).st_size - start < self.limit:
                return
            file.seek(start)
            data = file.read()
            data = data[: data.rfind(b"\n") + 1]
            self.publish(path, os.fstat(file.fileno()).st_ino, start, data)
            self.release(file.fileno(), path.name, start + len(data))

    def publish(self, path: Path, inode: int, start: int, data: bytes) -> None:
        """Write a segment and give it its name."""
        body, members = b"", []
        for at in range(0, len(data), _MEMBER):
            members.append([at, len(body)])
            body += gzip.compress(data[at : at + _MEMBER], 1, mtime=0)
        base = self.base.get(path.name, 0)
        index: dict[str, Any] = {
            "stream": path.name,
            "stream_id": self.id,
            "incarnation": {"inode": inode, "birth": segments.birth_time(path)},
            "physical": [start, start + len(data)],
            "logical": [base + start, base + start + len(data)],
            "records": data.count(b"\n"),
            "members": members,
            "seen": [time.time(), time.time()],
            "digest": hashlib.sha256(body).hexdigest(),
            "reason": "size",
            "agent": "reference",
        }
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(body + segments.last_member(index))
        part.rename(self.free_name(path))

    def free_name(self, path: Path) -> Path:
        """The first segment name of this second that is not taken."""
        stamp = time.strftime("%Y%m%d_%H%M%S", time.gmtime())
        n = 0
        while True:
            name = f"{path.stem}_{stamp}{f'_{n}' if n else ''}{path.suffix}.gz"
            if not path.with_name(name).exists():
                return path.with_name(name)
            n += 1

    def release(self, fd: int, name: str, end: int) -> None:
        """Give the sealed bytes back."""
        if self.fault == "copytruncate":
            while not self.stop and os.fstat(fd).st_size < end + _BLOCK:
                time.sleep(_PAUSE)
            os.ftruncate(fd, 0)
            self.base[name] = self.base.get(name, 0) + end
            return
        self.sealed[name] = end
        libc = ctypes.CDLL(None, use_errno=True)
        length = max(0, end - 256) // _BLOCK * _BLOCK
        if length and libc.fallocate(fd, _PUNCH_KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(length)):
            raise OSError(ctypes.get_errno(), "fallocate", name)


def main() -> None:
    """Rotate until SIGTERM."""
    parser = argparse.ArgumentParser(prog="tests.torture.reference", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--fault", choices=("copytruncate",))
    options = parser.parse_args()
    settings = dict(one.split("=", 1) for one in options.set)
    rotator = Rotator(options.directory, int(settings["rotation.max_size"].removesuffix("B")), options.fault)

    def stop(*_: object) -> None:
        rotator.stop = True

    signal.signal(signal.SIGTERM, stop)
    rotator.run()


if __name__ == "__main__":
    main()
