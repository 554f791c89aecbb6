"""Whether the segments of one stream follow each other: positions, incarnations, times in names."""

from __future__ import annotations

from itertools import pairwise

from tests.torture.segments import Segment


def check_chain(chain: list[Segment], *, emptied: bool = False) -> list[str]:
    """What is wrong with `chain`, which is in the order of positions and starts where the stream does.

    `emptied`: a writer truncated the file, so that it may begin anew at any offset.
    """
    findings = []
    if chain and chain[0].start != chain[0].gap:
        findings.append(f"{chain[0].path.name}: the stream begins at {chain[0].start}")
    for segment in chain:
        findings += _check_alone(segment)
    for before, after in pairwise(chain):
        findings += _check_pair(before, after, emptied)
    return findings


def _check_alone(segment: Segment) -> list[str]:
    """Findings within one segment."""
    name, index = segment.path.name, segment.index
    findings = []
    start, end = index["physical"]
    if end - start != segment.end - segment.start:
        findings.append(f"{name}: {end - start} physical bytes, {segment.end - segment.start} logical ones")
    if not segment.name_time():
        findings.append(f"{name}: not a segment's name")
    return findings


def _check_pair(before: Segment, after: Segment, emptied: bool) -> list[str]:
    """Findings between two neighbours."""
    name = after.path.name
    findings = []
    if after.index["stream_id"] != before.index["stream_id"]:
        findings.append(f"{name}: stream id differs from that of {before.path.name}")
    if after.start - before.end != after.gap:
        findings.append(f"{name}: starts at {after.start}, {before.path.name} ends at {before.end}, gap {after.gap}")
    start, end = after.index["physical"][0], before.index["physical"][1]
    goes_on = after.incarnation == before.incarnation and start == end + after.gap
    # A file that was emptied begins anew at 0, or somewhere when its writer kept the offset.
    if not goes_on and start != after.gap and not emptied:
        findings.append(f"{name}: begins at byte {start} of the file, neither at {end} nor anew")
    if (after.name_time() or "") < (before.name_time() or ""):
        findings.append(f"{name}: older by name than {before.path.name}")
    return findings
