"""What an operator reads when a connection fails: what was tried, what is wrong, and what to look at."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.kit.errors import ConfigError
from agent.sinks.base import ErrorClass, Retry
from agent.sinks.http import HttpClient, Tls
from tests.support.certificates import Authority
from tests.support.hostile import Hostile, serving
from tests.support.program import free_port

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whom the clients trust."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> tuple[Path, Path]:
    """A server's certificate and key."""
    return authority.sign("server", "IP:127.0.0.1")


def secured(pair: tuple[Path, Path], clients: Path | None = None) -> ssl.SSLContext:
    """A server's side; with `clients` it asks for certificates of that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    # So that the client's handshake hears of a refusal, and not its next read.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    return context


async def failure(url: str, **options: Any) -> Retry:
    """What a POST there comes to."""
    client = HttpClient(**options)
    try:
        with pytest.raises(Retry) as caught:
            await client.post(httpx.URL(url), httpx.Headers(), b"{}")
    finally:
        await client.aclose()
    return caught.value


@pytest.fixture
def plain() -> Iterator[Hostile]:
    """A server without TLS."""
    with serving() as server:
        yield server


async def test_where_no_tls_is_spoken(plain: Hostile) -> None:
    """The usual slip: https:// for a port of http."""
    error = await failure(plain.url.replace("http:", "https:"), tls=Tls(verify=False))

    assert (ErrorClass.TLS, "http:// or another port") == (error.kind, error.hint.partition(": ")[2].rstrip("?"))
    assert "_ssl.c" not in error.what


@pytest.mark.parametrize(
    ("name", "days", "trusted", "said", "hint"),
    [
        ("IP:127.0.0.1", 2, False, "certificate", "tls.ca_file"),
        ("DNS:example.org", 2, True, "127.0.0.1", "name that is in the server's certificate"),
        ("IP:127.0.0.1", 0, True, "expired", "renew"),
    ],
    ids=["authority", "name", "expired"],
)
async def test_a_certificate_that_is_not_accepted(
    authority: Authority, name: str, days: int, trusted: bool, said: str, hint: str
) -> None:
    """Of an unknown authority, for another name, too old: each has its remedy."""
    with serving(secured(authority.sign("wrong", name, days=days))) as server:
        error = await failure(server.url, tls=Tls(ca_file=str(authority.path) if trusted else ""))

    assert ErrorClass.TLS == error.kind
    assert said in error.what
    assert hint in error.hint
    assert [] == server.heard


async def test_a_server_that_wants_another_client_certificate(
    authority: Authority, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    """None, or one of another authority: the hint leads to ours."""
    cert, key = Authority(tmp_path, "other").sign("client", "DNS:client")
    with serving(secured(pair, authority.path)) as server:
        none = await failure(server.url, tls=Tls(ca_file=str(authority.path)))
        other = await failure(server.url, tls=Tls(ca_file=str(authority.path), cert_file=str(cert), key_file=str(key)))

    assert all("tls.cert_file" in error.hint for error in (none, other))
    assert {none.kind, other.kind} <= {ErrorClass.TLS, ErrorClass.DISCONNECTED}


async def test_a_proxy_that_is_not_there(plain: Hostile) -> None:
    """It is not the destination that cannot be reached; credentials of the proxy are not told."""
    port = free_port()
    error = await failure(plain.url, proxy=f"http://me:secret@127.0.0.1:{port}")

    assert ErrorClass.PROXY == error.kind
    assert f"its proxy http://127.0.0.1:{port} cannot be reached: Connection refused" in error.what
    assert "secret" not in str(error)
    assert [] == plain.heard


async def test_a_name_that_is_not_known() -> None:
    """`.invalid` never resolves (RFC 6761)."""
    assert "name" in (await failure("http://collector.invalid:4318")).hint


def _pairs(authority: Authority, home: Path) -> dict[str, tuple[Tls, str, str]]:
    (cert, key), (_, other) = authority.sign("one", "DNS:one"), authority.sign("two", "DNS:two")
    ours, junk = str(cert), home / "junk.pem"
    junk.write_text("hello")
    return {
        "missing authority": (Tls(ca_file="/nowhere.pem"), "/nowhere.pem", "cannot be read: No such file"),
        "no certificate": (Tls(ca_file=str(junk)), str(junk), "no certificate"),
        "missing key": (Tls(cert_file=ours, key_file="/nowhere.key"), "/nowhere.key", "cannot be read: No such file"),
        "no key": (Tls(cert_file=ours), ours, "certificate and key"),
        "another's key": (Tls(cert_file=ours, key_file=str(other)), ours, "does not belong"),
        "no pair": (Tls(cert_file=str(junk), key_file=str(key)), str(key), "certificate and key"),
    }


def test_files_that_cannot_be_used_are_named(authority: Authority, tmp_path: Path) -> None:
    """Each with its own sentence and path."""
    for tls, path, said in _pairs(authority, tmp_path).values():
        with pytest.raises(ConfigError, match=said) as caught:
            tls.context()
        assert path == caught.value.path
        assert caught.value.hint
