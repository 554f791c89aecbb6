"""What is done to a record on its way to one destination; never to the sealed archive.

Invariants: what leaves is spelled anew from the very document that was judged, so nothing hides in a key that comes
twice; the same record gives the same bytes, whenever it is processed; the order is filter, sample, redact, limit, add
(a value is cut only after secrets were looked for in the whole of it). A record that raises is never passed on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from agent.otlp import records
from agent.otlp.shapes import Object


class Step(Protocol):
    """One kind of processing."""

    @property
    def reason(self) -> str:
        """By which items that it leaves out are counted."""
        ...

    def __call__(self, document: Object) -> int:
        """Change the document in place; returns how many items were left out."""
        ...


class Processed(NamedTuple):
    """A record after all steps."""

    line: bytes
    """With its line's end; empty when no item is left."""
    items: int
    dropped: dict[str, int]
    """Items that were left out, by reason."""


class Chain:
    """The steps of one destination, in order."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps

    def __call__(self, line: bytes, items: int) -> Processed:
        """Process a line that `envelope.check` has passed, with so many items. Raises what a step raises."""
        document = records.document(line)
        dropped: dict[str, int] = {}
        for step in self._steps:
            gone = step(document)
            if gone:
                dropped[step.reason] = gone
                items -= gone
                if items <= 0:
                    return Processed(b"", 0, dropped)
        return Processed(records.encode(document), items, dropped)
