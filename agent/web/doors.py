"""Who gets in by TCP: what the files named in `[web]` say, as they are now.

Invariants: a file that changed is in force within a second of the next connection or request, without a reload; one
that became wrong leaves the one before in force, and says so; TLS is never switched on or off by a file that changed.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agent.config import Web
from agent.kit import log
from agent.kit.clock import Clock
from agent.kit.errors import AgentError, ConfigError
from agent.web import webfile
from agent.web.passwords import Token, Users
from agent.web.webfile import WebFile

_log = log.get("web")
_LOOK = 1.0
"""Seconds between two looks at the files."""

Signature = tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True)
class Rules:
    """What the files said when they were read."""

    web: Web
    file: WebFile
    users: Users | None
    token: Token | None
    tls: ssl.SSLContext | None
    files: tuple[str, ...]
    signature: Signature


def read(web: Web) -> Rules:
    """Read every file that `[web]` names. Raises ConfigError."""
    file = webfile.read(web.config_file) if web.config_file else WebFile()
    tls = file.tls_server_config
    named = (web.config_file, web.admin_token_file, *((tls.cert_file, tls.key_file, tls.client_ca_file) if tls else ()))
    files = tuple(path for path in named if path)
    return Rules(
        web=web,
        file=file,
        users=Users(file.basic_auth_users) if file.basic_auth_users else None,
        token=Token(web.admin_token_file) if web.admin_token_file else None,
        tls=webfile.context(tls) if tls else None,
        files=files,
        signature=_signature(files),
    )


def _signature(files: tuple[str, ...]) -> Signature:
    """What differs when a file was replaced or rewritten; zeros for one that is gone."""
    found = []
    for path in files:
        try:
            info = os.stat(path)
            found.append((info.st_dev, info.st_ino, info.st_mtime_ns, info.st_ctime_ns))
        except OSError:
            found.append((0, 0, 0, 0))
    return tuple(found)


class Doors:
    """The rules in force. The server's thread asks; a reload puts others in."""

    def __init__(self, web: Web, clock: Clock, told: Callable[[str], None] = lambda _: None) -> None:
        """Raise ConfigError for a file that cannot be used. `told` hears what is wrong, or an empty text."""
        self._rules = read(web)
        self._clock = clock
        self.told = told
        self._looked = clock.monotonic()
        self._failed: Signature | None = None

    @property
    def listens_with_tls(self) -> bool:
        """True when connections are encrypted."""
        return self._rules.tls is not None

    def prepare(self, web: Web) -> Rules:
        """Read what another configuration names. Raises ConfigError."""
        rules = read(web)
        if (rules.tls is None) != (self._rules.tls is None):
            hint = "restart the agent"
            raise ConfigError("TLS cannot be switched on or off while it runs", path=web.config_file, hint=hint)
        return rules

    def adopt(self, rules: Rules) -> None:
        """Take it into force."""
        self._rules, self._failed = rules, None
        self.told("")

    def rules(self) -> Rules:
        """What is in force now."""
        now = self._clock.monotonic()
        if self._rules.files and now - self._looked >= _LOOK:
            self._looked = now
            self._look()
        return self._rules

    def _look(self) -> None:
        signature = _signature(self._rules.files)
        if signature == (self._failed or self._rules.signature):
            return
        try:
            self.adopt(self.prepare(self._rules.web))
        except AgentError as error:
            if self._failed is None:
                _log.error("a changed file of [web] is wrong, what it said before stays in force", error=error)
            self._failed = signature
            self.told(str(error))
        else:
            _log.info("files of [web] changed and are in force", files=list(self._rules.files))


class Handshakes(ssl.SSLContext):
    """A context for a listening socket that takes the newest certificate for each connection."""

    doors: Doors

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Begin a handshake by the rules of now."""
        newest = self.doors.rules().tls
        assert newest is not None  # noqa: S101 - rules without TLS are never adopted beside a socket with it
        return newest.wrap_bio(*arguments, **options)


def handshakes(doors: Doors) -> Handshakes | None:
    """What a listening socket is given; None without TLS."""
    if not doors.listens_with_tls:
        return None
    made = Handshakes(ssl.PROTOCOL_TLS_SERVER)
    made.doors = doors
    return made


def is_known(certificate: dict[str, Any] | None, allowed: list[str]) -> bool:
    """True when a client's certificate has one of the names, whatever their kind."""
    names = (certificate or {}).get("subjectAltName", ())
    return not allowed or any(value in allowed for _, value in names)
