"""The keys of `[[forward]]`: where telemetry is delivered to, and how patiently."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from agent.config.match import hidden, matches
from agent.config.processing import Add, Filter, Limit, Redact, Sample
from agent.config.rules import Retention, Rotation
from agent.kit.units import Duration, Share, Size

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What a forward may be called: the name is part of file names."""

Positive = Annotated[int, Meta(ge=1)]


class Batching(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How records are put together. A batch ends at whichever limit comes first; a record is never divided."""

    max_bytes: Size = Size("4MiB")
    """Bytes of records in a batch; a longer record travels alone."""
    max_records: Positive = 10_000
    """Records in a batch."""
    max_delay: Duration = Duration("500ms")
    """How long a record waits for others, from the moment in which it was noticed."""
    in_flight: Positive = 2
    """Batches on their way at once; after a crash at most so many are sent twice. Console and file take one. Small
    batches share a write of their bounds to disk with so many others, so a higher number makes them faster."""


class Retrying(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often what failed for a passing reason is tried again. A server's `Retry-After` is obeyed up to `maximum`."""

    initial: Duration = Duration("1s")
    """Wait after the first failure."""
    maximum: Duration = Duration("60s")
    """Longest wait."""
    multiplier: Annotated[float, Meta(ge=1)] = 2.0
    """Growth of the wait from one failure to the next."""
    jitter: str = "25%"
    """Spread of each wait at random: `25%` is from three quarters to five quarters of it, `full` from nothing to all
    of it, `0%` none."""
    max_attempts: Annotated[int, Meta(ge=0, extra={"off": 0})] = 0
    """Tries in all, then the records are dead letters; 0 tries for ever."""

    @property
    def spread(self) -> float | Literal["full"]:
        """`jitter` as a share from 0 to 1, or `full`. Raises ValueError when it is neither."""
        if self.jitter == "full":
            return "full"
        return 0.0 if self.jitter == "0%" else float(Share(self.jitter))


class Breaking(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The circuit breaker of each endpoint: one that fails again and again is left alone for a while."""

    failures: Positive = 5
    """Failures in a row that open it. Environment: CIRCUIT_BREAKER_FAILURE_THRESHOLD."""
    recovery: Duration = Duration("60s")
    """Time until one request goes out to see whether it works again. Environment: CIRCUIT_BREAKER_RECOVERY_TIMEOUT,
    in seconds."""


class Unsent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What retention may do with segments that this forward has not delivered yet.

    The classic bound of 10,000 records or 5 minutes is about `max_bytes = "10MB"`, `max_age = "5m"`,
    `when_full = "drop_oldest"`.
    """

    when_full: Literal["keep", "drop_oldest"] = "keep"
    """`keep`: nothing is deleted before it was delivered, and a backlog beyond the bounds makes the agent unhealthy.
    `drop_oldest`: a segment beyond the bounds is no longer protected from `[retention]`, and none is from
    `retention.min_free`; what is deleted so is counted as lost, reason `unsent`."""
    max_bytes: Size | None = None
    """Bytes of records that may wait, of each stream."""
    max_age: Duration | None = None
    """How long a segment may wait."""


class TlsFiles(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to trust an https endpoint, and how to show who we are."""

    ca_file: str = ""
    """PEM file of the only authorities to trust. Empty: the system's. Environment:
    OTEL_EXPORTER_OTLP_CERTIFICATE."""
    cert_file: str = ""
    """PEM file with our certificate, for a server that asks for one."""
    key_file: str = ""
    """PEM file with its key, without a passphrase. Empty: it is in `cert_file`."""
    verify: bool = True
    """`false` accepts any certificate: for a test, never for data."""


class SignalRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is different for one signal; empty keys are as in `[[forward]]`.

    Environment: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT and its siblings, also for LOGS and METRICS.
    """

    endpoint: Annotated[str, Meta(extra={"url": True})] = ""
    """Whole URL, used as it is, instead of `endpoints`."""
    encoding: Literal["", "json", "protobuf", "grpc"] = ""
    """Encoding of requests."""
    compression: Literal["", "gzip", "none"] = ""
    """Compression of requests."""
    headers: Annotated[dict[str, str], Meta(extra={"secret": True})] = {}
    """Headers sent beside those of `[[forward]]`."""
    timeout: Duration = Duration(0)
    """Time for a request; 0 is as in `[[forward]]`."""
    ca_file: str = ""
    """PEM file of the only authorities to trust."""


class Forward(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A destination of records. Each has cursors of its own, and none waits for another.

    The variables of the OpenTelemetry specification that are named here give what neither the file nor a
    TELEMETRY_AGENT__ variable gives, to every forward of the kind `otlp`.
    """

    name: Annotated[str, Meta(examples=["collector"])]
    """Name in cursors, dead letters and metrics: letters, digits, `_` and `-`. Another name starts anew."""
    kind: Literal["otlp", "console", "file"] = "otlp"
    """`otlp` sends to an OTLP receiver, `console` writes lines to standard output, `file` to files of the same
    names in another directory, which are rotated, compressed and cleaned too."""
    match: tuple[str, ...] = ("*.json", "*.jsonl", "*.ndjson")
    """Patterns of the streams that are delivered, as in `files.include`."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where the first run begins in streams that are there already."""
    endpoints: Annotated[tuple[str, ...], Meta(extra={"url": True})] = ("http://127.0.0.1:4318",)
    """Base URLs of OTLP receivers in order of preference: the next one is used while those before it fail.
    `/v1/traces`, `/v1/logs` or `/v1/metrics` is added; for gRPC the URL has no path, and `https` means TLS. User and
    password in one are sent as basic authentication, and hidden where the configuration is shown, as is a query.
    Environment: OTEL_EXPORTER_OTLP_ENDPOINT."""
    encoding: Literal["json", "protobuf", "grpc"] = "json"
    """Encoding of requests; `grpc` is protobuf over gRPC, for which the default endpoint is `http://127.0.0.1:4317`.
    Environment: OTEL_EXPORTER_OTLP_PROTOCOL (`http/json`, `http/protobuf`, `grpc`)."""
    compression: Literal["gzip", "none"] = "gzip"
    """Compression of requests. Environment: OTEL_EXPORTER_OTLP_COMPRESSION."""
    headers: Annotated[dict[str, str], Meta(extra={"secret": True})] = {}
    """Headers of requests, as `{ authorization = "Bearer ${env:TOKEN}" }`; `${env:NAME}` stands for a variable,
    `${file:/run/secrets/token}` for the content of a file. Environment: OTEL_EXPORTER_OTLP_HEADERS."""
    timeout: Duration = Duration("10s")
    """Time for a request with its answer. Environment: OTEL_EXPORTER_OTLP_TIMEOUT, in milliseconds."""
    proxy: Annotated[str, Meta(extra={"secret": True})] = ""
    """URL of an HTTP proxy. Empty: none, whatever HTTP_PROXY says."""
    directory: str = ""
    """Where the kind `file` writes; outside the watched directory and those of other forwards."""
    max_record: Size = Size("64MiB")
    """A longer record is a dead letter, of which the first 64 KiB are kept."""
    dead_letters: Size = Size("32MB")
    """Space for records that were refused for good; the oldest go when it is used up, the newest never."""
    batch: Batching = Batching()
    """How records are put together."""
    retry: Retrying = Retrying()
    """How often a failure is tried again."""
    breaker: Breaking = Breaking()
    """When an endpoint is left alone."""
    unsent: Unsent = Unsent()
    """What may be deleted before it was delivered."""
    tls: TlsFiles = TlsFiles()
    """Certificates."""
    traces: SignalRule = SignalRule()
    """What is different for traces."""
    logs: SignalRule = SignalRule()
    """What is different for logs."""
    metrics: SignalRule = SignalRule()
    """What is different for metrics."""
    filter: Filter = Filter()
    """Which resources are delivered."""
    sample: Sample = Sample()
    """Which traces are delivered."""
    redact: Redact = Redact()
    """What is kept secret."""
    limit: Limit = Limit()
    """How much spans and log records carry."""
    add: Add = Add()
    """Attributes of every resource."""
    # Loaded, these hold whole sections, as in [[stream]].
    rotation: Rotation | None = None
    """Keys of `[rotation]` for the files of the kind `file`."""
    retention: Retention | None = None
    """Keys of `[retention]` for the files of the kind `file`."""

    def selects(self, path: str) -> bool:
        """True when the stream at this path below the watched directory is delivered."""
        return not hidden(path) and matches(self.match, path)
