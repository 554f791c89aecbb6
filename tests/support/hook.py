"""A web server that remembers what it was sent, and answers what it is told to."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec


@dataclass
class Hook:
    """What came, and what is answered from now on."""

    address: str = ""
    status: int = 200
    text: str = ""
    received: list[tuple[str, Any]] = field(default_factory=list)
    """Path and decoded body of each request."""
    gate: threading.Event = field(default_factory=threading.Event)
    """Nothing is answered before it is set."""


@contextlib.contextmanager
def listening() -> Iterator[Hook]:
    """A hook on a port of its own."""
    hook = Hook()
    hook.gate.set()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            hook.received.append((self.path, msgspec.json.decode(content)))
            hook.gate.wait(30)
            body = hook.text.encode()
            self.send_response(hook.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        hook.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield hook
        finally:
            hook.gate.set()
            server.shutdown()
            thread.join()
