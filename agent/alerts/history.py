"""The recent past of just those series that rules name, in memory, bounded.

Invariants: a series is kept for the longest span that asks for it; all series together hold at most ROOM samples, and
a series for which there is no room is never half recorded: whoever asks for it is told.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from agent.alerts.ranges import Sample
from agent.alerts.vector import EvaluationError, Labels, Vector

ROOM = 100_000
"""Samples of all series together: some 12 MB."""


@dataclass(frozen=True)
class Matcher:
    """A condition on one label; a label that is not there is empty."""

    label: str
    symbol: str
    value: str

    def accepts(self, value: str) -> bool:
        """True when the label's value fits."""
        if self.symbol in ("=", "!="):
            return (value == self.value) == (self.symbol == "=")
        return (re.fullmatch(self.value, value) is not None) == (self.symbol == "=~")


@dataclass(frozen=True)
class Selector:
    """Series of one metric."""

    metric: str
    matchers: tuple[Matcher, ...] = ()

    def accepts(self, labels: Labels) -> bool:
        """True when every condition holds; the metric's name is not looked at."""
        found = dict(labels)
        return all(matcher.accepts(found.get(matcher.label, "")) for matcher in self.matchers)


Now = Mapping[str, Sequence[tuple[Labels, float]]]
"""The newest samples, by metric."""


class History:
    """Samples of the series that `spans` asks for: by selector, for how many seconds."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._used = 0
        self._spans: dict[Selector, float] = {}
        self._series: dict[Selector, dict[Labels, deque[Sample]]] = {}
        self._left_out: set[Selector] = set()

    def want(self, spans: Iterable[tuple[Selector, float]]) -> None:
        """From now on keep these; what is known of a selector that stays is kept."""
        wanted: dict[Selector, float] = {}
        for selector, span in spans:
            wanted[selector] = max(span, wanted.get(selector, 0.0))
        self._spans = wanted
        self._series = {selector: self._series.get(selector, {}) for selector in wanted}
        self._left_out &= set(wanted)
        self._used = sum(len(samples) for series in self._series.values() for samples in series.values())

    def record(self, time: float, now: Now) -> None:
        """Add a sample of each series; forget what is older than anybody asks for."""
        for selector, series in self._series.items():
            self._forget(selector, time - self._spans[selector])
            if not series:
                self._left_out.discard(selector)
            for labels, value in now.get(selector.metric, ()):
                if selector.accepts(labels):
                    self._add(selector, labels, Sample(time, value))

    def _add(self, selector: Selector, labels: Labels, sample: Sample) -> None:
        if self._used >= self._room:
            self._left_out.add(selector)
            return
        self._series[selector].setdefault(labels, deque()).append(sample)
        self._used += 1

    def _forget(self, selector: Selector, before: float) -> None:
        series = self._series[selector]
        for labels, samples in list(series.items()):
            while samples and samples[0].time < before:
                samples.popleft()
                self._used -= 1
            if not samples:
                del series[labels]

    def window(self, selector: Selector, start: float) -> Iterator[tuple[Labels, Sequence[Sample]]]:
        """The samples of each series from `start` on. Raises EvaluationError when some had no room."""
        if selector in self._left_out:
            raise EvaluationError(f"{selector.metric} has too many series for the history of {self._room} samples")
        for labels, samples in self._series[selector].items():
            inside = [sample for sample in samples if sample.time >= start]
            if inside:
                yield labels, inside


@dataclass(frozen=True)
class Data:
    """What an expression is evaluated on."""

    wall: float
    """Seconds since 1970 UTC: what `time()` says."""
    time: float
    """The same moment by the clock of the history."""
    now: Now
    history: History

    def instant(self, selector: Selector) -> Vector:
        """The newest samples that the selector means, under their metric's name."""
        return {labels: value for labels, value in self.now.get(selector.metric, ()) if selector.accepts(labels)}
