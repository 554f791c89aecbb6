"""An HTTP server that does what it is told: any status, any body, slowly, half, or with a reset.

It answers each request with the next of the answers it was given, and with the last one for ever after. What came in
is kept, decompressed, so that a test can compare it with what was sent.
"""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
import struct
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

End = Literal["whole", "reset", "close", "half", "stall"]


@dataclass(frozen=True)
class Say:
    """One answer."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    end: End = "whole"
    """`reset` and `close` end the connection unanswered, `half` and `stall` do so or hang after half of the body."""
    about: bytes = b""
    """It waits for a request that has this in its body: several are under way, and any may be heard first."""


@dataclass(frozen=True)
class Heard:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    spelling: frozenset[str]
    """The headers' names as they came."""
    raw: bytes
    body: bytes
    """Decompressed."""
    connection: int
    """Which connection it came by."""


class Hostile:
    """The server's book of answers and requests."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[Say] = [Say()]
        self.heard: list[Heard] = []
        self.released = threading.Event()
        """Set at the end, so that stalled answers finish."""
        self._lock = threading.Lock()

    def will(self, *answers: Say) -> None:
        """What to answer from now on."""
        self.answers = list(answers)

    def next(self, heard: Heard) -> Say:
        """Note a request and take its answer."""
        with self._lock:
            self.heard.append(heard)
            mine = next((one for one in self.answers if one.about in heard.body), self.answers[-1])
            if len(self.answers) > 1:
                self.answers.remove(mine)
            return mine


class _Handler(BaseHTTPRequestHandler):
    """One connection of the server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def handle(self) -> None:
        """Serve until the client has gone, which is what these tests are about."""
        with contextlib.suppress(OSError):
            super().handle()

    def finish(self) -> None:
        """Close, though the client may have gone."""
        with contextlib.suppress(OSError):
            super().finish()

    def do_POST(self) -> None:
        """Note the request and answer; one that breaks off was never made."""
        length = int(self.headers.get("Content-Length", "0"))
        raw = self.rfile.read(length)
        if len(raw) < length:
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = gzip.decompress(raw) if headers.get("content-encoding") == "gzip" else raw
        port = self.client_address[1]
        self._answer(
            self.server.hostile.next(Heard(self.command, self.path, headers, frozenset(self.headers), raw, body, port))
        )

    def do_GET(self) -> None:
        """A redirect that turns a POST into a GET must be seen, not refused."""
        self.do_POST()

    def _answer(self, say: Say) -> None:
        self.close_connection = say.end != "whole"
        if say.end == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        if say.end in ("reset", "close"):
            return
        self.send_response(say.status)
        for name, value in say.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(say.body)))
        self.end_headers()
        self.wfile.write(say.body if say.end == "whole" else say.body[: len(say.body) // 2])
        if say.end == "stall":
            self.server.hostile.released.wait(30)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    """Carries the book to its handlers."""

    daemon_threads = True
    hostile: Hostile

    def handle_error(self, *_: object) -> None:
        """A failed TLS handshake is what a test wanted."""


@contextlib.contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Hostile]:
    """Serve on a free port of 127.0.0.1, with TLS where a context is given."""
    server = _Server(("127.0.0.1", 0), _Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.hostile = Hostile(f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.hostile
    finally:
        server.hostile.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
