"""The judge: `python -m tests.torture.judge DIR TRUTH...` says whether a stopped directory has every record.

It knows the writers' truth and the bytes on disk, and nothing else. The invariant: every complete record is readable
exactly once, in order, over segments + open part + live file from S, and a gap is counted by reason. What the agent
says it lost (gaps in indexes, losses in its audit trail) may never exceed the true loss.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.torture import segments
from tests.torture.chain import check_chain
from tests.torture.segments import FormatError, Segment
from tests.torture.tally import Tally, Truth

STATE = ".telemetry-agent"
_GUARD = 256
"""Bytes before S that are never punched: from floor(S) on."""
_PIECE = 1 << 22
_ENDINGS = (".open", ".part")
"""Of what is captured, and of a segment that is being made: either may be the only copy when the agent is gone."""


@dataclass
class Verdict:
    """What became of one stream."""

    stream: str
    written: int = 0
    sealed: int = 0
    live: int = 0
    lost: int = 0
    cut: int = 0
    """Records lost because their writer truncated the file."""
    twice: int = 0
    torn: int = 0
    disorder: int = 0
    segments: int = 0
    claimed: int = 0
    """Bytes that the agent says were lost."""
    findings: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """True when nothing is wrong."""
        return not (self.lost or self.twice or self.torn or self.disorder or self.findings)


def judge(directory: Path, truths: Iterable[Truth]) -> list[Verdict]:
    """One verdict for each stream in `truths`. Nobody may be writing in `directory`."""
    truths = list(truths)
    names = sorted({truth.stream for truth in truths})
    found, findings = _load(directory)
    verdicts = []
    for name in names:
        chain = sorted((one for one in found if one.index["stream"] == name), key=lambda one: (one.start, one.end))
        case = _Case(directory, name, [truth for truth in truths if truth.stream == name], chain)
        verdicts.append(case.judge())
    findings += [f"{one.path.name}: of unknown stream" for one in found if one.index["stream"] not in names]
    known = {f".{name}{ending}" for name in names for ending in _ENDINGS}
    there = (path.name for ending in _ENDINGS for path in directory.glob(f".*{ending}"))
    findings += [f"{name}: unknown part" for name in there if name not in known]
    verdicts[0].findings += findings
    return verdicts


def _load(directory: Path) -> tuple[list[Segment], list[str]]:
    """Every segment in `directory`, and what is wrong with files that should be one."""
    found, findings = [], []
    for path in directory.glob("*.gz"):
        try:
            found.append(segments.load(path))
        except FormatError as error:
            findings.append(str(error))
    return found, findings


class _Case:
    """One stream before the judge."""

    def __init__(self, directory: Path, name: str, truths: list[Truth], chain: list[Segment]) -> None:
        self.directory = directory
        self.live = directory / name
        self.truths = truths
        self.chain = chain
        self.tally = Tally(truths)
        self.verdict = Verdict(name, written=sum(truth.written for truth in truths), segments=len(chain))
        self.ends: dict[tuple[int, int | None], tuple[int, bytes]] = {}
        """S of each incarnation, and the last sealed bytes before it."""

    def judge(self) -> Verdict:
        verdict, tally = self.verdict, self.tally
        verdict.findings += check_chain(self.chain, emptied=any(truth.truncations for truth in self.truths))
        for segment in self.chain:
            self.take_segment(segment)
        start = self.sealed_end()
        for ending in _ENDINGS:
            start = self.take_part(self.directory / f".{self.live.name}{ending}", start)
        verdict.sealed = tally.records
        self.take_live(start)
        verdict.live = tally.records - verdict.sealed
        verdict.twice, verdict.torn, verdict.disorder = tally.twice, tally.torn, tally.disorder
        verdict.lost, verdict.cut, true_loss = tally.missing()
        self.weigh_claims(true_loss)
        verdict.findings += tally.examples
        return verdict

    def take_segment(self, segment: Segment) -> None:
        """Count a segment's records and compare its index with its content."""
        name, index = segment.path.name, segment.index
        size = lines = 0
        last = b""
        members = []
        try:
            for at, plain in segments.inflate(segment.body, name):
                members.append([size, at])
                lines += self.tally.take(plain)
                size += len(plain)
                last = (last + plain)[-_GUARD:]
        except FormatError as error:
            self.verdict.findings.append(str(error))
        self.tally.finish()
        for what, told, true in (
            ("length", segment.end - segment.start, size),
            ("records", index["records"], lines),
            ("members", index["members"], members),
        ):
            if told != true:
                self.verdict.findings.append(f"{name}: index says {what} {told}, its content has {true}")
        before = self.ends.get(segment.incarnation, (0, b""))[1]
        self.ends[segment.incarnation] = index["physical"][1], last or before

    def sealed_end(self) -> int:
        """S: the physical end of what is sealed of the file that is live now; 0 where that began anew."""
        if not self.live.exists():
            return 0
        info = self.live.stat()
        end, last = self.ends.get((info.st_ino, segments.birth_time(self.live)), (0, b""))
        if info.st_size < end:
            return 0
        guard = self.read(end - len(last), end)
        return end if guard in (last, bytes(len(guard))) else 0

    def take_part(self, path: Path, end: int) -> int:
        """Count what a part has and the live file may not have any more; where the live file goes on."""
        if not path.exists():
            return end
        whole = _good_members(path)
        content = whole[: whole.rfind(b"\n") + 1]
        there = self.read(end, end + len(content))
        if there == content:
            return end
        self.tally.take(content)
        return end + len(content) if _released(there, content) else 0

    def take_live(self, start: int) -> None:
        """Count the records of the live file from S on."""
        if not self.live.exists():
            return
        nuls = 0
        for data in _pieces(self.live, start):
            nuls += data.count(0)
            self.tally.take(data)
        self.tally.finish()
        if nuls:
            self.verdict.findings.append(f"{self.live.name}: {nuls} NULs behind S = {start}")

    def read(self, start: int, end: int) -> bytes:
        """Bytes of the live file; fewer where it ends."""
        if not self.live.exists():
            return b""
        with self.live.open("rb") as file:
            file.seek(start)
            return file.read(end - start)

    def weigh_claims(self, true_loss: int) -> None:
        """Compare what the agent says was lost with what the writers know was lost."""
        audited = list(_audited_losses(self.directory / STATE, self.live.name))
        told = sum(int(entry.get("bytes", 0)) for entry in audited)
        truncated = any(truth.truncations for truth in self.truths)
        # Where a file was refilled past its old size unseen, positions stay unused that are no loss.
        self.verdict.claimed = told if truncated else max(told, sum(segment.gap for segment in self.chain))
        if self.verdict.claimed > true_loss or (audited and not truncated):
            self.verdict.findings.append(
                f"{len(audited)} losses audited, {self.verdict.claimed} bytes counted as lost, truly {true_loss}"
            )


def _good_members(path: Path) -> bytes:
    """The plain bytes of a part up to its first bad or unfinished member."""
    plain = []
    try:
        for _, data in segments.inflate(path.read_bytes(), path.name):
            plain.append(data)
    except FormatError:
        pass
    return b"".join(plain)


def _released(there: bytes, content: bytes) -> bool:
    """True when every byte of the live range is the sealed one, or NUL."""
    pairs = zip(there, content, strict=False)
    return len(there) == len(content) and all(live in (sealed, 0) for live, sealed in pairs)


def _pieces(path: Path, start: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while data := file.read(_PIECE):
            yield data


def _audited_losses(state: Path, stream: str) -> Iterator[dict[str, Any]]:
    """The losses and gaps that the audit trail tells of a stream."""
    for path in (state / "audit.jsonl.1", state / "audit.jsonl"):
        if path.exists():
            for line in path.read_text("utf-8").splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue  # cut short by a crash or a full disk
                if entry.get("event") in ("loss", "gap") and entry.get("stream") == stream:
                    yield entry


_COLUMNS = ("stream", "written", "sealed", "live", "lost", "cut", "twice", "torn", "disorder", "segments", "claimed")


def table(verdicts: list[Verdict]) -> str:
    """The verdicts as text, each finding on its own line below."""
    rows = [_COLUMNS, *(tuple(str(getattr(one, name)) for name in _COLUMNS) for one in verdicts)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines += [f"{one.stream}: {finding}" for one in verdicts for finding in one.findings]
    return "\n".join([*lines, "good" if all(one.good for one in verdicts) else "BAD"])


def main() -> int:
    """Print the table; 1 when anything is wrong."""
    parser = argparse.ArgumentParser(prog="tests.torture.judge", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("truth", type=Path, nargs="+", help="truth file of a writer")
    options = parser.parse_args()
    verdicts = judge(options.directory, map(Truth.load, options.truth))
    sys.stdout.write(table(verdicts) + os.linesep)
    return 0 if all(one.good for one in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
