"""The keys of `[[health.check]]`: those of every check in `Check`, those of a kind in its own struct.

A kind that is not among `KINDS` is a plug-in's: an entry point of the group `PLUGINS`, see `agent.health.check`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, NamedTuple, get_args

import msgspec
from msgspec import Meta

from agent.kit.units import Duration, Share, Size

PLUGINS = "telemetry_agent.checks"
"""The entry point group in which a package offers kinds of its own."""

Scope = Literal["auto", "host", "container"]
Secret = Meta(extra={"secret": True})
Url = Meta(extra={"url": True})
_STREAK = re.compile(r"([1-9][0-9]{0,2})(?: of ([1-9][0-9]{0,2}))?")


class Streak(NamedTuple):
    """How many of the last so many results must be bad."""

    needed: int
    of: int


class Check(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys that every check has."""

    kind: Annotated[str, Meta(examples=["clock"])]
    """What is looked at: `disk`, `memory`, `cpu`, `load`, `pressure`, `http`, `tcp`, `dns`, `process`, `command`,
    `file`, `directory`, `stream`, `collector`, `sink`, `clock`, `loop`, `telemetry`, or a plug-in's."""
    name: Annotated[str, Meta(examples=["time"])]
    """Name in metrics, status and logs: letters, digits, `_` and `-`; unique. One of a check that is built in
    replaces it. `disk_space`, `memory`, `database`, `external_api` and `ffmpeg` also get a metric
    `<name>_health_status`."""
    interval: Duration | None = None
    """Time between two runs. Empty: that of `[health]`."""
    timeout: Duration | None = None
    """Time that a run may take before it counts as failed. Empty: that of `[health]`."""
    for_: int | str = 3
    """Bad results in a row before the state gets worse; `"3 of 5"` asks for so many among the last five. The first
    result of all counts at once."""
    recover: Annotated[int, Meta(ge=1, le=100)] = 1
    """Better results in a row before the state gets better."""
    severity: Literal["unhealthy", "warning"] = "unhealthy"
    """The worst state that this check may have; with `warning` it never makes the agent unhealthy."""
    action: tuple[str, ...] = ()
    """Command run when the state changes: a list of program and arguments, without a shell, in a clean environment
    that has `TELEMETRY_AGENT_CHECK`, `_STATE`, `_BEFORE` and `_MESSAGE`."""
    action_timeout: Duration = Duration("30s")
    """Time that `action` has before it is killed with everything it started."""
    action_interval: Duration = Duration("5m")
    """Shortest time between two runs of `action`; changes in between do not run it."""

    @property
    def streak(self) -> Streak:
        """`for_` in numbers. Raises ValueError when it is neither a count nor `N of M`."""
        found = _STREAK.fullmatch(str(self.for_))
        if not found:
            raise ValueError(f'is {self.for_!r}, neither a count such as 3 nor text such as "3 of 5"')
        needed, of = int(found[1]), int(found[2] or found[1])
        if of < needed:
            raise ValueError(f"is {self.for_!r}, more of less")
        return Streak(needed, of)


class Levels(Check, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys of checks that compare a share of a whole with limits."""

    warn: Share | None = Share("80%")
    """From here on it is a warning."""
    critical: Share | None = Share("90%")
    """From here on it is unhealthy."""
    margin: Share | None = Share("5%")
    """How far below a limit the number must fall before the state gets better, as a part of the limit."""


class Disk(Levels, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Space and inodes in use on the file system that holds a path."""

    path: Annotated[str, Meta(examples=["/var/lib/telemetry"])]
    """A file or directory on it."""
    warn: Share | None = Share("85%")
    """From here on it is a warning."""
    critical: Share | None = Share("95%")
    """From here on it is unhealthy."""
    inodes: bool = True
    """Also judge inodes by the same limits, where the file system counts them."""


class Memory(Levels, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Memory in use, of the machine or of the own container against its limit."""

    scope: Scope = "auto"
    """Whose memory; `auto` is the container where it has a limit, else the host."""
    warn: Share | None = Share("90%")
    """From here on it is a warning."""
    critical: Share | None = Share("95%")
    """From here on it is unhealthy."""


class Cpu(Levels, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The busy share of all CPUs between two runs."""

    warn: Share | None = Share("90%")
    """From here on it is a warning."""
    critical: Share | None = None
    """From here on it is unhealthy."""


class Load(Check, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Load average over 5 minutes, divided by the number of CPUs."""

    warn: float | None = 2.0
    """From here on it is a warning."""
    critical: float | None = 4.0
    """From here on it is unhealthy."""
    margin: Share | None = Share("10%")
    """How far below a limit the number must fall before the state gets better, as a part of the limit."""


class Pressure(Levels, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Share of the last minute in which tasks waited for a resource (pressure stall information)."""

    resource: Literal["cpu", "memory", "io"] = "memory"
    """What they waited for."""
    scope: Scope = "auto"
    """Whose tasks; `auto` is the container where it tells, else the host."""
    tasks: Literal["some", "full"] = "some"
    """`some`: at least one task waited; `full`: all of them."""
    warn: Share | None = Share("20%")
    """From here on it is a warning."""
    critical: Share | None = Share("60%")
    """From here on it is unhealthy."""


class Tls(Check, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys of checks that may speak TLS."""

    verify: bool = True
    """Verify the certificate; without this its expiry is not judged."""
    ca_file: str = ""
    """Certificates to trust, PEM. Empty: the system's."""
    expiry_warn: Duration | None = Duration("14d")
    """A certificate that is valid for less than this is a warning."""
    warn: Duration | None = None
    """An answer that takes this long is a warning."""


class Http(Tls, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An HTTP or HTTPS endpoint; redirects are not followed, proxies not used."""

    url: Annotated[str, Secret, Meta(examples=["http://127.0.0.1:8080/ready"])]
    """What is asked; hidden where the configuration is shown, as it may hold a token."""
    http_method: Literal["GET", "HEAD"] = "GET"
    """How it is asked."""
    status: tuple[str, ...] = ("2xx", "3xx")
    """Status codes that are fine, `204` or `2xx`."""
    body: str = ""
    """Regular expression that the first 64 KiB of the answer must contain. Empty: any answer."""
    headers: Annotated[tuple[str, ...], Secret] = ()
    """Headers to send, `Name: value`."""


class Tcp(Tls, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server that accepts connections."""

    address: Annotated[str, Meta(examples=["127.0.0.1:5432"])]
    """`HOST:PORT`, `[IPV6]:PORT` or `unix:/path`."""
    tls: bool = False
    """Also shake hands over TLS."""
    server_name: str = ""
    """Name that the certificate must have. Empty: the host of `address`."""


class Dns(Check, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name that can be resolved by the system's resolver."""

    hostname: Annotated[str, Meta(examples=["collector.example.org"])]
    """The name."""
    expect: tuple[str, ...] = ()
    """Addresses of which at least one must be in the answer. Empty: any."""


class Process(Check, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Processes that run."""

    command_line: Annotated[str, Meta(examples=["otelcol.*--config"])]
    """Regular expression found in the command line, arguments separated by blanks."""
    at_least: Annotated[int, Meta(ge=0)] = 1
    """How many must run."""
    at_most: Annotated[int | None, Meta(ge=0)] = None
    """How many may run."""


class Command(Check, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command: its exit status and output."""

    command: Annotated[tuple[str, ...], Meta(examples=[("ffmpeg", "-version")])]
    """List of program and arguments, run without a shell, in a clean environment, killed as a group."""
    exit_status: Annotated[int, Meta(ge=0, le=255)] = 0
    """The exit status that is fine."""
    output: str = ""
    """Regular expression that the first 64 KiB of output must contain. Empty: any output."""
    plugin: bool = False
    """The command is a monitoring plug-in: 0 healthy, 1 warning, 2 unhealthy, anything else unknown."""


class File(Check, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file: that it is there, fresh, and of a size."""

    path: Annotated[str, Meta(examples=["/var/lib/backup/last"])]
    """The file."""
    exists: bool = True
    """`false`: it must not be there."""
    max_age: Duration | None = None
    """Unhealthy when it was not modified for longer than this."""
    min_size: Size | None = None
    """Unhealthy when it is smaller."""
    max_size: Size | None = None
    """Unhealthy when it is larger."""


class Directory(Check, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a directory takes on disk, with everything below it."""

    path: Annotated[str, Meta(examples=["/var/log/app"])]
    """The directory."""
    warn: Size | None = None
    """From here on it is a warning."""
    critical: Size | None = None
    """From here on it is unhealthy."""
    margin: Share | None = Share("5%")
    """How far below a limit the size must fall before the state gets better, as a part of the limit."""


class Stream(Check, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Watched telemetry files: overdue, refused, and what the keys say is a warning; a failing seal is unhealthy."""

    match: str = "*"
    """Pattern of the streams, as in `files.include`."""
    present: bool = False
    """At least one stream must match."""
    lost: bool = True
    """Judge bytes lost since the run before."""
    max_idle: Duration | None = None
    """Longest time without growth."""
    max_growth: Size | None = None
    """Most bytes a minute."""
    signals: tuple[str, ...] = ()
    """Signals that may be in it, of `traces`, `logs` and `metrics`. Empty: any."""


class Collector(Check, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An OpenTelemetry Collector: its health_check endpoint and its own metrics."""

    url: Annotated[str, Url] = "http://127.0.0.1:13133/"
    """Its health_check extension. Empty: not asked."""
    metrics_url: Annotated[str, Url] = ""
    """Its own metrics as Prometheus reads them, such as http://127.0.0.1:8888/metrics. Empty: not asked."""
    queue_warn: Share = Share("80%")
    """A sending queue filled this far is a warning; so is everything it refused or failed to send since the run
    before."""


class Sink(Check, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the agent sends to: the state that its consumer reports."""

    sink: Annotated[str, Meta(examples=["otlp"])]
    """Name of the agent's part, as /health lists it."""


class Clock(Check, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The machine's clock: that it is synchronised, and does not jump."""

    synchronised: bool = True
    """The kernel must say that something keeps the clock right."""
    max_error: Duration = Duration("1s")
    """Largest error the kernel may estimate, and largest jump between two runs."""


class Loop(Check, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The agent's own main loop: how long it has not come round."""

    warn: Duration = Duration("3s")
    """From here on it is a warning."""
    critical: Duration = Duration("10s")
    """From here on it is unhealthy."""


class Telemetry(Check, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The watched directory: that it is there, is the one the agent opened, may be written, and is not critical."""


class Plugin(Check, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind that another package brings, by an entry point of the group `telemetry_agent.checks`."""

    options: Annotated[dict[str, Any], Secret] = {}
    """Its own keys, checked by the plug-in; hidden where the configuration is shown."""


KINDS: dict[str, type[Check]] = {
    "disk": Disk,
    "memory": Memory,
    "cpu": Cpu,
    "load": Load,
    "pressure": Pressure,
    "http": Http,
    "tcp": Tcp,
    "dns": Dns,
    "process": Process,
    "command": Command,
    "file": File,
    "directory": Directory,
    "stream": Stream,
    "collector": Collector,
    "sink": Sink,
    "clock": Clock,
    "loop": Loop,
    "telemetry": Telemetry,
}

BuiltIn = Literal["telemetry_directory", "disk_space", "memory", "main_loop", "streams"]
BUILT_IN: tuple[BuiltIn, ...] = get_args(BuiltIn)
