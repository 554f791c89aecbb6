"""What can be asked of the agent, and how it answers.

Duties implement these Protocols, app wires them, web serves them (a local socket takes every request, TCP only what
may be read), and cli calls them in process or remotely. Everything here is a value: answers are snapshots that no
later step of the agent changes, so a reader needs no lock.

Sizes are bytes, times are seconds since 1970 UTC, durations are seconds, positions are uncompressed byte offsets
in a stream. Names are printable (control characters and invalid UTF-8 escaped).
"""

from agent.control.alerting import Alerting, AlertRuleStatus, AlertsStatus, AlertStatus, NotifierStatus, Trial
from agent.control.checks import CheckStatus
from agent.control.commands import Control, PlanItem, Reloaded, Rotated
from agent.control.delivery import CursorStatus, Delivery, ForwardStatus, Replayed, left_out
from agent.control.status import MemoryState, Own, Status
from agent.control.streams import (
    NEARLY,
    DirectoryStatus,
    Method,
    NextRotation,
    Segments,
    SegmentStatus,
    StreamState,
    StreamStatus,
    WatcherStatus,
    length_limit,
)

__all__ = [
    "NEARLY",
    "AlertRuleStatus",
    "AlertStatus",
    "Alerting",
    "AlertsStatus",
    "CheckStatus",
    "Control",
    "CursorStatus",
    "Delivery",
    "DirectoryStatus",
    "ForwardStatus",
    "MemoryState",
    "Method",
    "NextRotation",
    "NotifierStatus",
    "Own",
    "PlanItem",
    "Reloaded",
    "Replayed",
    "Rotated",
    "SegmentStatus",
    "Segments",
    "Status",
    "StreamState",
    "StreamStatus",
    "Trial",
    "WatcherStatus",
    "left_out",
    "length_limit",
]
