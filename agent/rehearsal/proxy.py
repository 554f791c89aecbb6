"""A TCP proxy that can be taken away and brought back: what stands between a rehearsed agent and its collector.

Taken away, its port refuses connections as a collector's does that has died, and connections in use are reset. The
port stays bound all the time, so nobody else gets it meanwhile.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, for no time: close(2) resets the connection (socket(7))."""
_PIECE = 1 << 16


class Proxy:
    """Passes what comes to a free port of 127.0.0.1 on to the port `target` there. A context."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Bound by number: a port that the kernel chose at `bind` is given up when listening ends.
        self._listener.bind(("127.0.0.1", _free_port()))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._here = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._accept, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self.bring_back()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._closed = True
        self.take_away()
        self._here.set()
        self._thread.join()
        self._listener.close()

    def bring_back(self) -> None:
        """Take connections from now on."""
        self._listener.listen(16)
        self._here.set()

    def take_away(self) -> None:
        """Refuse connections from now on, and reset those in use."""
        if not self._here.is_set():
            return  # shut down again, the listener would hand on that state to whatever it accepts later
        self._here.clear()
        self._listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            self._here.wait()
            if self._closed:
                return
            try:
                client, _ = self._listener.accept()
            except OSError:  # it was taken away
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            threading.Thread(target=self._carry, args=(client, server), name="proxied", daemon=True).start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        with self._lock:
            self._open |= {client, server}
            here = self._here.is_set()
        if here:
            back = threading.Thread(target=_pump, args=(server, client), name="proxied back", daemon=True)
            back.start()
            _pump(client, server)
            back.join()
        with self._lock:
            self._open -= {client, server}
        client.close()
        server.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Pass on what `source` says until either end is gone, then end both."""
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            target.sendall(piece)
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
