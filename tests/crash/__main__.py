"""The proofs in one table, as markdown: `python -m tests.crash [--long] [--seed N] [--jobs N] [--readme]`.

With `--readme` the table also goes into the README, between its markers.

`python -m tests.crash power KIND CUTS` is one series of cuts as JSON, in a mount namespace of its own, so that nobody
else's namespace keeps the dead file system alive.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from tests.crash.kills import session
from tests.crash.nursery import Nursery
from tests.crash.places import wanted
from tests.crash.power import series
from tests.crash.proofs import Row, controls, faults, full_speed, hostile
from tests.model import sequences
from tests.model.sequences import Tally
from tests.support.program import ROOT
from tests.support.readme import README, with_proofs
from tests.torture.mounts import mounted, why_not

POWERED = ("ext4", "xfs")
SIZE = 256 << 20
"""Bytes of a file system that is cut off: it holds what some hundred lives seal."""


def power(kind: str, seed: int, cuts: int, sabotage: str = "", *, apart: bool = False) -> dict[str, Any]:
    """A series of cuts in a process of its own; counted cuts by place, and findings."""
    line = ["unshare", "-m", "--propagation", "private", sys.executable, "-m", "tests.crash", "power", kind, str(cuts)]
    line += ["--seed", str(seed), "--sabotage", sabotage, *(["--apart"] if apart else [])]
    done = subprocess.run(line, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def why_no_power(kind: str) -> str:
    """Why no plug can be pulled here; empty when it can."""
    return why_not(kind) or ("" if shutil.which("unshare") else "unshare is not installed")


def _power_here(kind: str, seed: int, cuts: int, sabotage: str, *, apart: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home, Nursery() as nursery, mounted(kind, Path(home), SIZE) as mount:
        album = Path(home) / "album"
        album.mkdir()
        run = series(Path(home) / f"{kind}.img", mount, album, nursery, seed, cuts, sabotage=sabotage, apart=apart)
        return {
            "cuts": cuts,
            "counted": run.counted,
            "kills": run.book.kills,
            "durable": len(list(album.glob("*.gz"))),
            "written": sum(truth.written for truth in run.truths),
            "findings": [*run.judge(), *run.book.faults],
        }


def _model(seed: int, count: int, jobs: int) -> tuple[Row, Tally]:
    """Lives in processes of their own, some at a time: each life owns the hooks of its process."""
    begun, tally, wrong = time.monotonic(), Tally(), []
    at_once = min(50, count // jobs)
    firsts = range(seed, seed + count, at_once)
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        for lives, found in pool.map(sequences.run, firsts, [min(at_once, seed + count - first) for first in firsts]):
            tally.add(lives)
            wrong += found
    what = "random lives of writers and agent, against a model"
    row = Row(what, tally.sequences, time.monotonic() - begun, wrong, tally.records, 0 if not wrong else None)
    return _told(row), tally


def _told(row: Row) -> Row:
    """The same; whoever waits sees how far it is."""
    sys.stderr.write("\n".join([row.cells(), *row.wrong, ""]))
    sys.stderr.flush()
    return row


def _kills(seed: int, rounds: int, moments: int, calls: int) -> tuple[Row, dict[str, int]]:
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as place, Nursery() as nursery:
        book, verdicts = session(Path(place), nursery, seed, rounds, moments=moments, calls=calls)
    wrong = [f"{one.stream}: lost {one.lost}, twice {one.twice}, torn {one.torn}" for one in verdicts if not one.good]
    wrong += [f"never killed at {step}" for step in wanted() if step not in book.kills]
    written = sum(one.written for one in verdicts)
    lost = sum(one.lost + one.twice + one.torn + one.disorder for one in verdicts)
    seconds = time.monotonic() - begun
    row = Row("kill -9 of a running agent", sum(book.kills.values()), seconds, wrong + book.faults, written, lost)
    return _told(row), book.kills


def _power(kind: str, seed: int, cuts: int, *, apart: bool) -> tuple[Row, Counter[str]]:
    """A series in a process of its own, which mostly waits: so the file systems are cut side by side."""
    if reason := why_no_power(kind):
        return Row(f"power cuts on {kind}: {reason}", 0, 0.0), Counter()
    begun = time.monotonic()
    found = power(kind, seed, cuts, apart=apart)
    wrong, lost = found["findings"], None if found["findings"] else 0
    what = f"power cuts on {kind}{', archive elsewhere,' if apart else ''} that count, of {cuts}"
    row = Row(what, found["counted"], time.monotonic() - begun, wrong, found["written"], lost)
    return _told(row), Counter(found["kills"])


def tables(seed: int, jobs: int, *, long: bool) -> tuple[str, str, bool]:
    """The proofs and the places as markdown, and whether nothing was wrong."""
    cuts = 200 if long else 16
    with ThreadPoolExecutor(2 * len(POWERED)) as pool:
        cutting = [
            pool.submit(_power, kind, seed, count, apart=apart)
            for apart, count in ((False, cuts), (True, cuts // 2))
            for kind in POWERED
        ]
        model, tally = _model(seed, 5000 if long else 300, jobs)
        killed, at = _kills(seed, 12 if long else 1, 100 if long else 6, 6 if long else 1)
        found = [future.result() for future in cutting]
    cut_at = sum((where for _, where in found), Counter[str]())
    rows = [model, Row("  killed at an event in them", sum(tally.kills.values()), 0.0)]
    rows += [Row("  with failing calls in them", sum(tally.faults.values()), 0.0)]
    rows += [Row("  on a full disk: calls that it refused", sum(tally.refused.values()), 0.0)]
    rows += [Row("  with the writer at work within a step of the agent", sum(tally.visits.values()), 0.0)]
    rows += [killed, *(row for row, _ in found)]
    for proof in (partial(faults, long=long), partial(full_speed, long=long), hostile, controls):
        rows.append(_told(proof()))
    lines = [
        "| proof | count | records | of these lost, twice, torn | seconds | wrong |",
        "|---|---|---|---|---|---|",
        *(row.cells() for row in rows),
        *([""] if any(row.wrong for row in rows) else []),
        *(f"- {row.what}: {text}" for row in rows for text in row.wrong),
    ]
    events = Counter[str]()
    for (_, event), count in tally.kills.items():
        events[event] += count
    names = [*wanted(), *sorted((events.keys() | at.keys() | cut_at.keys()) - set(wanted()))]
    where = [
        "| place | in the model | kill -9 | power cut |",
        "|---|---|---|---|",
        *(f"| {one} | {events[one]} | {at.get(one, 0)} | {cut_at[one]} |" for one in names),
    ]
    return "\n".join(lines), "\n".join(where), not any(row.wrong for row in rows)


def main() -> int:
    """Print; 1 when anything is wrong."""
    parser = argparse.ArgumentParser(prog="tests.crash", description=__doc__)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--readme", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes for the random lives")
    parser.add_argument("--sabotage", default="")
    parser.add_argument("--apart", action="store_true", help="power: with the archive on another file system")
    parser.add_argument("command", nargs="*", metavar="power KIND CUTS")
    options = parser.parse_args()
    if options.command:
        _, kind, cuts = options.command
        found = _power_here(kind, options.seed, int(cuts), options.sabotage, apart=options.apart)
        sys.stdout.write(json.dumps(found) + "\n")
        return 0
    text, where, good = tables(options.seed, options.jobs, long=options.long)
    sys.stdout.write(f"{text}\n\n{where}\n")
    if options.readme:
        README.write_text(with_proofs(README.read_text("utf-8"), text, options.seed, long=options.long), "utf-8")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
