"""TLS as checks speak it: which certificates are trusted, and how long the server's is still valid."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from agent.config.checks import Tls
from agent.health.check import Finding, healthy, warning
from agent.kit.units import Duration

_DAY = 86_400


def context(rule: Tls) -> ssl.SSLContext:
    """The client's side of a handshake. Raises OSError when `ca_file` cannot be read."""
    made = ssl.create_default_context(cafile=rule.ca_file or None)
    if not rule.verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def expiry(certificate: Mapping[str, Any] | None, limit: Duration | None, now: float) -> Finding:
    """What the certificate's end means; one that was not verified, or no limit, is fine."""
    if not certificate or limit is None or "notAfter" not in certificate:
        return healthy("")
    left = ssl.cert_time_to_seconds(str(certificate["notAfter"])) - now
    if left < limit:
        return warning(f"the certificate ends in {left / _DAY:.1f} days", hint="renew it", value=left)
    return healthy(f"the certificate is valid for {left / _DAY:.0f} days")


def slow(seconds: float, limit: Duration | None) -> Finding:
    """What the time of an answer means."""
    if limit is not None and seconds >= limit:
        return warning(f"the answer took {seconds * 1000:.0f} ms", value=seconds)
    return healthy("")
