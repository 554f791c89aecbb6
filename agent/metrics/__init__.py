"""Every own metric of the agent: its name, type, labels and help, in one place.

Invariants:
- All families live in one registry of their own, never in prometheus_client's global one, under `telemetry_agent_`.
- A label whose values are known is present at 0 from the first scrape on; no label holds a file name, except the
  `stream` of `StreamSeries`, which is off by default and capped.
- A scrape only reads memory: attached collectors serve snapshots.

Names follow https://prometheus.io/docs/practices/naming/: base units as suffix, `_total` on counters alone.
"""

from agent.metrics.family import OTHER, PREFIX, Family
from agent.metrics.forwards import ForwardSeries, Sample
from agent.metrics.memory import MemorySeries
from agent.metrics.own import AlertState, Metrics
from agent.metrics.streams import StreamSeries

__all__ = [
    "OTHER",
    "PREFIX",
    "AlertState",
    "Family",
    "ForwardSeries",
    "MemorySeries",
    "Metrics",
    "Sample",
    "StreamSeries",
]
