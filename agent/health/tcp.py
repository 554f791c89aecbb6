"""A server that accepts connections, on TCP or a Unix socket, with a TLS handshake where asked for."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from typing import Any

from agent.config.checks import Tcp
from agent.health.check import Finding, healthy, unhealthy, worst
from agent.kit.clock import Clock
from agent.kit.errors import ConfigError

_ADDRESS = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^\s:\[\]/]+)):([0-9]{1,5})")


class TcpCheck:
    """One connection a run."""

    def __init__(self, rule: Tcp, clock: Clock, timeout: float) -> None:
        """Raise ConfigError when the address is none."""
        self._rule = rule
        self._clock = clock
        self._timeout = timeout
        found = _ADDRESS.fullmatch(rule.address)
        if not found and not rule.address.startswith("unix:/"):
            raise ConfigError(
                f"health check {rule.name}: {rule.address!r} is no address", hint="write HOST:PORT or unix:/path"
            )
        self._host, self._port = (found[1] or found[2], int(found[3])) if found else ("", 0)

    def run(self) -> Finding:
        """Connect, shake hands, hang up."""
        from agent.health import tls

        began = self._clock.monotonic()
        try:
            certificate = self._connect()
        except OSError as error:
            return unhealthy(f"{self._rule.address}: {error}", hint="is it running and reachable?")
        seconds = self._clock.monotonic() - began
        return worst(
            healthy(f"{self._rule.address} accepts connections", value=seconds),
            tls.expiry(certificate, self._rule.expiry_warn, self._clock.now()),
            tls.slow(seconds, self._rule.warn),
        )

    def _connect(self) -> Mapping[str, Any] | None:
        with self._open() as opened:
            if not self._rule.tls:
                return None
            from agent.health import tls

            name = self._rule.server_name or self._host or None
            with tls.context(self._rule).wrap_socket(opened, server_hostname=name) as secured:
                return secured.getpeercert()

    def _open(self) -> socket.socket:
        if self._host:
            return socket.create_connection((self._host, self._port), self._timeout)
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            opened.settimeout(self._timeout)
            opened.connect(self._rule.address.removeprefix("unix:"))
        except OSError:
            opened.close()
            raise
        return opened
