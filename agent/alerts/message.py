"""What is sent: the same facts for everybody, whatever form they are put in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from agent.alerts.state import Active
from agent.alerts.telling import Word


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that fires or is resolved. Times are seconds since 1970 UTC."""

    word: Word
    name: str
    severity: str
    labels: dict[str, str]
    value: float | None
    description: str
    fired: float
    ends: float
    """When it was resolved; of one that fires, when it counts as resolved if nothing more is heard of it."""
    test: bool = False


class DeliveryError(Exception):
    """A message that could not be delivered; the sentence holds no secret."""


class Sender(Protocol):
    """Delivers, in a thread that may wait for it."""

    def send(self, messages: Sequence[Message]) -> None:
        """Deliver messages of one word. Raises DeliveryError."""
        ...


def message(alert: Active, word: Word, severity: str, keep: float, now: float) -> Message:
    """What an alert comes to; one that fires is valid for `keep` seconds more."""
    ends = alert.resolved if word == "resolved" and alert.resolved is not None else now + keep
    return Message(
        word=word, name=alert.rule, severity=severity, labels=alert.labels, value=alert.value,
        description=alert.description, fired=alert.fired if alert.fired is not None else now, ends=ends,
    )  # fmt: skip


def moment(seconds: float) -> str:
    """Seconds since 1970 as `2026-11-22 17:20:03Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
