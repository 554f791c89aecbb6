"""A part on its way to become a segment, or a bigger open part, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from agent.kit.errors import AgentError, StoppingError
from agent.streams.catalog import Place, Stream
from agent.streams.index import Index
from agent.streams.live import Live
from agent.streams.part import Part
from agent.streams.segment import Segment


@dataclass(slots=True, kw_only=True)
class Candidate:
    """A part with whole records of one stream."""

    stream: Stream
    reason: str
    part: Part
    started: float
    seen: tuple[float, float] = (0.0, 0.0)
    """Wall times at which its oldest and its newest byte were noticed."""
    problem: Exception | None = None
    index: Index | None = None
    published: Segment | None = None

    def close(self) -> None:
        """Let go of what is open."""
        self.part.close()

    def give_up(self, error: Exception) -> None:
        """Fail; what was written goes, the live file has every byte of it."""
        self.problem = error
        with suppress(OSError):  # what went wrong is told, not that the part stays behind
            self.part.discard()


@dataclass(slots=True, kw_only=True)
class Draft(Candidate):
    """A part that was just copied from a live file."""

    live: Live
    owns_live: bool
    first: int
    """Physical offset at which it begins."""
    base: int
    """The position of physical offset 0."""
    head: bytes = b""
    """Its first bytes."""
    tail: bytes = b""
    """Its last bytes, as far as they are known."""
    truncated: bool = False
    """True when the writer truncated meanwhile: the part is the only copy."""
    more: bool = False
    """True when it ended at a limit and complete records are left."""

    def close(self) -> None:
        """Let go of both files."""
        self.part.close()
        if self.owns_live:
            self.live.close()


C = TypeVar("C", bound=Candidate)


def each(candidates: Iterable[C], act: Callable[[C], None]) -> None:
    """Do one phase for every candidate that is still good; the failure of one is its own."""
    for one in candidates:
        if one.problem is not None:
            continue
        try:
            act(one)
        except StoppingError:
            one.part.discard()
            raise
        except (OSError, AgentError) as error:
            one.give_up(error)


def places(candidates: Iterable[Candidate]) -> list[Place]:
    """The places in which the candidates lie, each once."""
    return list({id(one.stream.place): one.stream.place for one in candidates}.values())
