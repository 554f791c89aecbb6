"""The agent's memory against its limit, from the budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, Protocol, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agent.metrics.family import PREFIX, Family

MemoryState = Literal["unlimited", "normal", "tight", "paused"]


class MemoryNumbers(Protocol):
    """What the series of the agent's memory are made of; `control.Own` is one."""

    @property
    def memory_used(self) -> int:
        """Bytes that count against the limit."""
        ...

    @property
    def memory_limit(self) -> int:
        """Bytes; 0 is none."""
        ...

    @property
    def memory_state(self) -> str:
        """A `MemoryState`."""
        ...

    @property
    def memory_pauses(self) -> int:
        """How often delivery waited."""
        ...


class MemorySeries(Collector):
    """The agent's memory against its limit."""

    _rows: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
        ("memory_used_bytes", "gauge", (), "Memory that counts against the limit; page cache does not."),
        ("memory_limit_bytes", "gauge", (), "The nearest limit: of a control group or agent.memory_limit; 0 is none."),
        ("memory_state", "gauge", ("state",), "1 for the state of the memory budget, else 0."),
        ("memory_pauses_total", "counter", (), "Times that delivery began to wait for memory."),
    )
    families = tuple(Family(PREFIX + name, kind, labels, text) for name, kind, labels, text in _rows)

    def __init__(self, own: Callable[[], MemoryNumbers]) -> None:
        self._own = own

    def collect(self) -> Iterator[Metric]:
        """Fresh families."""
        now = self._own()
        used, limit, state, pauses = self.families
        yield GaugeMetricFamily(used.name, used.help, now.memory_used, unit="bytes")
        yield GaugeMetricFamily(limit.name, limit.help, now.memory_limit, unit="bytes")
        states = GaugeMetricFamily(state.name, state.help, labels=state.labels)
        for known in get_args(MemoryState):
            states.add_metric((known,), float(known == now.memory_state))
        yield states
        yield CounterMetricFamily(pauses.name, pauses.help, now.memory_pauses)
