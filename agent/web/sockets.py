"""The two sockets that are listened on, bound before anything is served, so that a port in use stops the start.

Invariants: the local socket's mode is 0600 from its first moment; its path is reached through the state directory's
descriptor, because an AF_UNIX address holds 107 bytes (unix(7)) and a directory may lie deeper.
"""

from __future__ import annotations

import errno
import os
import socket
import weakref
from collections.abc import Callable
from typing import Any

from agent.kit.disk import Directory
from agent.kit.errors import AgentError, ConfigError
from agent.web.messages import SOCKET

_BACKLOG = 128

CONNECTIONS = 128
"""Connections by TCP at a time, those included whose handshake is not done."""

_HINTS = {
    errno.EADDRINUSE: "another program listens there (`ss -ltnp` names it): stop it or choose another port",
    errno.EACCES: "ports below 1024 are for root or CAP_NET_BIND_SERVICE: choose a higher one",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address",
}


def parse(listen: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `[IPV6]:PORT` or `:PORT` (every IPv4 address). Raises ConfigError."""
    host, colon, port = listen.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535 or (":" in host and not bracketed):
        raise ConfigError(
            f"web.listen is not an address: {listen!r}",
            hint="write HOST:PORT, as 127.0.0.1:9464, [::1]:9464 or :9464 for every IPv4 address",
        )
    return host[1:-1] if bracketed else host, int(port)


class Bounded(socket.socket):
    """A listening socket that hangs up at once on whoever would be one connection too many."""

    refused: Callable[[], None] = staticmethod(lambda: None)
    """Called for each of them."""

    def __init__(self, *arguments: int) -> None:
        super().__init__(*arguments)
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection. Raises BlockingIOError, as if there was none, instead of one too many."""
        connection, address = super().accept()
        if sum(one.fileno() >= 0 for one in self._open) >= CONNECTIONS:
            self.refused()
            connection.close()
            raise BlockingIOError(errno.EAGAIN, "too many connections")
        self._open.add(connection)
        return connection, address


def listen_tcp(listen: str) -> Bounded:
    """Listen on one TCP address: the first one of a name; `[::]` takes IPv4 as well. Raises AgentError."""
    host, port = parse(listen)
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        opened = Bounded(family, kind, protocol)
        _listen(opened, address)
        return opened
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, "check [web] listen")
        raise AgentError(
            f"cannot listen on {listen}: {error.strerror or error}", hint=f'{hint}, or switch it off: listen = ""'
        ) from error


def listen_local(state: Directory) -> socket.socket:
    """Listen on the local socket of `state`, whose lock is ours: a socket found there is a dead agent's."""
    try:
        state.remove(SOCKET)
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        os.fchmod(opened.fileno(), 0o600)  # bind(2) gives the file the socket's own mode; a chmod after it is late
        return _listen(opened, f"/proc/self/fd/{state.fd}/{SOCKET}")
    except OSError as error:
        raise AgentError(
            f"cannot make the local socket: {error.strerror or error}",
            path=os.path.join(state.path, SOCKET),
            hint="the state directory must be on a local file system and writable; nothing else may have that name",
        ) from error


def _listen(opened: socket.socket, address: object) -> socket.socket:
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)  # type: ignore[arg-type]  # what getaddrinfo returned, or a path
        opened.listen(_BACKLOG)
        opened.setblocking(False)
    except OSError:
        opened.close()
        raise
    return opened


def address_of(opened: socket.socket) -> str:
    """`HOST:PORT` of a listening TCP socket, with the port that the kernel chose where 0 was asked for."""
    host, port = opened.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
