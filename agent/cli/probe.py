"""`health --probe`: is the agent's main loop alive? For container health checks, which run it every few seconds.

Invariant: only the standard library is imported, so it costs an interpreter's start and little more. The agent's
address is found as the agent itself finds it (`--set`, environment, file, default), without judging anything else: but
a `--set` of a key that says nothing about the address is held against the schema, as it may be a slip.
"""

from __future__ import annotations

import http.client
import os
import socket
import sys
import tomllib
from collections.abc import Sequence

_LIMIT = 5.0
_FILES = ("agent.toml", "/etc/telemetry-agent/agent.toml")
_DEFAULT = "127.0.0.1:9464"
_PREFIX = "TELEMETRY_AGENT__"
_KEYS = frozenset({"web.listen", "web.config_file", "files.directory", "agent.state_directory"})
"""Those that tell the address."""


def probe(config: str | None, overrides: Sequence[str], directory: str | None) -> int:
    """Ask /livez: 0 when it answers 200, else 1 and a line that says why. Raises ConfigError for a wrong override."""
    if not all("=" in one and one.partition("=")[0].strip() in _KEYS for one in overrides):
        from agent.config import load

        load(config, environ=os.environ, overrides=overrides, directory=directory)
    try:
        connection = _connect(Settings(config, overrides, directory))
        connection.request("GET", "/livez")
        answer = connection.getresponse()
        text = answer.read(4096).decode("utf-8", "replace").strip()
        connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        print(f"no answer: {error}", file=sys.stderr)
        return 1
    print(text, file=sys.stdout if answer.status == http.client.OK else sys.stderr)
    return int(answer.status != http.client.OK)


class Settings:
    """The few keys that tell where the agent is. Raises OSError or ValueError for a file that cannot be read."""

    def __init__(self, config: str | None, overrides: Sequence[str], directory: str | None) -> None:
        path = config or os.environ.get("TELEMETRY_AGENT_CONFIG")
        path = path or next((one for one in _FILES if os.path.exists(one)), "")
        self._given = {key.strip(): text for key, _, text in (one.partition("=") for one in overrides)}
        if directory:
            self._given["files.directory"] = directory
        self._file: dict[str, dict[str, object]] = {}
        if path:
            with open(path, "rb") as file:
                self._file = tomllib.load(file)

    def get(self, section: str, key: str, default: str) -> str:
        """The value in force."""
        variable = f"{_PREFIX}{section.upper()}__{key.upper()}"
        below = os.environ.get(variable, str(self._file.get(section, {}).get(key, default)))
        return self._given.get(f"{section}.{key}", below)


def _connect(settings: Settings) -> http.client.HTTPConnection:
    listen = settings.get("web", "listen", _DEFAULT)
    # With a file of TLS and passwords the port may ask for what a probe does not have; the local socket never does.
    if listen and not settings.get("web", "config_file", ""):
        host, _, port = listen.rpartition(":")
        loopback = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "::1"}
        connection = http.client.HTTPConnection(loopback.get(host, host.strip("[]")), int(port), timeout=_LIMIT)
        connection.connect()
        return connection
    connection = http.client.HTTPConnection("localhost", timeout=_LIMIT)
    directory = settings.get("files", "directory", "")
    state = os.path.join(directory, settings.get("agent", "state_directory", "") or ".telemetry-agent")
    fd = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(_LIMIT)
        connection.sock.connect(f"/proc/self/fd/{fd}/agent.sock")  # an AF_UNIX path has 107 bytes
    finally:
        os.close(fd)
    return connection
