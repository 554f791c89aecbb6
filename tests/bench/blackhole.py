"""An OTLP receiver that only counts: `python -m tests.bench.blackhole PORT [spans]`. GET tells what came.

With `spans` it looks into each body and counts them too, which costs it the inflating.
"""

from __future__ import annotations

import gzip
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_COUNTS = {"bodies": 0, "bytes": 0, "spans": 0}
_LOOK = "spans" in sys.argv[2:]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Take a body."""
        size = int(self.headers["Content-Length"])
        if _LOOK:
            _COUNTS["spans"] += gzip.decompress(self.rfile.read(size)).count(b'"spanId"')
        left = 0 if _LOOK else size
        while left:
            left -= len(self.rfile.read(min(left, 1 << 18)))
        _COUNTS["bodies"] += 1
        _COUNTS["bytes"] += size
        self._answer(b"{}")

    def do_GET(self) -> None:
        """Tell what came."""
        self._answer(json.dumps(_COUNTS).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), _Handler).serve_forever()
