"""What the service manager hears, by a socket of the test's own."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from agent.kit.notify import Notifier
from tests.support.clock import ManualClock


class Manager:
    """The listening end."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(10)

    def heard(self) -> list[str]:
        """Everything that has arrived, without waiting."""
        found = []
        self.socket.setblocking(False)
        while True:
            try:
                found += self.socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return found


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """One that listens at `notify`."""
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.socket.close()


def notifier(tmp_path: Path, **environ: str) -> Notifier:
    """A notifier of that manager."""
    return Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), **environ}, ManualClock(monotonic=12.5))


def test_ready_is_told_once_with_a_status_of_one_line(manager: Manager, tmp_path: Path) -> None:
    """However often the agent gets ready."""
    told = notifier(tmp_path)
    told.ready("watches\n3 streams")
    told.ready("again")

    assert ["READY=1", "STATUS=watches 3 streams"] == manager.heard()


def test_a_reload_is_told_with_its_time_and_ends_ready(manager: Manager, tmp_path: Path) -> None:
    """CLOCK_MONOTONIC in microseconds, as sd_notify(3) wants it."""
    told = notifier(tmp_path)
    told.reloading()
    told.reloaded()
    assert [] == manager.heard()  # READY before the first sweep would be a lie

    told.ready("")
    told.reloading()
    told.reloaded()
    assert ["READY=1", "STATUS=", "RELOADING=1", "MONOTONIC_USEC=12500000", "READY=1"] == manager.heard()


def test_stopping_says_how_long(manager: Manager, tmp_path: Path) -> None:
    """So that the manager does not kill what still works."""
    told = notifier(tmp_path)
    told.status("unhealthy")
    told.extend(1.5)
    told.stopping(10)

    assert [
        "STATUS=unhealthy", "EXTEND_TIMEOUT_USEC=1500000", "STOPPING=1", "EXTEND_TIMEOUT_USEC=10000000",
        "STATUS=stopping",
    ] == manager.heard()  # fmt: skip


def test_an_abstract_socket_is_reached() -> None:
    """Its name begins with `@` in the variable and with NUL on the wire."""
    name = f"telemetry-agent-test-{os.getpid()}"
    manager = Manager(f"\0{name}")
    Notifier({"NOTIFY_SOCKET": f"@{name}"}, ManualClock()).alive()

    assert ["WATCHDOG=1"] == manager.heard()
    manager.socket.close()


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234"])
def test_without_a_socket_nothing_is_told(address: str) -> None:
    """Nor is anything raised."""
    told = Notifier({"NOTIFY_SOCKET": address}, ManualClock())
    told.ready("")

    assert not told.listens


def test_a_manager_that_is_gone_or_full_holds_nobody_up(manager: Manager, tmp_path: Path) -> None:
    """The agent goes on."""
    told = notifier(tmp_path)
    for _ in range(10_000):
        told.alive()
    manager.socket.close()
    told.alive()

    assert told.listens


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("30000000", "", 15.0),
        ("30000000", str(os.getpid()), 15.0),
        ("30000000", "1", None),
        ("", "", None),
        ("0", "", None),
        ("x", "", None),
    ],
)
def test_the_watchdog_is_fed_in_half_its_time(usec: str, pid: str, expected: float | None) -> None:
    """And not at all where it is somebody else's."""
    found = Notifier({"WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}, ManualClock()).interval

    assert expected == found


def test_a_blocked_loop_starves_the_watchdog(manager: Manager, tmp_path: Path) -> None:
    """The signs of life come from the loop itself; while the agent starts it asks for patience too."""
    told = notifier(tmp_path, WATCHDOG_USEC="20000")

    async def live() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(told.pulse)
            await anyio.to_thread.run_sync(manager.socket.recv, 100)
            told.ready("")
            await anyio.to_thread.run_sync(_wait_for, manager, "WATCHDOG=1")
            manager.heard()
            time.sleep(0.2)  # noqa: ASYNC251 - the loop is blocked on purpose
            assert [] == manager.heard()
            group.cancel_scope.cancel()

    thread = threading.Thread(target=anyio.run, args=(live,))
    thread.start()
    thread.join(30)
    assert not thread.is_alive()


def _wait_for(manager: Manager, word: str) -> None:
    manager.socket.settimeout(10)
    while word not in manager.socket.recv(100).decode():
        pass
