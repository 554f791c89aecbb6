"""The sink that speaks OTLP/HTTP (protocol specification 1.11).

One batch is one POST of one signal. The body is the records' own bytes, joined into one export request; the same
batch gives the same bytes, compressed too, however often it is sent. What the answer means is the specification's
decision (OTLP/HTTP Response), not the server's text: four statuses may be retried, a partial success never.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote_to_bytes

import httpx
from isal import isal_zlib

from agent import __version__
from agent.kit.clock import Clock
from agent.kit.errors import ConfigError, printable
from agent.kit.retry import parse_retry_after
from agent.otlp import answer as answers
from agent.otlp import protobuf
from agent.otlp.envelope import Signal, join, pieces
from agent.sinks.base import ErrorClass, Outcome, Reject, Retry, TooLarge
from agent.sinks.http import Answer, HttpClient, Tls, place
from agent.streams.batch import Batch

USER_AGENT = f"telemetry-agent/{__version__} OTel-OTLP-Exporter-Python/{__version__}"

_GZIP_LEVEL = 2
_GZIP_WINDOW = 31
_OWN = frozenset({"content-type", "content-encoding", "content-length", "transfer-encoding", "host", "connection"})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD = re.compile(r"[\t\x20-\x7e]*")
_HINTS = {
    ErrorClass.UNAUTHORIZED: "check the credentials in `headers`",
    ErrorClass.NOT_FOUND: 'is OTLP/HTTP served at this path? For gRPC, port 4317, write encoding = "grpc"',
    ErrorClass.UNSUPPORTED: 'try encoding = "protobuf", or compression = "none"',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OtlpOptions:
    """Where to and how. Whatever may hold a secret is left out of the repr."""

    endpoint: str = field(default="http://127.0.0.1:4318", repr=False)
    """Base URL; `/v1/traces`, `/v1/logs` or `/v1/metrics` is added to its path."""
    signal_endpoints: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Whole URLs by signal, used as they are; they win over `endpoint`."""
    encoding: Literal["json", "protobuf", "grpc"] = "json"
    compression: Literal["gzip", "none"] = "gzip"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = 10.0
    """Seconds for a whole request with its answer."""
    tls: Tls = field(default_factory=Tls)
    proxy: str = field(default="", repr=False)
    """URL of an HTTP proxy; empty goes straight there, whatever the environment says."""
    connections: int = 16
    """Parallel connections at most."""
    max_request: int = 64 << 20
    """Bytes of a body before compression; what is larger is not sent (OTLP exporter, Max Request Size)."""
    max_response: int = 4 << 20
    """Bytes of an answer, also after decompression; what is larger is not looked at."""


class OtlpSink:
    """Delivers batches of one signal each to one OTLP/HTTP receiver."""

    def __init__(self, options: OtlpOptions, clock: Clock) -> None:
        """Check everything that can be checked without a connection; ConfigError says what is wrong."""
        self._options = options
        self._clock = clock
        self._urls = {signal: _signal_url(options, signal) for signal in Signal}
        self._headers = {signal: _headers(options, url) for signal, url in self._urls.items()}
        self._encoders = encoders(options.encoding)
        secure = any(url.scheme == "https" for url in self._urls.values())
        self._client = HttpClient(
            timeout=options.timeout,
            tls=options.tls if secure else None,
            proxy=options.proxy,
            connections=options.connections,
            max_response=options.max_response,
        )
        # A sink is made for all signals alike, or for one whose endpoint may be its own.
        self.destination = place(parse_url(next(iter(options.signal_endpoints.values()), options.endpoint)))

    def __repr__(self) -> str:
        return f"<OtlpSink {self.destination} {self._options.encoding} {self._options.compression}>"

    def encode(self, batch: Batch) -> bytes:
        """The request, compressed. Raises Reject where protobuf cannot say it, TooLarge above `max_request`."""
        gzip = None
        if self._options.compression == "gzip":
            gzip = isal_zlib.compressobj(_GZIP_LEVEL, isal_zlib.DEFLATED, _GZIP_WINDOW)
        size = 0
        body: list[bytes] = []
        for piece in self._pieces(batch):
            size += len(piece)
            if size <= self._options.max_request:  # the limit is on the body as encoded, and protobuf is shorter
                body.append(gzip.compress(piece) if gzip else piece)
        if size > self._options.max_request:
            raise TooLarge(f"the request would have {size} bytes, {self._options.max_request} are allowed")
        if gzip:
            body.append(gzip.flush())
        return b"".join(body)

    async def send(self, batch: Batch, body: bytes) -> Outcome:
        """One POST; raises Retry, Reject or TooLarge by the answer's status."""
        signal = Signal(batch.signal)
        url = self._urls[signal]
        answer = await self._client.post(url, self._headers[signal], body)
        if 200 <= answer.status < 300:
            return _accepted(answer, len(body))
        raise self._refused(answer, url)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _pieces(self, batch: Batch) -> Iterable[bytes]:
        encode = self._encoders.get(batch.signal)
        if encode is None:
            return pieces(batch.records, batch.signal)
        try:
            return (encode(join(batch.records, batch.signal)),)
        except ValueError as error:
            raise Reject(f"the batch cannot be encoded: {error}", ErrorClass.BAD_DATA) from error

    def _refused(self, answer: Answer, url: httpx.URL) -> Retry | Reject:
        kind = ErrorClass.of_status(answer.status)
        said = answers.error_message(answer.body or b"", answer.headers.get("content-type", ""))
        reason = f"{answer.status} from {place(url)}" + (f": {one_line(said)}" if said else "")
        if kind is ErrorClass.TOO_LARGE:
            return TooLarge(reason)
        if kind.transient:
            after = parse_retry_after(answer.headers.get("retry-after"), self._clock.now())
            return Retry(reason, kind, after=after)
        if kind is ErrorClass.REDIRECTED:
            return Reject(reason, kind, hint=_redirect_hint(answer, url))
        return Reject(reason, kind, hint=_HINTS.get(kind, ""))


def _accepted(answer: Answer, sent: int) -> Outcome:
    said = None
    if answer.body is not None:
        said = answers.parse(answer.body, answer.headers.get("content-type", ""))
    if said is None:
        return Outcome(discarded=True, sent_bytes=sent)
    return Outcome(rejected=said.rejected, message=one_line(said.message), sent_bytes=sent)


def one_line(text: str) -> str:
    """A stranger's words, fit for a log line."""
    return printable(" ".join(text[:400].split()))[:200]


def _redirect_hint(answer: Answer, url: httpx.URL) -> str:
    try:
        target = place(url.join(answer.headers.get("location", "")))
    except httpx.InvalidURL:
        target = "elsewhere"
    return f"requests are not sent on to {printable(target)}: configure the URL that takes them"


def parse_url(text: str) -> httpx.URL:
    """A URL with a scheme and a host. Raises ConfigError."""
    # The text is not repeated in an error, nor is httpx's complaint, which quotes from it: it may hold a password.
    hint = "write it as http://host:4318"
    try:
        url = httpx.URL(text)
        host = url.host  # UnicodeError for an international name (xn--) that is none
    except (httpx.InvalidURL, UnicodeError):
        raise ConfigError("the endpoint is no URL with a valid host", hint=hint) from None
    if url.scheme not in ("http", "https") or not host:
        raise ConfigError("the endpoint needs a scheme and a host", hint=hint)
    if url.port is not None and not 0 < url.port < 65536:
        raise ConfigError("the endpoint has a port that there is not", hint=hint)
    return url


def _signal_url(options: OtlpOptions, signal: Signal) -> httpx.URL:
    own = options.signal_endpoints.get(signal)
    if own:
        return parse_url(own)
    base = parse_url(options.endpoint)
    path, mark, query = base.raw_path.partition(b"?")
    return base.copy_with(raw_path=path.rstrip(b"/") + f"/v1/{signal}".encode() + mark + query)


def _headers(options: OtlpOptions, url: httpx.URL) -> httpx.Headers:
    # Names in their usual spelling: there are receivers that look for `Content-Type` in exactly these letters.
    media = "application/x-protobuf" if options.encoding == "protobuf" else "application/json"
    headers = httpx.Headers({"User-Agent": USER_AGENT, "Accept": media, "Accept-Encoding": "identity"})
    headers["Content-Type"] = media
    if options.compression == "gzip":
        headers["Content-Encoding"] = "gzip"
    if url.userinfo:
        headers["Authorization"] = basic(url)
    for name, value in options.headers.items():
        if not _TOKEN.fullmatch(name) or name.lower() in _OWN:
            raise ConfigError(f"the header {printable(name)!r} cannot be set", hint="names are HTTP tokens")
        if not _FIELD.fullmatch(value):
            hint = "values are one line of ASCII; does the file it comes from end in a line feed?"
            raise ConfigError(f"the value of the header {name!r} cannot be sent", hint=hint)
        headers[name] = value.strip()
    return headers


def basic(url: httpx.URL) -> str:
    """Credentials in the URL are basic authentication (RFC 7617)."""
    return "Basic " + base64.b64encode(unquote_to_bytes(url.userinfo)).decode("ascii")


def encoders(encoding: str) -> dict[str, Callable[[bytes], bytes]]:
    """What turns a request of each signal into protobuf; empty for JSON. Raises ConfigError without the package."""
    if encoding == "json":
        return {}
    try:
        return {signal: protobuf.encoder(signal) for signal in Signal}
    except ImportError as error:
        hint = f"pip install 'telemetry-agent[{encoding}]'"
        raise ConfigError(f'encoding = "{encoding}" needs the package opentelemetry-proto', hint=hint) from error
