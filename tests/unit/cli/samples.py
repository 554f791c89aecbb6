"""A status with something of everything, at a fixed time (2026-11-22 17:20:00 UTC)."""

from __future__ import annotations

from typing import Any

from agent.components import Component
from agent.control import DirectoryStatus, NextRotation, Status, StreamStatus, WatcherStatus

NOW = 1_795_368_000.0


def stream(name: str, **changes: Any) -> StreamStatus:
    """A healthy stream that grows, but for `changes`."""
    fields: dict[str, Any] = {
        "name": name,
        "id": "5e1f",
        "state": "ok",
        "method": "in-place",
        "why": "its file system knows holes",
        "live_bytes": 2_100_000,
        "allocated_bytes": 2_200_000,
        "apparent_size": 812_000_000,
        "growth_per_minute": 350_000.0,
        "position": 812_000_000,
        "sealed": 809_900_000,
        "first": 789_900_000,
        "next_rotation": NextRotation(reason="size", at=NOW + 1350),
        "segments": 2,
        "segment_bytes": 2_780_000,
        "oldest": NOW - 2280,
        "ratio": 7.19,
        "seals": 81,
        "lost_bytes": 0,
        "pending_release": 0,
    }
    return StreamStatus(**{**fields, **changes})


DIRECTORY = DirectoryStatus(
    path="/var/lib/telemetry",
    live_bytes=8_300_000,
    part_bytes=0,
    segment_bytes=32_900_000,
    quarantine_bytes=0,
    state_bytes=12_288,
    total_bytes=41_212_288,
    max_total=50_000_000,
    critical_total=None,
    free_bytes=12_300_000_000,
    capacity_bytes=100_000_000_000,
    filesystem="ext4",
    critical=False,
)

STATUS = Status(
    version="0.1.0",
    pid=4242,
    running=True,
    started=NOW - 7500,
    now=NOW,
    ready=True,
    config_path="/etc/telemetry-agent/agent.toml",
    service_name="checkout",
    environment="production",
    watcher=WatcherStatus(mode="events", why="the directory is quiet", directories=1, rescans=3),
    directory=DIRECTORY,
    streams=[
        stream("traces.json"),
        stream(
            "logs/app.log",
            live_bytes=6_200_000,
            allocated_bytes=6_200_000,
            growth_per_minute=0.0,
            next_rotation=NextRotation(reason="age", at=NOW + 600),
            segments=0,
            segment_bytes=0,
            oldest=None,
            ratio=None,
            lost_bytes=4096,
            flags=("warn_size", "overdue"),
        ),
        stream(
            "package.json",
            state="refused",
            method="refused",
            why="its first line is no complete JSON value; exclude it by files.exclude",
            live_bytes=900,
            allocated_bytes=4096,
            growth_per_minute=0.0,
            next_rotation=NextRotation(reason=""),
            segments=0,
            segment_bytes=0,
            oldest=None,
            ratio=None,
        ),
    ],
    components=[
        Component("keeper", "ok", NOW - 7500, NOW),
        Component("web", "degraded", NOW - 60, None, "port 9464 is taken", "choose another web.listen"),
    ],
    lost_bytes=4096,
    audit_unwritten=1,
)
