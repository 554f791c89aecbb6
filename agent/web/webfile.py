"""The web configuration file: TLS, client certificates, passwords, headers, a rate limit.

Its keys are those of Prometheus' exporter-toolkit (docs/web-configuration.md), so that one file guards an exporter and
this agent. A key or value that Python's TLS or this server cannot honour is an error that names it: a door that is
less closed than its file says must not open. Paths in the file are relative to the file's directory.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable

import msgspec

from agent.kit.errors import ConfigError

_BCRYPT = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
_INTERVAL = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

HEADERS = (
    "Content-Security-Policy", "Strict-Transport-Security", "X-Content-Type-Options", "X-Frame-Options",
    "X-XSS-Protection",
)  # fmt: skip
"""Headers that the file may set: those that exporter-toolkit allows."""

VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
CLIENTS = {
    "": ssl.CERT_NONE,
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
SUITES = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}
"""Go's names of the suites of TLS 1.2 that are still sound, and OpenSSL's."""


class TlsServer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`tls_server_config`."""

    cert_file: str = ""
    key_file: str = ""
    client_auth_type: str = ""
    client_ca_file: str = ""
    client_allowed_sans: list[str] = []
    min_version: str = "TLS12"
    max_version: str = "TLS13"
    cipher_suites: list[str] = []
    prefer_server_cipher_suites: bool = True
    curve_preferences: list[str] = []


class HttpServer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`http_server_config`."""

    http2: bool = False
    headers: dict[str, str] = {}


class RateLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`rate_limit`: a request an interval, and so many at once."""

    interval: str = "0s"
    burst: int = 1

    @property
    def seconds(self) -> float:
        """The interval; 0 sets no limit. Raises ValueError."""
        found = _INTERVAL.fullmatch(self.interval)
        if not found and self.interval != "0":
            raise ValueError(f"{self.interval!r} is no interval such as 100ms or 1s")
        return float(found[1]) * _UNITS[found[2]] if found else 0.0


class WebFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    tls_server_config: TlsServer | None = None
    http_server_config: HttpServer = HttpServer()
    basic_auth_users: dict[str, str] = {}
    rate_limit: RateLimit = RateLimit()


def read(path: str) -> WebFile:
    """The file, checked; paths in it are whole. Raises ConfigError that names the key, and never shows a value."""
    try:
        import yaml
    except ImportError as error:
        hint = "install the extra: pip install 'telemetry-agent[web]'"
        raise ConfigError(f"the web configuration cannot be read: {error}", path=path, hint=hint) from None
    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except OSError as error:
        raise ConfigError(f"the web configuration cannot be read: {error.strerror}", path=path) from None
    except UnicodeDecodeError:
        raise ConfigError("the web configuration is not UTF-8", path=path) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"the web configuration is no YAML{where}", path=path) from None
    try:
        # An empty section is a section with nothing in it, as in Go.
        found = {} if content is None else content
        found = {key: value for key, value in found.items() if value is not None} if isinstance(found, dict) else found
        web = msgspec.convert(found, WebFile)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the web configuration is wrong: {error}", path=path, hint=_HINT) from None
    for key, what, hint in _problems(web):
        raise ConfigError(f"the web configuration: {key} {what}", path=path, hint=hint or _HINT)
    return _resolved(web, os.path.dirname(os.path.abspath(path)))


_HINT = "the keys are those of https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md"

Problem = tuple[str, str, str]


def _problems(web: WebFile) -> list[Problem]:
    found = _http_problems(web)
    if web.tls_server_config is not None:
        found += _tls_problems(web.tls_server_config)
    for user, hashed in web.basic_auth_users.items():
        if not user or ":" in user:
            found.append(("basic_auth_users", "has a name that is empty or holds a colon", ""))
        if not _BCRYPT.fullmatch(hashed):
            found.append((f"basic_auth_users.{user}", "is no bcrypt hash", "make one: htpasswd -nBC 10 '' | tr -d ':'"))
    return found


def _http_problems(web: WebFile) -> list[Problem]:
    found: list[Problem] = []
    if web.http_server_config.http2:
        found.append(("http_server_config.http2", "is true, but this server speaks HTTP/1.1", "write http2: false"))
    for name, value in web.http_server_config.headers.items():
        if name not in HEADERS:
            found.append(("http_server_config.headers", f"has {name!r}", f"it may set {', '.join(HEADERS)}"))
        if not value.isprintable() or not value.isascii():
            found.append((f"http_server_config.headers.{name}", "is no header value", ""))
    try:
        _ = web.rate_limit.seconds
    except ValueError as error:
        found.append(("rate_limit.interval", str(error), ""))
    if web.rate_limit.burst < 1:
        found.append(("rate_limit.burst", "is less than 1", ""))
    return found


def _tls_problems(tls: TlsServer) -> list[Problem]:
    def wrong(key: str, what: str, hint: str = "") -> Problem:
        return (f"tls_server_config.{key}", what, hint)

    found = [wrong(key, "is missing") for key in ("cert_file", "key_file") if not getattr(tls, key)]
    versions = f"write {' or '.join(VERSIONS)}"
    found += [
        wrong(key, "is not honoured here", versions)
        for key in ("min_version", "max_version")
        if getattr(tls, key) not in VERSIONS
    ]
    if tls.client_auth_type not in CLIENTS:
        found.append(wrong("client_auth_type", f"is {tls.client_auth_type!r}, which is not honoured here",
                           f"write one of {', '.join(filter(None, CLIENTS))}"))  # fmt: skip
    asks = CLIENTS.get(tls.client_auth_type, ssl.CERT_NONE) != ssl.CERT_NONE
    if asks != bool(tls.client_ca_file):
        found.append(wrong("client_ca_file", "and client_auth_type go together: one is given without the other"))
    if tls.client_allowed_sans and tls.client_auth_type != "RequireAndVerifyClientCert":
        found.append(wrong("client_allowed_sans", "needs client_auth_type RequireAndVerifyClientCert"))
    unknown = [name for name in tls.cipher_suites if name not in SUITES]
    if unknown:
        found.append(wrong("cipher_suites", f"has {unknown[0]!r}, which is not honoured here",
                           f"known are {', '.join(SUITES)}"))  # fmt: skip
    if tls.curve_preferences:
        found.append(
            wrong("curve_preferences", "is not honoured here: Python's ssl sets no list of curves", "leave it out")
        )
    return found


def _resolved(web: WebFile, directory: str) -> WebFile:
    if web.tls_server_config is None:
        return web
    whole: Callable[[str], str] = lambda path: os.path.join(directory, path) if path else ""  # noqa: E731 - said once
    tls = web.tls_server_config
    paths = {key: whole(getattr(tls, key)) for key in ("cert_file", "key_file", "client_ca_file")}
    return msgspec.structs.replace(web, tls_server_config=msgspec.structs.replace(tls, **paths))


def context(tls: TlsServer) -> ssl.SSLContext:
    """The server's side of handshakes. Raises ConfigError that names the file that cannot be used."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version, made.maximum_version = VERSIONS[tls.min_version], VERSIONS[tls.max_version]
    made.set_alpn_protocols(["http/1.1"])
    made.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if tls.prefer_server_cipher_suites:
        made.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    if tls.cipher_suites:
        made.set_ciphers(":".join(SUITES[name] for name in tls.cipher_suites))
    for path in (tls.cert_file, tls.key_file, tls.client_ca_file):
        _readable(path)
    try:
        # A password, be it an empty one: without it OpenSSL would ask on the terminal for an encrypted key's.
        made.load_cert_chain(tls.cert_file, tls.key_file, password="")
    except (OSError, ValueError) as error:
        hint = "PEM files are needed that belong together, the key without a passphrase"
        what = f"certificate and key cannot be used: {getattr(error, 'reason', None) or 'no PEM'}"
        raise ConfigError(what, path=tls.cert_file, hint=hint) from None
    if tls.client_ca_file:
        try:
            made.load_verify_locations(tls.client_ca_file)
        except (OSError, ValueError):
            raise ConfigError("client_ca_file is no PEM file of certificates", path=tls.client_ca_file) from None
    made.verify_mode = CLIENTS[tls.client_auth_type]
    return made


def _readable(path: str) -> None:
    try:
        if path:
            with open(path, "rb"):
                pass
    except OSError as error:
        raise ConfigError(f"a file of the web configuration cannot be read: {error.strerror}", path=path) from None
