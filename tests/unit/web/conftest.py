"""A web server over fakes: a clock with hands, a control that remembers what it was asked."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from agent.components import Components
from agent.config import Web
from agent.control import AlertsStatus, CheckStatus, PlanItem, Reloaded, Rotated, Segments, SegmentStatus, Status
from agent.control.drills import Drills
from agent.kit.disk import Directory
from agent.kit.errors import AgentError
from agent.metrics import Metrics
from agent.web.doors import Doors
from agent.web.facts import Facts
from agent.web.history import History
from agent.web.messages import SOCKET, ConfigKey, Source
from agent.web.server import WebServer
from tests.support.clock import ManualClock

STREAM: dict[str, Any] = {
    "name": "a.json", "id": "1f", "state": "ok", "method": "in-place", "why": "", "live_bytes": 5,
    "allocated_bytes": 4096, "apparent_size": 5, "growth_per_minute": 0.0, "position": 5, "sealed": 0, "first": 0,
    "next_rotation": {"reason": "age", "at": 3600.0}, "segments": 0, "segment_bytes": 0, "oldest": None, "ratio": None,
    "seals": 0, "lost_bytes": 0, "pending_release": 0, "flags": [], "size_limit": None, "days_left": None,
}  # fmt: skip

STATUS: dict[str, Any] = {
    "version": "1.2.3", "pid": 7, "running": True, "started": 1.0, "now": 2.0, "ready": True,
    "config_path": "agent.toml", "service_name": "shop", "environment": "test",
    "watcher": {"mode": "events", "why": "", "directories": 1, "rescans": 0},
    "directory": {
        "path": "/data", "live_bytes": 5, "part_bytes": 0, "segment_bytes": 0, "quarantine_bytes": 0, "state_bytes": 0,
        "total_bytes": 60, "max_total": 50, "critical_total": 50, "free_bytes": 100, "capacity_bytes": 1000,
        "filesystem": "ext4", "critical": False, "problems": [],
    },
    "streams": [STREAM], "components": [], "forwards": [], "own": None, "lost_bytes": 0,
    "audit_unwritten": 0,
}  # fmt: skip

SEGMENT = SegmentStatus(
    stream="a.json", name="a_20241022_163000.json.gz", start=0, end=5, records=1, size=60, allocated=4096,
    sealed_at=1.0, marker=False,
)  # fmt: skip

CHECK = CheckStatus(
    name="memory", kind="memory", state="healthy", level=1, since=1.0, message="10.0% in use", last_run=2.0, runs=1
)


def status_with(directory: dict[str, Any] | None = None, streams: list[dict[str, Any]] | None = None) -> Status:
    """A healthy status but for these keys."""
    made = {**STATUS, "directory": {**STATUS["directory"], **(directory or {})}}
    if streams is not None:
        made["streams"] = [{**STREAM, **stream} for stream in streams]
    return msgspec.convert(made, Status)


class Hands(ManualClock):
    """A clock that a test turns."""

    def sleep(self, seconds: float) -> None:
        """Nothing here may sleep."""
        raise AssertionError(f"slept for {seconds}")


class FakeControl:
    """Answers at once, or raises `error`, or waits for `gate` first; `asked` is what it was asked."""

    def __init__(self) -> None:
        self.answer = status_with()
        self.asked: list[Any] = []
        self.error: AgentError | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.threads: set[str] = set()

    def status(self) -> Status:
        """The prepared snapshot."""
        if self.error:
            raise self.error
        return self.answer

    def rotate(self, streams: list[str], *, timeout: float = 0.0) -> list[Rotated]:
        """Pretend."""
        self._ask(("rotate", streams, timeout))
        return [Rotated(stream=stream, outcome="sealed", bytes=5, records=1) for stream in streams]

    def cleanup(self, *, dry_run: bool = False, timeout: float = 0.0) -> list[PlanItem]:
        """Pretend."""
        self._ask(("cleanup", dry_run, timeout))
        return [PlanItem(action="retire", stream="a.json", target="a.json.gz", reason="keep", bytes=9)]

    def reload(self, *, timeout: float = 0.0) -> Reloaded:
        """Pretend."""
        self._ask(("reload", timeout))
        return Reloaded(ok=False, message="agent.toml is wrong")

    def _ask(self, request: Any) -> None:
        self.asked.append(request)
        self.threads.add(threading.current_thread().name)
        self.gate.wait(30)
        if self.error:
            raise self.error


class Site:
    """A server with everything around it; `heartbeat` and `ready` are what the main loop would say."""

    def __init__(
        self, state: Directory, listen: str = "127.0.0.1:0", web: Web | None = None, drills: Drills | None = None
    ) -> None:
        self.state = state
        self.clock = Hands()
        self.doors = Doors(web or Web(), self.clock)
        self.control = FakeControl()
        self.metrics = Metrics()
        self.components = Components(self.clock)
        self.heartbeat = self.clock.steady
        self.ready = True
        self.checks = [CHECK]
        self.entries: list[dict[str, Any]] = []
        self.history = History()
        self.alerts = AlertsStatus()
        self.asked_segments: list[tuple[str, int]] = []
        self.server = WebServer(
            self.control, self.metrics, self.components, self.clock, listen=listen, state=state,
            heartbeat=lambda: self.heartbeat, ready=lambda: self.ready, doors=self.doors,
            facts=Facts(
                checks=lambda: self.checks, segments=self._segments, audit=lambda most: self.entries[:most],
                history=self.history, alerts=lambda: self.alerts, drills=drills,
                sources=lambda: {"cpu": Source("host", "/proc/stat", "")},
                config=lambda: [ConfigKey("rotation.max_size", '"10MB"', "default")],
            ),
        )  # fmt: skip

    def _segments(self, stream: str, limit: int) -> Segments:
        self.asked_segments.append((stream, limit))
        if self.control.error:
            raise self.control.error
        return Segments(7, [SEGMENT])

    def start(self) -> None:
        """Serve, and open a client for each socket."""
        self.addresses = self.server.start()
        self.tcp = httpx.Client(base_url=f"http://{self.addresses.tcp}", trust_env=False, timeout=20)
        path = f"/proc/self/fd/{self.state.fd}/{SOCKET}"
        transport = httpx.HTTPTransport(uds=path)
        self.local = httpx.Client(base_url="http://agent", transport=transport, trust_env=False, timeout=20)

    def stop(self) -> None:
        """Leave nothing."""
        self.control.gate.set()
        self.tcp.close()
        self.local.close()
        assert self.server.stop()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Directory]:
    """An empty state directory."""
    with Directory.make(str(tmp_path / "state"), 0o700) as directory:
        yield directory


@pytest.fixture
def make_site(state: Directory) -> Iterator[Callable[..., Site]]:
    """A maker of running sites; they are stopped in the end."""
    sites: list[Site] = []

    def make(web: Web | None = None, drills: Drills | None = None) -> Site:
        site = Site(state, web=web, drills=drills)
        site.start()
        sites.append(site)
        return site

    yield make
    for site in sites:
        site.stop()


@pytest.fixture
def site(make_site: Callable[[], Site]) -> Site:
    """A running site."""
    return make_site()
