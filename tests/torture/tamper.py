"""Negative controls: one record in 10,000 damaged, in segments that stay perfectly valid.

Each damage rewrites gzip members, index, digest, counts and all positions behind it, so that nothing but the records
themselves tells of it. A harness that calls such a directory good proves nothing.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.torture import segments
from tests.torture.segments import Segment

EVERY = 10_000

Damage = Callable[[list[bytes], int], None]
"""Changes a stream's lines, given with their ends, at one place."""


def drop(lines: list[bytes], at: int) -> None:
    """Lose a record."""
    lines[at] = b""


def double(lines: list[bytes], at: int) -> None:
    """Have a record twice."""
    lines[at] *= 2


def tear(lines: list[bytes], at: int) -> None:
    """Lose the middle of a record."""
    line = lines[at]
    lines[at] = line[: len(line) // 3] + line[len(line) // 2 :]


def glue(lines: list[bytes], at: int) -> None:
    """Lose a line end, so that two records become one line."""
    lines[at] = lines[at].removesuffix(b"\n")


def swap(lines: list[bytes], at: int) -> None:
    """Exchange a record with the next one."""
    lines[at], lines[at + 1] = lines[at + 1], lines[at]


def damage(directory: Path, stream: str, how: Damage) -> int:
    """Damage one record in EVERY of a stream's sealed ones, the first of them in the middle; how many that were."""
    found = [segments.load(path) for path in directory.glob("*.gz")]
    chain = sorted((one for one in found if one.index["stream"] == stream), key=lambda one: one.start)
    end = chain[-1].index["physical"][1]
    count = seen = shift = 0
    for segment in chain:
        lines = _content(segment).splitlines(keepends=True)
        places = [i for i in range(len(lines) - 1) if (seen + i) % EVERY == EVERY // 2]
        for place in places:
            how(lines, place)
        seen += len(lines)
        count += len(places)
        shift = _rewrite(segment, b"".join(lines), shift)
    _shift_live(directory / stream, end, shift)
    return count


def copy_run(directory: Path, to: Path) -> Path:
    """Copy a stopped run; the copied live files are new inodes, which the copied indexes are told of."""
    subprocess.run(["cp", "-a", "--sparse=always", str(directory), str(to)], check=True)
    for path in to.glob("*.gz"):
        segment = segments.load(path)
        old, new = (root / segment.index["stream"] for root in (directory, to))
        if old.exists() and segment.incarnation == (old.stat().st_ino, segments.birth_time(old)):
            segment.index["incarnation"] = {"inode": new.stat().st_ino, "birth": segments.birth_time(new)}
            path.write_bytes(segment.body + segments.last_member(segment.index))
    return to


def claim_loss(directory: Path, stream: str, size: int) -> None:
    """Have the audit trail tell of a loss."""
    state = directory / ".telemetry-agent"
    state.mkdir(exist_ok=True)
    entry = {"time": time.time(), "event": "loss", "stream": stream, "reason": "truncated", "bytes": size}
    with (state / "audit.jsonl").open("a", encoding="ascii") as trail:
        trail.write(json.dumps(entry) + "\n")


def claim_gap(directory: Path, stream: str, size: int) -> None:
    """Have the newest segment's index tell of a gap before it."""
    found = [segments.load(path) for path in directory.glob("*.gz")]
    newest = max((one for one in found if one.index["stream"] == stream), key=lambda one: one.start)
    index = newest.index
    for name in ("logical", "physical"):
        index[name] = [index[name][0] + size, index[name][1] + size]
    newest.path.write_bytes(newest.body + segments.last_member(index | {"gap_before": size}))


def _content(segment: Segment) -> bytes:
    return b"".join(plain for _, plain in segments.inflate(segment.body, segment.path.name))


def _shift_live(path: Path, end: int, shift: int) -> None:
    """Move what the live file has from shortly before byte `end` on, so that S is right again."""
    start = max(0, end - 256)
    with path.open("r+b") as live:
        live.seek(start)
        rest = live.read()
        live.truncate(0)
        live.seek(start + shift)
        live.write(rest)


def _rewrite(segment: Segment, content: bytes, shift: int) -> int:
    """Give a segment other content, moved by `shift`; by how much the next one has to move."""
    body = gzip.compress(content, 1, mtime=0)
    start = segment.start + shift
    first = segment.index["physical"][0] + shift
    index = segment.index | {
        "logical": [start, start + len(content)],
        "physical": [first, first + len(content)],
        "records": content.count(b"\n"),
        "members": [[0, 0]],
        "digest": hashlib.sha256(body).hexdigest(),
    }
    segment.path.write_bytes(body + segments.last_member(index))
    return start + len(content) - segment.end
