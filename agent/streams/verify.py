"""Checking an archive: every segment's checksums, the chain of positions, and the state files.

Reads everything and changes nothing. The chain begins at the low-water mark that retention left; behind it each
segment begins where the one before ended, but for gaps that the index itself declares as lost.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

import msgspec

from agent import audit
from agent.config import Config
from agent.kit.clock import SystemClock
from agent.kit.disk import Directory
from agent.kit.errors import CorruptError, printable
from agent.streams import hints
from agent.streams.archive import read_archive
from agent.streams.catalog import Place, Stream
from agent.streams.cursors import Cursors, consumers
from agent.streams.engine import peek
from agent.streams.segment import Segment, SegmentReader

_CHUNK = 1 << 20
_LOOKS = 5


class Finding(msgspec.Struct, frozen=True):
    """Something that is not as it should be."""

    path: str
    stream: str
    position: int | None
    what: str
    hint: str
    severity: Literal["error", "warning"]


_Checked = dict[tuple[str, int, float], list[Finding]]
"""What is wrong with a segment, which never changes, by its path, size and ctime."""


def verify(config: Config) -> list[Finding]:
    """Everything that is wrong below the watched directory. Raises FileNotFoundError when it is not there.

    An agent beside may retire and publish meanwhile: what seems wrong is looked at again before it is told.
    """
    checked: _Checked = {}
    before: list[Finding] = []
    found = _look(config, checked)
    for _ in range(_LOOKS):
        if all(one in before for one in found if one.severity == "error"):
            break
        before, found = found, _look(config, checked)
    return found


def _look(config: Config, checked: _Checked) -> list[Finding]:
    with peek(config, SystemClock()) as engine:
        findings = [finding for place in engine.catalog.places.values() for finding in _place(place)]
        for stream in engine.catalog.all():
            findings.extend(_stream(stream, checked))
        if engine.grounds.state:
            findings.extend(_state(engine.grounds.state))
        return findings


def _place(place: Place) -> Iterator[Finding]:
    _, left = read_archive(place)
    for one in left.damaged:
        if not place.archive.exists(one.name):
            continue
        path = os.path.join(place.archive.path, one.name)
        hint = "if the agent made it, its end is gone: restore it from a copy; `zcat` may still read its beginning"
        yield Finding(printable(path), "", None, f"no readable index: {one.error.what}", hint, "error")


def _stream(stream: Stream, checked: _Checked) -> Iterator[Finding]:
    for one in stream.segments:
        key = (one.path, one.size, one.changed)
        if key not in checked or one.open:
            checked[key] = list(_segment(one))
        yield from checked[key]
    for before, after in pairwise(stream.segments):
        yield from _link(stream, before, after)


def _link(stream: Stream, before: Segment, after: Segment) -> Iterator[Finding]:
    where = (printable(after.path), printable(stream.name), after.extent.start)
    missing = after.extent.start - before.extent.end
    if missing < 0:
        yield Finding(*where, f"{-missing} bytes are in {before.name} too", "keep both and report it", "error")
    elif missing > after.gap_before:
        hint = "a segment was removed by hand, or lost: the audit trail tells what the agent did"
        yield Finding(*where, f"{missing} bytes are missing before it", hint, "error")
    elif after.gap_before:
        hint = "its writer truncated the file or left NULs there; what was lost of it is in `telemetry-agent audit`"
        yield Finding(*where, f"{after.gap_before} positions before it hold no records", hint, "warning")


def _segment(one: Segment) -> Iterator[Finding]:
    """Inflate every member, compare the digest, count the records."""
    path, name = printable(one.path), printable(one.stream)
    hint = "the medium or another program changed it: restore it from a copy"
    records = length = 0
    ends = True
    try:
        with SegmentReader(one) as reader:
            if not one.open and _digest(one, reader.data_end) != reader.index.digest:
                yield Finding(path, name, one.extent.start, "the digest does not match", hint, "error")
            for member in reader.members():
                data = reader.content(member)
                records += data.count(b"\n")
                length += len(data)
                ends = data.endswith(b"\n")
    except (CorruptError, OSError) as error:
        yield Finding(path, name, one.extent.start, printable(str(error)), hint, "error")
        return
    if length != one.extent.length or records + (not ends) != one.records:
        yield Finding(path, name, one.extent.start, "index and content disagree about their size", hint, "error")


def _digest(one: Segment, end: int) -> str:
    digest = hashlib.sha256()
    fd = one.directory.open_read(one.name)
    try:
        at = 0
        while at < end:
            piece = os.pread(fd, min(_CHUNK, end - at), at)
            if not piece:
                break
            digest.update(piece)
            at += len(piece)
    finally:
        os.close(fd)
    return digest.hexdigest()


def _state(state: Directory) -> Iterator[Finding]:
    """Damaged lines and cursors never stop the agent; here they are named."""
    for name in (hints.NAME, audit.NAME, f"{audit.NAME}.1"):
        try:
            fd = state.open_read(name)
        except FileNotFoundError:
            continue
        with os.fdopen(fd, "rb") as file:
            bad = sum(1 for line in file if not _is_json(line))
        if bad:
            hint = "a crash or a full disk cut it short; the agent skips such lines"
            yield Finding(printable(os.path.join(state.path, name)), "", None, f"{bad} damaged lines", hint, "warning")
    for consumer in consumers(state):
        for problem in Cursors(state, consumer).problems:
            yield Finding(printable(problem.path), "", None, problem.what, problem.hint, "error")


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
