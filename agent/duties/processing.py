"""From `[forward.filter]` and its siblings to the chain of steps; what is not configured is not imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agent.config import Forward
from agent.otlp.process import Chain, Step
from agent.sinks.secrets import resolve, resolve_all


def chain(forward: Forward, environ: Mapping[str, str]) -> Chain | None:
    """What a forward's records go through; None: nothing. Raises ConfigError for a reference that leads nowhere."""
    steps = list(_steps(forward, environ))
    return Chain(steps) if steps else None


def _steps(forward: Forward, environ: Mapping[str, str]) -> Iterator[Step]:
    """In the order that `agent.otlp.process` gives reasons for."""
    if forward.filter.active:
        from agent.otlp.filter import Filtering

        yield Filtering(forward.filter)
    if forward.sample.active:
        from agent.otlp.sample import Sampling

        yield Sampling(forward.sample)
    if forward.redact.active:
        from agent.otlp.redact import Redacting

        yield Redacting(forward.redact, resolve(forward.redact.hash_key, environ))
    if forward.limit.active:
        from agent.otlp.limit import Limiting

        yield Limiting(forward.limit)
    if forward.add.active:
        from agent.otlp.add import Adding

        yield Adding(resolve_all(forward.add.attributes, environ), overwrite=forward.add.overwrite)
