"""A mount that is really dead: a FUSE file system whose server never answers."""

import ctypes
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.kit.clock import SystemClock
from agent.system.registry import Registry, Settings, collectors
from tests.support.program import AGENT, Program

libc = ctypes.CDLL(None, use_errno=True)
MNT_DETACH = 2

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not os.access("/dev/fuse", os.W_OK), reason="needs root and /dev/fuse"),
]


@pytest.fixture
def dead(tmp_path: Path) -> Iterator[Path]:
    """A mount point at which every call hangs until the fixture ends."""
    point = tmp_path / "dead"
    point.mkdir()
    server = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"dead", bytes(point), b"fuse", 0, options) != 0:
        os.close(server)
        pytest.skip(f"may not mount: {os.strerror(ctypes.get_errno())}")
    try:
        yield point
    finally:
        os.close(server)  # aborts the connection, so whoever hangs gets an error
        libc.umount2(bytes(point), MNT_DETACH)


def test_a_dead_mount_is_quarantined_and_everything_else_is_read(dead: Path) -> None:
    """Ten passes, one hung thread, all other numbers; the collector itself has succeeded."""
    clock = SystemClock()
    registry = Registry(collectors(Settings(timeout=0.4), clock), clock, 0.4)
    before = threading.active_count()

    passes = [registry.step() for _ in range(10)]

    assert threading.active_count() - before == 1
    for found in passes:
        assert found.value("system_disk_unreachable", str(dead)) == 1.0
        assert found.value("system_disk_unreachable", "/") == 0.0
        assert found.value("system_disk_size_bytes", "/") is not None
        assert found.value("telemetry_agent_collector_success", "filesystem") == 1.0
        assert f"{dead} (fuse): does not answer" in found.sources()["filesystem"]["error"]


def test_an_agent_beside_a_dead_mount_serves_and_ends(dead: Path, tmp_path: Path) -> None:
    """It is ready, tells which mount does not answer, and leaves at SIGTERM with status 0 though a thread hangs."""
    settings = {"system.interval": "200ms", "system.timeout": "200ms"}
    with Program(AGENT, tmp_path / "t", settings) as program:
        program.wait_ready()
        give_up = time.monotonic() + 30
        while f'system_disk_unreachable{{mountpoint="{dead}"}} 1.0' not in program.get("/metrics")[1]:
            assert time.monotonic() < give_up, program.output()
            time.sleep(0.05)

        assert 200 == program.get("/livez")[0]
        assert 0 == program.stop(limit=20).status
