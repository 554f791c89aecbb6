"""A name, asked of the system's resolver as any program would."""

from __future__ import annotations

import socket

from agent.config.checks import Dns
from agent.health.check import Finding, healthy, unhealthy


class DnsCheck:
    """One name."""

    def __init__(self, rule: Dns) -> None:
        self._rule = rule

    def run(self) -> Finding:
        """Resolve it; the resolver has no time limit of its own, the board has."""
        rule = self._rule
        try:
            found = socket.getaddrinfo(rule.hostname, None, type=socket.SOCK_STREAM)
        except OSError as error:
            return unhealthy(f"{rule.hostname}: {error.strerror or error}", hint="look at /etc/resolv.conf")
        addresses = sorted({str(one[4][0]) for one in found})
        if rule.expect and not set(rule.expect) & set(addresses):
            return unhealthy(f"{rule.hostname} is {', '.join(addresses)}, expected {' or '.join(rule.expect)}")
        return healthy(f"{rule.hostname} is {', '.join(addresses)}")
