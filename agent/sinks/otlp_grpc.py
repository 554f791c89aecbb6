"""The sink that speaks OTLP/gRPC (protocol specification 1.11), through grpcio.

One batch is one call of one signal's Export. Which codes may be retried is the specification's decision (OTLP/gRPC,
Failures): six, and RESOURCE_EXHAUSTED only with a RetryInfo. Retries and waits are the delivery loop's business:
grpcio's own are switched off, and so is the proxy of the environment, as in `agent.sinks.http`.
"""

from __future__ import annotations

import os
import re
import ssl
from typing import Any
from urllib.parse import urlsplit

import grpc
import grpc.aio
import httpx

from agent.kit.errors import ConfigError, printable
from agent.otlp import answer as answers
from agent.otlp.envelope import Signal, join
from agent.sinks.base import ErrorClass, Outcome, Reject, Retry, TooLarge
from agent.sinks.http import Tls
from agent.sinks.otlp import USER_AGENT, OtlpOptions, basic, encoders, one_line, parse_url
from agent.streams.batch import Batch

PORT = 4317

_METHODS = {
    Signal.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    Signal.LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    Signal.METRICS: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
_CODES = {
    # -- these may pass (OTLP/gRPC, Failures)
    grpc.StatusCode.CANCELLED: ErrorClass.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: ErrorClass.TIMEOUT,
    grpc.StatusCode.ABORTED: ErrorClass.UNAVAILABLE,
    grpc.StatusCode.OUT_OF_RANGE: ErrorClass.UNAVAILABLE,
    grpc.StatusCode.UNAVAILABLE: ErrorClass.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS: ErrorClass.UNAVAILABLE,
    # -- these will not
    grpc.StatusCode.RESOURCE_EXHAUSTED: ErrorClass.CLIENT_ERROR,
    grpc.StatusCode.INVALID_ARGUMENT: ErrorClass.BAD_DATA,
    grpc.StatusCode.UNAUTHENTICATED: ErrorClass.UNAUTHORIZED,
    grpc.StatusCode.PERMISSION_DENIED: ErrorClass.UNAUTHORIZED,
    grpc.StatusCode.UNIMPLEMENTED: ErrorClass.NOT_FOUND,
    grpc.StatusCode.NOT_FOUND: ErrorClass.NOT_FOUND,
    grpc.StatusCode.INTERNAL: ErrorClass.SERVER_ERROR,
    grpc.StatusCode.UNKNOWN: ErrorClass.SERVER_ERROR,
}
"""Every other code is a CLIENT_ERROR."""
_HINTS = {
    ErrorClass.UNAUTHORIZED: "check the credentials in `headers`",
    ErrorClass.NOT_FOUND: "does the destination serve OTLP/gRPC, and this signal?",
    ErrorClass.UNSUPPORTED: 'try compression = "none"',
    ErrorClass.CLIENT_ERROR: "OTLP allows no retry without a RetryInfo; `dead-letters replay` sends the records later",
}
# There is no code for a message that is too large: grpcio and Go say RESOURCE_EXHAUSTED, others OUT_OF_RANGE, which
# would be retried for ever.
_TOO_LARGE = re.compile(r"larger than max|too large|exceeds (?:the )?max", re.IGNORECASE)
_OWN_LIMIT = re.compile(r"CLIENT: .*larger than max", re.IGNORECASE)
_CONNECTING = (
    (re.compile(r"DNS resolution|name resolution|Domain name not found", re.IGNORECASE), ErrorClass.DNS),
    (re.compile(r"\bssl\b|\btls\b|handshake|certificate", re.IGNORECASE), ErrorClass.TLS),
    (re.compile(r"failed to connect|connection refused|no route|unreachable", re.IGNORECASE), ErrorClass.CONNECT),
    (re.compile(r"socket closed|connection reset|goaway|broken pipe|recvmsg", re.IGNORECASE), ErrorClass.DISCONNECTED),
)
_NOT_GRPC = re.compile(r"http1|parsing http/2|wrong_version", re.IGNORECASE)
_LOST = frozenset({ErrorClass.TIMEOUT, ErrorClass.CONNECT, ErrorClass.DNS, ErrorClass.TLS, ErrorClass.DISCONNECTED})
_NAME = re.compile(r"(?!grpc-)[0-9a-z_.-]+")
_OWN = frozenset({"content-type", "te", "user-agent", "host"})
_VALUE = re.compile(r"[\x20-\x7e]*")
_ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
)  # fmt: skip
"""Where distributions keep the authorities that their administrator trusts (Debian, Fedora, RHEL, SUSE, Alpine)."""


class GrpcSink:
    """Delivers batches of any signal to one OTLP/gRPC receiver."""

    def __init__(self, options: OtlpOptions) -> None:
        """Check everything that can be checked without a connection; ConfigError says what is wrong.

        `signal_endpoints` are not looked at: a sink has one endpoint.
        """
        url = parse_url(options.endpoint)
        if url.path not in ("", "/"):
            raise ConfigError("the endpoint has a path, gRPC has none", hint=f"write it as http://host:{PORT}")
        self._options = options
        self._encoders = encoders("grpc")
        self._metadata = _metadata(options, url)
        self._credentials = _credentials(options.tls) if url.scheme == "https" else None
        host = f"[{url.host}]" if ":" in url.host else url.host
        # Asked of the text: httpx leaves a scheme's usual port out.
        port = urlsplit(options.endpoint).port or (443 if url.scheme == "https" else PORT)
        self._target = f"{host}:{port}"
        self._arguments = _arguments(options)
        self._channel: grpc.aio.Channel | None = None
        self.destination = f"{url.scheme}://{self._target}"

    def __repr__(self) -> str:
        return f"<GrpcSink {self.destination} {self._options.compression}>"

    def encode(self, batch: Batch) -> bytes:
        """The request as protobuf. Raises Reject where protobuf cannot say it, TooLarge above `max_request`."""
        try:
            body = self._encoders[batch.signal](join(batch.records, batch.signal))
        except ValueError as error:
            raise Reject(f"the batch cannot be encoded: {error}", ErrorClass.BAD_DATA) from error
        if len(body) > self._options.max_request:
            raise TooLarge(f"the request would have {len(body)} bytes, {self._options.max_request} are allowed")
        return body

    async def send(self, batch: Batch, body: bytes) -> Outcome:
        """One call; raises Retry, Reject or TooLarge by the answer's code."""
        signal = Signal(batch.signal)
        channel = self._connected()
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_METHODS[signal])
        try:
            answer = await call(body, timeout=self._options.timeout, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and _OWN_LIMIT.search(error.details() or ""):
                return Outcome(discarded=True, sent_bytes=len(body))
            refused = self._refused(error)
            if refused.kind in _LOST:
                await self._forget(channel)
            raise refused from error
        said = answers.parse(answer, "application/x-protobuf")
        if said is None:
            return Outcome(discarded=True, sent_bytes=len(body))
        return Outcome(rejected=said.rejected, message=one_line(said.message), sent_bytes=len(body))

    async def aclose(self) -> None:
        """Close the connection."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def _forget(self, channel: grpc.aio.Channel) -> None:
        """Connect anew next time, when the loop says so.

        A channel would go on trying by itself, and fail calls by the memory of its last try; and a connection on which
        nobody answers is not seen to be dead for a quarter hour.
        """
        if self._channel is channel:
            self._channel = None
            # The other calls on it have their own deadlines, which come first: closing would cancel them.
            await channel.close(grace=self._options.timeout + 1.0)

    def _connected(self) -> grpc.aio.Channel:
        # A channel belongs to the event loop in which it is made.
        if self._channel is None:
            compression = (
                grpc.Compression.Gzip if self._options.compression == "gzip" else grpc.Compression.NoCompression
            )
            make: Any = grpc.aio.secure_channel if self._credentials else grpc.aio.insecure_channel
            given = (self._target, self._credentials) if self._credentials else (self._target,)
            self._channel = make(*given, options=self._arguments, compression=compression)
        return self._channel

    def _refused(self, error: grpc.aio.AioRpcError) -> Retry | Reject:
        code, said = error.code(), error.details() or ""
        reason = f"{code.name} from {self.destination}" + (f": {one_line(said)}" if said else "")
        after = _retry_delay(error)
        kind = _CODES.get(code, ErrorClass.CLIENT_ERROR)
        if code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.OUT_OF_RANGE) and _TOO_LARGE.search(said):
            return TooLarge(reason)
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED and after is not None:
            return Retry(reason, ErrorClass.THROTTLED, after=after)
        if code is grpc.StatusCode.UNAVAILABLE:
            kind = next((one for pattern, one in _CONNECTING if pattern.search(said)), kind)
            hint = "does the destination speak gRPC here? OTLP/HTTP, port 4318, is another protocol"
            return Retry(reason, kind, after=after, hint=hint if _NOT_GRPC.search(said) else "")
        if code is grpc.StatusCode.UNIMPLEMENTED and "compress" in said.lower():
            kind = ErrorClass.UNSUPPORTED
        if kind.transient:
            return Retry(reason, kind, after=after)
        hint = _HINTS.get(kind, "") if kind is not ErrorClass.CLIENT_ERROR or code.name == "RESOURCE_EXHAUSTED" else ""
        return Reject(reason, kind, hint=hint)


def _retry_delay(error: grpc.aio.AioRpcError) -> float | None:
    """What the server asked to wait, in seconds; None when it did not."""
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin":
            return answers.retry_delay(value if isinstance(value, bytes) else value.encode("latin-1"))
    return None


def _arguments(options: OtlpOptions) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = [
        ("grpc.primary_user_agent", USER_AGENT),
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", options.max_response),
    ]
    return [*found, ("grpc.http_proxy", options.proxy) if options.proxy else ("grpc.enable_http_proxy", 0)]


def _metadata(options: OtlpOptions, url: httpx.URL) -> tuple[tuple[str, str], ...]:
    found = {"authorization": basic(url)} if url.userinfo else {}
    for name, value in options.headers.items():
        key = name.lower()
        if not _NAME.fullmatch(key) or key in _OWN or key.endswith("-bin"):
            raise ConfigError(f"the header {printable(name)!r} cannot be set", hint="gRPC takes letters, digits, _ . -")
        if not _VALUE.fullmatch(value):
            hint = "values are one line of ASCII; does the file it comes from end in a line feed?"
            raise ConfigError(f"the value of the header {name!r} cannot be sent", hint=hint)
        found[key] = value.strip()
    return tuple(found.items())


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    if not tls.verify:
        raise ConfigError("tls.verify = false is not possible with gRPC", hint="name the certificate in tls.ca_file")
    tls.context()  # complains of files that cannot be used, which grpcio would find when it connects
    roots = tls.ca_file or ssl.get_default_verify_paths().cafile or next(filter(os.path.exists, _ROOTS), "")
    return grpc.ssl_channel_credentials(
        _content(roots), _content(tls.key_file or tls.cert_file), _content(tls.cert_file)
    )


def _content(path: str) -> bytes | None:
    if not path:
        return None
    with open(path, "rb") as file:
        return file.read()
