"""Who may pass: users with bcrypt hashes, and the bearer of the admin token.

Invariants: an unknown user costs as much time as a wrong password, because the most expensive hash there is is
computed for him; a hash is computed in a worker thread, two at a time, so that guessing takes neither the event loop
nor the machine; nothing that was sent is kept, only a keyed digest of it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import stat
from collections import OrderedDict

import anyio
import anyio.to_thread

from agent.kit.errors import ConfigError

_REMEMBERED = 100
_LONGEST = 72
"""Bytes of a password that bcrypt looks at."""
_SHORTEST_TOKEN = 16


class Users:
    """The users of a web configuration file."""

    def __init__(self, hashes: dict[str, str]) -> None:
        """Raise ConfigError without the library."""
        try:
            import bcrypt
        except ImportError as error:
            hint = "install the extra: pip install 'telemetry-agent[web]'"
            raise ConfigError(f"passwords cannot be checked: {error}", hint=hint) from None
        self._check = bcrypt.checkpw
        self._hashes = hashes
        self._dearest = max(hashes.values(), key=lambda one: int(one.split("$")[2]))
        self._key = secrets.token_bytes(32)
        self._seen: OrderedDict[bytes, bool] = OrderedDict()
        self._limiter = anyio.CapacityLimiter(2)

    async def admits(self, authorization: str) -> bool:
        """True for the header of a user with his password."""
        user, password = _basic(authorization)
        digest = hmac.digest(self._key, f"{len(user)}:{user}:{password}".encode(), "sha256")
        if digest not in self._seen:
            hashed = self._hashes.get(user, self._dearest)
            right = await anyio.to_thread.run_sync(self._matches, password, hashed, limiter=self._limiter)
            self._seen[digest] = right and user in self._hashes
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        return self._seen.get(digest, False)

    def _matches(self, password: str, hashed: str) -> bool:
        try:
            return self._check(password.encode()[:_LONGEST], hashed.encode())
        except ValueError:  # a NUL in it
            return False


def _basic(authorization: str) -> tuple[str, str]:
    """User and password of a header of the Basic scheme (RFC 7617); empty for anything else."""
    scheme, _, content = authorization.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        text = base64.b64decode(content.strip(), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    user, _, password = text.partition(":")
    return user, password


class Token:
    """The admin token: the only key to what changes something."""

    def __init__(self, path: str) -> None:
        """Read it. Raises ConfigError for a file that is missing, too open, or too short."""
        try:
            with open(path, "rb") as file:
                info = os.fstat(file.fileno())
                content = file.read(4096).strip()
        except OSError as error:
            raise ConfigError(f"the admin token cannot be read: {error.strerror}", path=path) from None
        if not stat.S_ISREG(info.st_mode) or info.st_mode & 0o037:
            mode = stat.S_IMODE(info.st_mode)
            what = f"the admin token may be read by everybody or changed by others (mode {mode:04o})"
            raise ConfigError(what, path=path, hint="chmod 600, or 640 for a group that may use it")
        if len(content) < _SHORTEST_TOKEN or not content.isascii() or b" " in content:
            hint = "make one: openssl rand -hex 32"
            raise ConfigError(
                f"the admin token has fewer than {_SHORTEST_TOKEN} characters, or spaces", path=path, hint=hint
            )
        self._digest = hashlib.sha256(content).digest()

    def admits(self, authorization: str) -> bool:
        """True for its bearer (RFC 6750, 2.1). Takes the same time whatever is offered."""
        scheme, _, offered = authorization.partition(" ")
        same = hmac.compare_digest(hashlib.sha256(offered.strip().encode()).digest(), self._digest)
        return same and scheme.lower() == "bearer"
