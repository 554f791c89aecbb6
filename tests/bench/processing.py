"""Processing on the way: what each step leaves of the throughput that records have without one.

Measured is all that a batch costs but reading and the network: sort and check, process, join, compress; CPU time of one
thread, the steps taking turns with nothing. Corpus: three lines of traces to one of logs and one of metrics.
"""

from __future__ import annotations

import time

from agent.config import Forward
from agent.config.processing import Add, Filter, Limit, Redact, Sample
from agent.duties.parcel import Records, cut, lines, pack
from agent.duties.processing import chain
from agent.kit.clock import SystemClock
from agent.kit.units import Share
from agent.otlp.process import Chain
from agent.sinks.otlp import OtlpOptions, OtlpSink
from tests.bench.corpus import Corpus
from tests.bench.options import Options
from tests.bench.report import Row

_SIZE = 16 << 20
_BATCH = 4 << 20
_ALL = {
    "filter": Filter(include=("service.name=*",)), "sample": Sample(ratio=Share("10%")),
    "redact": Redact(defaults=True), "limit": Limit(attributes=10, events=2, links=2, value_length=64),
    "add": Add(attributes={"host.name": "a"}),
}  # fmt: skip
FORWARDS = {
    "filter, all match": {"filter": _ALL["filter"]},
    "sample 10 %": {"sample": _ALL["sample"]},
    "redact, defaults": {"redact": _ALL["redact"]},
    "redact, defaults, hash": {"redact": Redact(defaults=True, action="hash", hash_key="k")},
    "redact, two own patterns": {"redact": Redact(keys=("user.*",), values=(r"order-\d+",))},
    "limit": {"limit": _ALL["limit"]},
    "add": {"add": _ALL["add"]},
    "all five": _ALL,
}


def measure(options: Options) -> list[Row]:
    """A row for each step, and one for all of them."""
    data = Corpus().block(min(_SIZE, options.size))
    sink = OtlpSink(OtlpOptions(), SystemClock())
    steps = {"": None, **{name: chain(Forward(name="a", **keys), {}) for name, keys in FORWARDS.items()}}
    best = dict.fromkeys(steps, float("inf"))
    for _ in range(options.runs):
        for name, step in steps.items():
            best[name] = min(best[name], _run(data, sink, step))
    rows = [Row("processing: pass-through", "", f"{len(data) / best[''] / 1e6:.0f} MB/s of a core")]
    for name in FORWARDS:
        speed, ratio = len(data) / best[name] / 1e6, best[""] / best[name]
        rows.append(Row(f"processing: {name}", "", f"{speed:.0f} MB/s of a core", f"{ratio:.2f} of pass-through"))
    return rows


def _run(data: bytes, sink: OtlpSink, process: Chain | None) -> float:
    """CPU seconds from bytes to requests."""
    waiting = lines(0, data)
    start = time.thread_time()
    while waiting.lines:
        taken = cut(waiting, _BATCH, 10_000)
        count = len(taken.lines)
        waiting = Records(waiting.lines[count:], waiting.places[count:])
        parcel = pack("a", "id", taken, *taken.bounds, otlp=True, max_record=1 << 26, process=process)
        for part in parcel.parts:
            sink.encode(part.batch)
    return time.thread_time() - start
