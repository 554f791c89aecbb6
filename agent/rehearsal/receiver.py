"""The collector of a rehearsal: takes OTLP/HTTP with JSON and counts what arrives by the writer's own ids."""

from __future__ import annotations

import contextlib
import gzip
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from agent.otlp.generate import sequences

_LARGEST = 64 << 20
"""Bytes of a request, as OTLP allows."""


class Receiver:
    """Listens on a free port of 127.0.0.1. A context; `ids` may be read at any time by `snapshot`."""

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.receiver = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="receiver", daemon=True)
        self._ids: Counter[int] = Counter()
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_port

    @property
    def distinct(self) -> int:
        """Records received, each counted once."""
        with self._lock:
            return len(self._ids)

    def snapshot(self) -> Counter[int]:
        """How often each id has arrived."""
        with self._lock:
            return Counter(self._ids)

    def take(self, body: bytes) -> None:
        """Count the records of a request."""
        found = list(sequences(body))
        with self._lock:
            self._ids.update(found)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def handle(self) -> None:
        """Serve until the client is gone, however it goes."""
        with contextlib.suppress(OSError):
            super().handle()

    def do_POST(self) -> None:
        """Take a request whole, count it, then say so."""
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(length) if length <= _LARGEST else b""
        if len(body) < length:
            self.close_connection = True  # cut off in the middle: nothing of it counts
            return
        self.server.receiver.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    """Knows its receiver."""

    daemon_threads = True
    receiver: Receiver

    def handle_error(self, *_: object) -> None:
        """A client that was cut off is what is rehearsed."""
