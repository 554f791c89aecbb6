"""The truth about a delivery: which ids were produced, and what became of each, from requests and files alone.

Nothing of agent/ is imported. A record is *delivered* when a request that holds it got its whole answer, a 2xx;
*refused* when it lies in the dead letters. What is delivered twice is counted; a record that nobody produced, or whose
content is not what was produced, is an alarm of its own.
"""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_SPAN = re.compile(rb'\{"name":"n(\d+)","traceState":"([0-9a-f]+)"\}')
_BAD = re.compile(r'"bad":(\d+)')


def content(number: int) -> str:
    """What the record of this number holds beside the number: a receiver can check it without asking anybody."""
    return f"{zlib.crc32(b'%d' % number):08x}" * (1 + number % 40)


def record(number: int) -> bytes:
    """A line with one span."""
    span = f'{{"name":"n{number}","traceState":"{content(number)}"}}'
    return f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}\n'.encode()


def bad(number: int) -> bytes:
    """A line that is no telemetry, and must become a dead letter."""
    return b'{"bad":%d}\n' % number


def spans(body: bytes) -> Iterator[tuple[int, bool]]:
    """The number of each span in a request, and whether its content is what was produced."""
    found = _SPAN.findall(body)
    whole = len(found) == sum(
        len(scope["spans"]) for resource in json.loads(body)["resourceSpans"] for scope in resource["scopeSpans"]
    )
    for number, text in found:
        yield int(number), whole and text.decode() == content(int(number))


@dataclass
class Outcome:
    """What became of the ids of one consumer."""

    produced: set[int]
    delivered: Counter[int] = field(default_factory=Counter)
    refused: set[int] = field(default_factory=set)
    altered: set[int] = field(default_factory=set)

    def took(self, body: bytes) -> None:
        """A request was answered with success, wholly."""
        for number, right in spans(body):
            self.delivered[number] += 1
            if not right:
                self.altered.add(number)

    def buried(self, records: Iterable[str]) -> None:
        """These records lie in the dead letters."""
        for one in records:
            found = _BAD.search(one) or _SPAN.search(one.encode())
            if found:
                self.refused.add(int(found[1]))

    @property
    def lost(self) -> set[int]:
        """Produced, and in neither place."""
        return self.produced - self.delivered.keys() - self.refused

    @property
    def unknown(self) -> set[int]:
        """Arrived though nobody produced it."""
        return (self.delivered.keys() | self.refused) - self.produced

    @property
    def twice(self) -> int:
        """Deliveries beyond the first of each record."""
        return sum(self.delivered.values()) - len(self.delivered)

    def report(self) -> str:
        """In one line."""
        return (
            f"{len(self.produced)} produced, {len(self.delivered)} delivered, {len(self.refused)} refused, "
            f"{self.twice} twice, {len(self.lost)} lost, {len(self.unknown)} unknown, {len(self.altered)} altered"
        )
