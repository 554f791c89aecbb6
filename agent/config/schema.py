"""Every key of the configuration: one frozen struct a section, its default and its meaning at the field.

The attribute names are the keys of `agent.toml`. A limit that is switched off (`""` or `"off"` in the file) is None.
Each class of the agent receives the section it needs, not the whole. Adding a section is adding a struct here and a
field to `Config`; an array of tables is a `tuple[Struct, ...]`.
"""

from __future__ import annotations

import os
import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from agent.config.alerts import Alert, Alerts, Notification
from agent.config.checks import BUILT_IN, BuiltIn, Check
from agent.config.forward import Forward
from agent.config.match import FOREIGN_ARCHIVES, hidden, matches
from agent.config.rules import Retention, Rotation
from agent.kit.units import Duration, Size

STATE_DIRECTORY = ".telemetry-agent"

_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^\s:\[\]/]*)):(?P<port>[0-9]{1,5})")


class Files(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which files are watched."""

    directory: str = ""
    """The directory to watch; made at start if it is missing. `run DIR` on the command line goes before it."""
    include: tuple[str, ...] = ("*.json", "*.jsonl", "*.ndjson", "*.log")
    """Patterns of the files that are streams. A pattern with a "/" is matched against the path below the directory,
    one without against the file's name. Hidden files, and files in hidden directories, are
    never streams."""
    exclude: tuple[str, ...] = FOREIGN_ARCHIVES
    """Patterns of files that are left alone although `include` names them. The default knows the archives of
    lumberjack, timberjack and logrotate, also `app-20241022.log` and `app.1.log`: where such a name is a live
    file, give a list of your own."""
    recursive: bool = False
    """Also watch the directories below."""
    scan_interval: Duration = Duration("30s")
    """Time between two full listings, the safety net beside file system events. At least 100ms."""
    critical_total: Size | None = Size("50MB")
    """A directory that retention cannot bring below this total of allocated bytes is critical."""
    warn_size: Size | None = Size("5MB")
    """A stream with more live bytes than this is flagged in `status`; a health warning only when it is also above
    `max_size` or overdue."""

    def selects(self, path: str) -> bool:
        """True when the file at `path`, below the watched directory, is meant to be a stream."""
        return not hidden(path) and matches(self.include, path) and not matches(self.exclude, path)


class StreamRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Other rules for some files: the first entry that matches a file gives its rotation and retention.

    Only the keys given in `[stream.rotation]` and `[stream.retention]` differ from the sections of that name.
    """

    match: Annotated[str, Meta(examples=["traces*.json"])]
    """Pattern of the files, as in `files.include`."""
    # Loaded, these hold whole sections: what the entry gives, over `[rotation]` and `[retention]`. None: no difference.
    rotation: Rotation | None = None
    """Keys of `[rotation]` for these files."""
    retention: Retention | None = None
    """Keys of `[retention]` for these files."""


class AgentSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The agent itself."""

    state_directory: str = ""
    """Where the agent keeps its audit trail, hints and socket (mode 0700); relative to the watched directory.
    Empty: `.telemetry-agent` in the watched directory."""
    user: str = ""
    """User to become once the agent has started, `user` or `user:group`; needs to be started as root. Root without
    this key refuses directories that others may write; `root` trusts everybody who may."""
    service_name: str = "telemetry-agent"
    """Name of this agent in logs, status and what it sends."""
    service_version: str = ""
    """Version shown beside it. Empty: the agent's own."""
    environment: str = ""
    """Deployment environment, such as `production`, shown in logs, status and what it sends."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least important messages that are logged."""
    log_format: Literal["auto", "console", "json"] = "auto"
    """How messages look; `auto` is `console` on a terminal and `json` elsewhere."""
    stop_timeout: Duration = Duration("10s")
    """Time to finish the running step after SIGTERM."""
    memory_limit: Size | None = None
    """Memory that delivery keeps below, beside the limit of the container or service, which is known by itself. At
    75 % of it batches become smaller and fewer, then reading pauses; the records wait on disk."""
    nice: Annotated[int, Meta(ge=0, le=19)] = 0
    """Niceness of the threads that compress, read and encode; 0 leaves it as it is. The main loop keeps its own."""
    ionice: Literal["", "best-effort", "idle"] = ""
    """I/O class of these threads: `best-effort` is its lowest level, `idle` uses a disk that nobody else wants. Empty
    leaves it as it is."""
    profile: Literal["", "development", "production", "high-load"] = ""
    """Other defaults: `development` sets `system.interval` 5s, `health.interval` 10s and console logs, `production`
    15s, 30s and JSON logs, `high-load` 30s, 60s and JSON logs. Every key that is given goes before it."""


class Web(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Metrics and probes over HTTP."""

    listen: str = "127.0.0.1:9464"
    """Address and port, `[::1]:9464` for IPv6, `:9464` for all interfaces. Empty: no HTTP."""
    config_file: str = ""
    """YAML file with TLS, client certificates, passwords and headers, in the keys of Prometheus' exporter-toolkit.
    Needs the extra `web`. Empty: anybody who reaches the port may read."""
    admin_token_file: str = ""
    """File that holds a token of at least 16 characters, readable by its owner and group alone. With it
    `POST /api/v1/rotate`, `/cleanup` and `/reload` are there for its bearer. Empty: they are not there."""
    allowed_hosts: tuple[str, ...] = ()
    """Names that a request's Host header may have. On loopback these, `localhost` and addresses are let in; elsewhere
    any name is as long as this is empty."""
    test_endpoints: bool = False
    """Also serve `/telemetry-test/…`: pages that write generated telemetry into the watched directory and rehearse
    an outage. Whoever reaches the port may use them, where `admin_token_file` asks for no token."""
    stream_series: Annotated[int, Meta(ge=0, le=1000)] = 0
    """Streams that get series of their own in the metrics; all others are summed as `other`. 0: none, so that the
    number of series does not depend on the files."""

    @property
    def address(self) -> tuple[str, int] | None:
        """Host (empty: all interfaces) and port (0: any free one) of `listen`; None when it is off.

        Raises ValueError when `listen` is neither.
        """
        if not self.listen:
            return None
        found = _ADDRESS.fullmatch(self.listen)
        if not found or int(found["port"]) > 65535:
            raise ValueError(f"{self.listen!r} is no address; write one such as 127.0.0.1:9464 or [::1]:9464")
        return found["v6"] or found["host"], int(found["port"])


class System(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Metrics of the machine and the container."""

    interval: Duration = Duration("10s")
    """Time between two readings."""
    timeout: Duration = Duration("5s")
    """Time that a reading may take; what has not answered by then is left out and asked again later."""
    node_exporter_names: bool = False
    """Also give the numbers under the names of node_exporter, `node_*`."""
    procfs: str = "/proc"
    """Where procfs is mounted; in a container that has the host's mounted, such as `/host/proc`."""
    sysfs: str = "/sys"
    """Where sysfs is mounted."""
    rootfs: str = "/"
    """Where the root of the host is mounted; mount points are looked at below it and named without it."""


class Health(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Health checks."""

    interval: Duration = Duration("30s")
    """Time between two runs of a check."""
    timeout: Duration = Duration("5s")
    """Time that a check has, before it counts as failed."""
    cache_ttl: Duration = Duration("60s")
    """A result older than this counts as unknown; for a check whose interval is longer, older than two intervals
    and its timeout."""
    built_in: tuple[BuiltIn, ...] = BUILT_IN
    """The checks that need no entry: the watched directory, its disk's space and inodes, memory, the main loop, and
    the streams. An entry of the same name replaces one."""
    check: tuple[Check, ...] = ()
    """Further checks."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """The whole configuration. Only app and cli see it; everybody else gets a section."""

    files: Files = Files()
    rotation: Rotation = Rotation()
    retention: Retention = Retention()
    stream: tuple[StreamRule, ...] = ()
    agent: AgentSection = AgentSection()
    web: Web = Web()
    system: System = System()
    health: Health = Health()
    forward: tuple[Forward, ...] = ()
    alerts: Alerts = Alerts()
    alert: tuple[Alert, ...] = ()
    notifier: tuple[Notification, ...] = ()

    def rules_for(self, stream_name: str) -> tuple[Rotation, Retention]:
        """The rotation and retention of the stream with this path below the watched directory."""
        for rule in self.stream:
            if matches((rule.match,), stream_name):
                return rule.rotation or self.rotation, rule.retention or self.retention
        return self.rotation, self.retention

    @property
    def state_path(self) -> str:
        """The state directory's path, wherever it was configured."""
        return os.path.join(self.files.directory, self.agent.state_directory or STATE_DIRECTORY)


PROFILES: dict[str, dict[str, str]] = {
    "development": {"system.interval": "5s", "health.interval": "10s", "agent.log_format": "console"},
    "production": {"system.interval": "15s", "health.interval": "30s", "agent.log_format": "json"},
    "high-load": {"system.interval": "30s", "health.interval": "60s", "agent.log_format": "json"},
}
"""What each profile sets, below every key that is given."""

RESTART_KEYS = frozenset(
    {
        "files.directory",
        "files.recursive",
        "agent.state_directory",
        "agent.user",
        "agent.log_format",
        "agent.memory_limit",
        "agent.nice",
        "agent.ionice",
        "agent.service_version",
        "web.listen",
        "web.test_endpoints",
    }
)
"""Keys that only a restart brings into force, beside every key of `[[forward]]`."""


def needs_restart(key: str) -> bool:
    """True when only a restart brings a changed key into force."""
    return key in RESTART_KEYS or key.startswith("forward[")
