"""The idle agent and a real node_exporter in the same minute, each scraped as often as the other."""

from __future__ import annotations

import shutil
import subprocess
import time
import urllib.request
from dataclasses import dataclass

from tests.bench.options import Options
from tests.bench.report import Row
from tests.bench.waiting import fresh
from tests.support.procfs import cpu_seconds, memory
from tests.support.program import AGENT, Program, free_port

PEER = "prometheus-node-exporter"
_EVERY = 15.0
"""Seconds between two scrapes: what most installations of Prometheus have."""
_SETTLE = 3.0


@dataclass
class _Scraped:
    """A process with metrics."""

    pid: int
    url: str
    used: float = 0.0
    size: int = 0

    def scrape(self) -> bool:
        """Read the metrics once; false while nobody answers."""
        try:
            with urllib.request.urlopen(self.url, timeout=10) as answer:  # noqa: S310  # our own loopback addresses
                self.size = len(answer.read())
        except OSError:
            return False
        return True


def measure(options: Options) -> list[Row]:
    """CPU share and resident memory of both over one window."""
    if not shutil.which(PEER):
        return [Row(f"idle beside {PEER}", "", f"not measured: apt-get install {PEER}")]
    port = free_port()
    peer = subprocess.Popen([PEER, f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL)
    try:
        with fresh(options.place, "beside") as directory, Program(AGENT, directory, {}) as program:
            program.wait_ready()
            ours = _Scraped(program.pid, f"http://127.0.0.1:{program.port}/metrics")
            theirs = _Scraped(peer.pid, f"http://127.0.0.1:{port}/metrics")
            return _compare(ours, theirs, options.idle_seconds)
    finally:
        peer.terminate()
        peer.wait(10)


def _compare(ours: _Scraped, theirs: _Scraped, seconds: float) -> list[Row]:
    while not (ours.scrape() and theirs.scrape()):
        time.sleep(0.05)
    time.sleep(_SETTLE)
    both = (ours, theirs)
    begun = time.monotonic()
    before = [cpu_seconds(one.pid) for one in both]
    while (left := begun + seconds - time.monotonic()) > 0:
        for one in both:
            if not one.scrape():
                raise RuntimeError(f"no answer from {one.url}")
        time.sleep(min(_EVERY, left))
    passed = time.monotonic() - begun
    for one, used in zip(both, before, strict=True):
        one.used = (cpu_seconds(one.pid) - used) / passed
    mine, its = (memory(one.pid, "VmRSS") / 2**20 for one in both)
    when = f"{passed:.0f} s, both scraped every {_EVERY:.0f} s"
    return [
        Row(
            "idle CPU beside node_exporter", "", f"{ours.used:.2%} of a core, it {theirs.used:.2%}; {when}",
            f"{ours.used / theirs.used:.2f}" if theirs.used else "",
        ),
        Row("idle RSS beside node_exporter", "", f"{mine:.1f} MiB, it {its:.1f} MiB", f"{mine / its:.2f}"),
    ]  # fmt: skip
