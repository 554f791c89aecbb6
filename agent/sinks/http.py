"""One HTTP exchange, held to its limits: a deadline for the whole of it, a bounded answer, and typed failures.

httpx's transport is used without its client: so there are no cookies, no redirects, no decompression without bounds
and nothing from the environment. In particular `HTTP_PROXY` of the surrounding container does not apply (what goes to
a collector on loopback must not leave through a proxy meant for web traffic); a proxy has to be configured. TLS trusts
the system's certificate store, which is where operators put their own authority, unless `ca_file` names another.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import anyio
import httpx

from agent.kit.errors import ConfigError
from agent.sinks.base import ErrorClass, Retry

_IDLE = 30.0
"""Seconds that an unused connection is kept."""
_SOURCE = re.compile(r" \(_ssl\.c:\d+\)$")
"""Where in Python's source an error of TLS was found."""
_TLS_HINTS = (
    (re.compile("WRONG_VERSION_NUMBER|RECORD_LAYER|HTTP_REQUEST"), "TLS is not spoken there: http:// or another port?"),
    (re.compile("expired|not yet valid"), "renew the server's certificate; or is a clock wrong?"),
    (re.compile("mismatch"), "write the endpoint with a name that is in the server's certificate"),
    (re.compile("VERIFY_FAILED"), "name the authority that signed the server's certificate in tls.ca_file"),
    (re.compile("ALERT"), "it refused us: does it ask for a client certificate, and trust that of tls.cert_file?"),
)
_HINTS = {
    ErrorClass.DNS: "is the name right, and known to the resolver of this machine?",
    ErrorClass.PROXY: "the proxy refused: credentials for it belong into its URL",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How to trust the other side, and how to show who we are."""

    ca_file: str = ""
    """PEM file of the only authorities to trust; empty trusts the system's."""
    cert_file: str = ""
    """PEM file with our certificate, for a server that asks."""
    key_file: str = ""
    """PEM file with its unencrypted key; empty when it is in `cert_file`."""
    verify: bool = True
    """False accepts any certificate: for a test, never for data."""

    def context(self) -> ssl.SSLContext:
        """The settings as Python's ssl wants them; ConfigError names a file that cannot be used."""
        for path in filter(None, (self.ca_file, self.cert_file, self.key_file)):
            _look_at(path)
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
        except ssl.SSLError as error:
            hint = "tls.ca_file is a PEM file of certificates"
            raise ConfigError("TLS: no certificate can be read from it", path=self.ca_file, hint=hint) from error
        if self.cert_file:
            try:
                # A password, be it an empty one: without it OpenSSL would ask on the terminal for an encrypted key's.
                context.load_cert_chain(self.cert_file, self.key_file or None, password="")
            except ssl.SSLError as error:
                raise self._no_pair(error) from error
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _no_pair(self, error: ssl.SSLError) -> ConfigError:
        if error.reason == "KEY_VALUES_MISMATCH":
            hint = "tls.key_file must be the key that tls.cert_file was made for"
            return ConfigError("TLS: the key does not belong to the certificate", path=self.cert_file, hint=hint)
        path = self.key_file or self.cert_file
        hint = "tls.cert_file is a PEM certificate; its key is in tls.key_file, or beside it, without a passphrase"
        return ConfigError("TLS: certificate and key cannot be read", path=path, hint=hint)


def _look_at(path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        hint = "it is named in [forward.tls], and must be readable for the agent"
        raise ConfigError(f"TLS: a file cannot be read: {error.strerror}", path=path, hint=hint) from error


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Names in any case."""
    body: bytes | None = field(repr=False)
    """Decompressed; None when it is larger than allowed or its compression is unknown or broken."""


class HttpClient:
    """Sends POSTs over kept connections (HTTP/1.1)."""

    def __init__(
        self,
        *,
        timeout: float = 10.0,
        tls: Tls | None = None,
        proxy: str = "",
        connections: int = 16,
        max_response: int = 4 << 20,
    ) -> None:
        """`timeout`: seconds for a whole exchange. `tls`: None where no URL is https. `proxy`: a URL, or empty.

        `max_response`: bytes of an answer, before and after decompression (OTLP/HTTP Response: 4 MiB). Raises
        ConfigError for TLS files or a proxy that cannot be used.
        """
        self._timeout = timeout
        self._limit = max_response
        self._proxy = proxy
        # Loading the system's authorities costs milliseconds and memory; plain HTTP gets a context that has none.
        context = tls.context() if tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        limits = httpx.Limits(
            max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=_IDLE
        )
        try:
            self._transport = httpx.AsyncHTTPTransport(
                verify=context, trust_env=False, limits=limits, proxy=httpx.Proxy(proxy) if proxy else None
            )
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            raise ConfigError("the proxy cannot be used", hint="give http://host:port or https://host:port") from error

    async def post(self, url: httpx.URL, headers: httpx.Headers, body: bytes) -> Answer:
        """Send and read the answer, whatever its status. Raises Retry when there is none."""
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), self._timeout)
        request = httpx.Request("POST", url, headers=headers, content=body, extensions={"timeout": timeouts})
        answer: Answer | None = None
        try:
            with anyio.fail_after(self._timeout):
                response = await self._transport.handle_async_request(request)
                answer = Answer(response.status_code, response.headers, b"")
                try:
                    return Answer(answer.status, answer.headers, await self._read(response))
                finally:
                    await response.aclose()
        except (httpx.TransportError, OSError) as error:
            # A refusal stands even when its explanation breaks off. A success does not: what it says may be lost.
            if answer is not None and not 200 <= answer.status < 300:
                return answer
            raise _failure(error, url, self._timeout, self._proxy) from error

    async def _read(self, response: httpx.Response) -> bytes | None:
        body = bytearray()
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > self._limit:
                return None
        return _inflate(bytes(body), response.headers.get("content-encoding", ""), self._limit)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()


def place(url: httpx.URL) -> str:
    """A URL for people: without credentials and without a query, which may hold some."""
    return str(url.copy_with(userinfo=b"", query=None, fragment=None))


def _inflate(body: bytes, encoding: str, limit: int) -> bytes | None:
    if not body or encoding.lower() in ("", "identity"):
        return body
    if encoding.lower() not in ("gzip", "x-gzip", "deflate"):
        return None
    stream = zlib.decompressobj(wbits=47)
    try:
        plain = stream.decompress(body, limit + 1)
    except zlib.error:
        return None
    return plain if stream.eof and len(plain) <= limit else None


def _failure(error: Exception, url: httpx.URL, timeout: float, proxy: str) -> Retry:
    kind = _kind(error)
    if kind is ErrorClass.TIMEOUT:
        return Retry(f"no whole answer from {place(url)} within {timeout:g} s", kind)
    cause = next((said for one in reversed(list(_causes(error))) if (said := _said(one))), type(error).__name__)
    if proxy and kind in (ErrorClass.CONNECT, ErrorClass.DNS):
        # It is the proxy's name that was looked up, and its port that was tried.
        what = f"cannot reach {place(url)}: its proxy {place(httpx.URL(proxy))} cannot be reached: {cause}"
        return Retry(what, ErrorClass.PROXY)
    verb = "lost the connection to" if kind is ErrorClass.DISCONNECTED else "cannot reach"
    return Retry(f"{verb} {place(url)}: {cause}", kind, hint=_hint(error, kind, cause, url))


def _hint(error: Exception, kind: ErrorClass, cause: str, url: httpx.URL) -> str:
    """What to look at; empty where there is nothing better than the general advice."""
    if kind is ErrorClass.TLS:
        return next((hint for pattern, hint in _TLS_HINTS if pattern.search(cause)), "")
    if kind is ErrorClass.DISCONNECTED and url.scheme == "https":
        return "if it asks for client certificates: is tls.cert_file there, of an authority that it trusts?"
    if isinstance(error, httpx.RemoteProtocolError):
        return "is it HTTP that is spoken there? TLS needs https://, and port 4317 is gRPC's"
    return _HINTS.get(kind, "")


def _said(error: BaseException) -> str:
    """The system's own words where it was the system: asyncio's do not say "refused"."""
    if isinstance(error, ssl.SSLError):
        return _SOURCE.sub("", str(error))
    if not isinstance(error, OSError) or not error.errno:
        return str(error)
    return str(error.strerror) if isinstance(error, socket.gaierror) else os.strerror(error.errno)


def _kind(error: Exception) -> ErrorClass:
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return ErrorClass.TIMEOUT
    if isinstance(error, httpx.ProxyError):
        return ErrorClass.PROXY
    for cause in _causes(error):
        if isinstance(cause, socket.gaierror):
            return ErrorClass.DNS
        if isinstance(cause, ssl.SSLError):
            return ErrorClass.TLS
    return ErrorClass.CONNECT if isinstance(error, httpx.ConnectError) else ErrorClass.DISCONNECTED


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, outermost first."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__ or one.__context__
