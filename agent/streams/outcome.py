"""What became of one stream when it was sealed or captured: the failure of one stops no other of its batch."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from agent.kit.errors import AgentError, StoppingError
from agent.streams.candidate import Candidate
from agent.streams.catalog import Stream
from agent.streams.segment import Segment

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the kernel says when there is no room."""

T = TypeVar("T")


@dataclass(slots=True)
class Sealed:
    """What became of one stream in a batch."""

    stream: Stream
    reason: str
    segment: Segment | None = None
    bytes: int = 0
    """Bytes of the segment, or of what was captured."""
    records: int = 0
    more: bool = False
    """True when the segment ended at a limit and complete records are left."""
    error: Exception | None = None

    @property
    def full(self) -> bool:
        """True where there was no room."""
        return isinstance(self.error, OSError) and self.error.errno in FULL

    @property
    def captured(self) -> bool:
        """True for a capture that did what there was to do."""
        return self.reason == "capture" and self.error is None

    def attempt(self, act: Callable[[Sealed], T | None]) -> T | None:
        """Do one phase; its failure is this stream's own."""
        try:
            return act(self)
        except StoppingError:
            raise
        except (OSError, AgentError) as error:
            self.error = error
            return None

    def conclude(self, one: Candidate) -> None:
        """Take over what became of the part."""
        self.error = self.error or one.problem
        self.segment = one.published
        if self.segment:
            self.bytes = self.segment.extent.length
            self.records = self.segment.records
