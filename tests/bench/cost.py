"""CPU seconds per GB and archive size, against the real logrotate with copytruncate and gzip -6 on the same data.

CPU is user + system time of the whole process tree, by wait4. Both read from a warm page cache. What the agent takes
when it runs as long over an empty directory is told apart: it is paid once, not for each GB. Afterwards both archives
are inflated and must be the source, byte for byte: a rotator that is fast because it loses is no result. They take
turns, and the least of each counts: what else the host does only adds.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import time
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from tests.bench import corpus, logrotate
from tests.bench.options import Options
from tests.bench.report import Row
from tests.bench.waiting import archives, fresh, until
from tests.support.program import AGENT, KEEP_ALL, Program
from tests.torture import segments

_STREAM = "telemetry.json"
_KINDS = {
    "fast, verify full": ({"rotation.level": "fast", "rotation.verify": "full"}, 1 / 6, 1.15),
    "fast, verify sample": ({"rotation.level": "fast", "rotation.verify": "sample"}, 1 / 8, 1.15),
    "small": ({"rotation.level": "small"}, 0.65, 0.95),
}
"""Settings, and the bars for CPU and size as shares of logrotate's."""


_work = attrgetter("work")


@dataclass(frozen=True)
class Cost:
    """What one way of archiving took."""

    cpu: float
    start: float
    """CPU seconds of `cpu` that starting, running as long with nothing to do and stopping takes."""
    size: int

    @property
    def work(self) -> float:
        """CPU seconds for the data alone."""
        return self.cpu - self.start


def measure(options: Options) -> list[Row]:
    """Archive the same data in each way."""
    with fresh(options.place, "cost") as place:
        source = place / "source"
        size = corpus.write(source, options.size)
        digest = _digest([source.read_bytes()])
        gigabytes = size / 1e9
        base: list[Cost] = []
        costs: dict[str, list[Cost]] = {name: [] for name in _KINDS}
        for _ in range(options.runs):
            base.append(_logrotate(place, source, digest))
            for name, (settings, *_) in _KINDS.items():
                costs[name].append(_agent(place, source, digest, settings))
        least = min(base, key=_work)
        told = f"{least.cpu / gigabytes:.1f} s/GB, {size / least.size:.2f} times smaller"
        rows = [Row(f"logrotate copytruncate + gzip -6, {gigabytes:.2f} GB", "", told)]
        for name, (_, *bars) in _KINDS.items():
            rows += _rows(name, least, min(costs[name], key=_work), gigabytes, bars)
        return rows


def _rows(name: str, base: Cost, cost: Cost, gigabytes: float, bars: Sequence[float]) -> list[Row]:
    """CPU and size against their bars."""
    share, smaller = cost.work / base.work, cost.size / base.size
    cpu, size = bars
    seconds = f"{cost.work / gigabytes:.2f} s/GB ({cost.cpu:.2f} s in all, {cost.start:.2f} of them not for the data)"
    part = f"{share:.3f} (1/{1 / share:.1f})"
    return [
        Row(f"CPU to seal, {name}", f"at most {cpu:.3f} x", seconds, part, share <= cpu),
        Row(f"archive size, {name}", f"at most {size} x", f"{cost.size:,} bytes", f"{smaller:.3f}", smaller <= size),
    ]


def _logrotate(place: Path, source: Path, digest: str) -> Cost:
    """Archive a copy of `source` with logrotate."""
    with fresh(place, "logrotate") as directory:
        _copy(source, directory / _STREAM)
        cpu = logrotate.rotate(directory, ["compress", "compresscmd /usr/bin/gzip", "compressoptions -6"])
        archive = directory / f"{_STREAM}.1.gz"
        _same(digest, _inflate([archive]))
        return Cost(cpu, 0.0, archive.stat().st_size)


def _idle(place: Path, seconds: float) -> float:
    """CPU seconds of an agent that finds nothing to do for so long."""
    with fresh(place, "empty") as directory, Program(AGENT, directory, KEEP_ALL) as program:
        program.wait_ready()
        time.sleep(seconds)
        return program.stop().cpu


def _agent(place: Path, source: Path, digest: str, settings: dict[str, str]) -> Cost:
    """Archive a copy of `source` with the agent: it finds the file due, seals and releases it all."""
    with fresh(place, "agent") as directory:
        live = directory / _STREAM
        _copy(source, live)

        def sealed() -> bool:
            return archives(directory) > 0 and live.stat().st_blocks * 512 < 1 << 20

        with Program(AGENT, directory, {**KEEP_ALL, **settings}) as program:
            program.wait_ready()
            began = time.monotonic()
            until(sealed, program, 600)
            seconds = time.monotonic() - began
            cpu = program.stop().cpu
        found = sorted((segments.load(path) for path in directory.glob("*.gz")), key=lambda one: one.start)
        end = found[-1].index["physical"][1] if live.stat().st_size else 0
        _same(digest, [*_inflate(one.path for one in found), live.read_bytes()[end:]])
        return Cost(cpu, _idle(place, seconds), sum(one.path.stat().st_size for one in found))


def _copy(source: Path, to: Path) -> None:
    """Copy, and have it written back before anybody's time is taken."""
    shutil.copyfile(source, to)
    subprocess.run(["sync", "-f", str(to)], check=True)


def _inflate(paths: Iterable[Path]) -> Iterable[bytes]:
    """The plain bytes of archives, by zlib alone, a piece at a time."""
    for path in paths:
        engine = zlib.decompressobj(31)
        data = path.read_bytes()
        while data:
            yield engine.decompress(data, 1 << 24)
            data = engine.unconsumed_tail
            if engine.eof:
                data, engine = engine.unused_data, zlib.decompressobj(31)


def _digest(pieces: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()


def _same(digest: str, pieces: Iterable[bytes]) -> None:
    """RuntimeError unless the pieces together are the source."""
    if _digest(pieces) != digest:
        raise RuntimeError("what was archived is not what was there")
