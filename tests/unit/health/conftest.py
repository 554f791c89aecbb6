"""What checks stand in: a clock with hands, a status that a test makes, servers on the loopback."""

import http.server
import threading
from collections.abc import Callable, Iterator

import pytest

from agent.components import Components
from agent.control import Status
from agent.health.surroundings import Surroundings
from tests.support.clock import ManualClock
from tests.unit.web.conftest import status_with


class Around:
    """Surroundings whose parts a test changes."""

    def __init__(self, directory: str) -> None:
        self.clock = ManualClock()
        self.components = Components(self.clock)
        self.status: Status = status_with()
        self.beat = self.clock.steady
        self.made = Surroundings(
            clock=self.clock, directory=directory, status=lambda: self.status, components=self.components,
            heartbeat=lambda: self.beat,
        )  # fmt: skip


@pytest.fixture
def around(tmp_path: object) -> Around:
    """All is well in it."""
    return Around(str(tmp_path))


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still until it is turned."""
    return ManualClock()


Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start HTTP servers that give one answer to every GET: `serve(status, body)` is the address."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def start(status: int = 200, body: bytes = b"ok", seen: list[dict[str, str]] | None = None) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if seen is not None:
                    seen.append({"path": self.path, **dict(self.headers.items())})
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
