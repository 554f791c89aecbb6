"""Series of single streams, from the newest snapshot."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agent.metrics.family import OTHER, PREFIX, Family

_STREAM_LIVE = (f"{PREFIX}stream_live_bytes", "Bytes of one stream that are not sealed yet.")
_STREAM_LOST = (f"{PREFIX}stream_lost_bytes", "Bytes of one stream lost since the agent started, a lower bound.")


class StreamNumbers(Protocol):
    """What a stream's series are made of; `control.StreamStatus` is one."""

    @property
    def name(self) -> str:
        """Printable name, the value of the label."""
        ...

    @property
    def live_bytes(self) -> int:
        """Bytes that are not sealed yet."""
        ...

    @property
    def lost_bytes(self) -> int:
        """Bytes lost since the agent started."""
        ...


class StreamSeries(Collector):
    """Series of single streams: of at most `cap()` of them, all others summed as `other`; a cap of 0 exposes none.

    A stream keeps its series while it exists, whoever else comes and goes. The lost bytes are a gauge because a sum
    over streams that may vanish goes down, which a counter must not; `lost_bytes` is the counter.
    """

    families = (
        Family(_STREAM_LIVE[0], "gauge", ("stream",), _STREAM_LIVE[1]),
        Family(_STREAM_LOST[0], "gauge", ("stream",), _STREAM_LOST[1]),
    )

    def __init__(self, streams: Callable[[], Iterable[StreamNumbers]], cap: Callable[[], int]) -> None:
        self._streams = streams
        self._cap = cap
        self._named: set[str] = set()
        self._lock = threading.Lock()

    def collect(self) -> Iterator[Metric]:
        """Fresh families from the newest snapshot."""
        cap = self._cap()
        if cap == 0:
            return
        live: dict[str, int] = {}
        lost: dict[str, int] = {}
        for label, stream in self._labelled(list(self._streams()), cap):
            live[label] = live.get(label, 0) + stream.live_bytes
            lost[label] = lost.get(label, 0) + stream.lost_bytes
        for (name, text), values in ((_STREAM_LIVE, live), (_STREAM_LOST, lost)):
            family = GaugeMetricFamily(name, text, labels=("stream",), unit="bytes")
            for label, value in values.items():
                family.add_metric((label,), value)
            yield family

    def _labelled(self, streams: list[StreamNumbers], cap: int) -> Iterator[tuple[str, StreamNumbers]]:
        with self._lock:
            self._named &= {stream.name for stream in streams}
            if len(self._named) > cap:  # it was lowered
                self._named.clear()
            for stream in streams:
                # A stream that is itself called `other` would make two series of one name.
                if len(self._named) < cap and stream.name != OTHER:
                    self._named.add(stream.name)
            named = frozenset(self._named)
        return ((stream.name if stream.name in named else OTHER, stream) for stream in streams)
