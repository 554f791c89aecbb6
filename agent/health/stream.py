"""Watched telemetry files, from the agent's own snapshot; only for `signals` the end of a live file is read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from agent.config.checks import Stream
from agent.config.match import matches
from agent.control import StreamStatus, length_limit
from agent.health.check import Finding, healthy, unhealthy, warning
from agent.health.surroundings import Surroundings
from agent.kit.units import Duration, Size
from agent.kit.words import count

_TAIL = 64 << 10
_SIGNAL = re.compile(rb'^\s*\{\s*"resource(Spans|Logs|Metrics)"', re.MULTILINE)
_WORDS = {b"Spans": "traces", b"Logs": "logs", b"Metrics": "metrics"}
_NAMED = 5


def _fine(number: int) -> str:
    return "no stream yet" if not number else f"{count(number, 'stream')} {'is' if number == 1 else 'are'} fine"


class StreamCheck:
    """The streams that match a pattern."""

    def __init__(self, rule: Stream, around: Surroundings) -> None:
        self._rule = rule
        self._around = around
        self._lost: dict[str, int] = {}
        self._grown: dict[str, tuple[int, float]] = {}

    def run(self) -> Finding:
        """Look at the newest snapshot. Raises AgentError while there is none."""
        found = [one for one in self._around.status().streams if matches((self._rule.match,), one.name)]
        failing = [f"{one.name} is failing: {one.why}" for one in found if one.state == "failing"]
        problems = failing + [problem for one in found if one.state != "gone" for problem in self._problems(one)]
        self._lost = {one.name: one.lost_bytes for one in found}
        if self._rule.present and not any(one.state != "gone" for one in found):
            return unhealthy(f"no stream matches {self._rule.match!r}")
        if not problems:
            return healthy(_fine(len(found)), value=len(found))
        more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        said = "; ".join(problems[:_NAMED]) + more
        hint = "`telemetry-agent status` and `telemetry-agent audit` tell more"
        return unhealthy(said, hint=hint) if failing else warning(said, hint=hint)

    def _problems(self, stream: StreamStatus) -> Iterator[str]:
        rule = self._rule
        if stream.state == "refused":
            yield f"{stream.name} is refused: {stream.why}"
        if "overdue" in stream.flags:
            yield f"{stream.name} should have been rotated by now"
        if "size_limit" in stream.flags:
            yield f"{stream.name} is {length_limit(stream)}"
        lost = stream.lost_bytes - self._lost.get(stream.name, 0)
        if rule.lost and lost > 0:
            yield f"{stream.name} lost {Size(lost)}"
        if rule.max_growth is not None and stream.growth_per_minute > rule.max_growth:
            yield f"{stream.name} grows by {Size(int(stream.growth_per_minute))} a minute"
        if rule.max_idle is not None and (idle := self._idle(stream)) > rule.max_idle:
            yield f"{stream.name} has not grown for {Duration(round(idle))}"
        if rule.signals and (wrong := self._signals(stream) - set(rule.signals)):
            yield f"{stream.name} carries {', '.join(sorted(wrong))}"

    def _idle(self, stream: StreamStatus) -> float:
        now = self._around.clock.monotonic()
        position, since = self._grown.get(stream.name, (-1, now))
        if stream.position != position:
            since = now
        self._grown[stream.name] = (stream.position, since)
        return now - since

    def _signals(self, stream: StreamStatus) -> set[str]:
        """The signals in the last bytes of the live file; none where it cannot be read now."""
        try:
            fd = os.open(os.path.join(self._around.directory, stream.name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return set()
        try:
            tail = os.pread(fd, _TAIL, max(0, os.fstat(fd).st_size - _TAIL))
        except OSError:
            return set()
        finally:
            os.close(fd)
        return {_WORDS[word] for word in _SIGNAL.findall(tail)}
