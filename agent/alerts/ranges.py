"""Functions over the samples of one series in a span of time, as Prometheus computes them (promql/functions.go)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from agent.alerts.vector import REDUCERS


class Sample(NamedTuple):
    """One value; the time in seconds, of any clock that never goes back."""

    time: float
    value: float


def extrapolated(samples: Sequence[Sample], start: float, end: float) -> tuple[float, float] | None:
    """By how much a counter grew between its samples, and by which factor more from `start` to `end`.

    None with fewer than two samples. A fall is a reset. What lies between the samples and the ends of the span is
    extrapolated, but not below zero and not further than half a step where the series seems to begin or end inside.
    """
    if len(samples) < 2:
        return None
    first, last = samples[0], samples[-1]
    growth = last.value - first.value
    growth += sum(before.value for before, after in pairwise(samples) if after.value < before.value)
    sampled = last.time - first.time
    step = sampled / (len(samples) - 1)
    to_start, to_end = first.time - start, end - last.time
    if growth > 0 and first.value >= 0:
        to_start = min(to_start, sampled * (first.value / growth))
    covered = sampled
    for gap in (to_start, to_end):
        covered += gap if gap < step * 1.1 else step / 2
    return growth, covered / sampled


def increase(samples: Sequence[Sample], start: float, end: float) -> float | None:
    """By how much a counter grew."""
    found = extrapolated(samples, start, end)
    return None if found is None else found[0] * found[1]


def rate(samples: Sequence[Sample], start: float, end: float) -> float | None:
    """The same, a second."""
    found = extrapolated(samples, start, end)
    return None if found is None else found[0] * (found[1] / (end - start))


def changes(samples: Sequence[Sample]) -> float:
    """How often the value changed."""
    return float(sum(one.value != next_.value for one, next_ in pairwise(samples)))


def _over_time(word: str) -> Callable[[Sequence[Sample], float, float], float | None]:
    reduce = REDUCERS[word]
    return lambda samples, _start, _end: reduce([sample.value for sample in samples]) if samples else None


FUNCTIONS: dict[str, Callable[[Sequence[Sample], float, float], float | None]] = {
    "rate": rate,
    "increase": increase,
    "changes": lambda samples, _start, _end: changes(samples) if samples else None,
    **{f"{word}_over_time": _over_time(word) for word in REDUCERS},
}
"""Each gets the samples of a span and its ends, and gives a value, or None where there are too few samples."""
