"""HTTP, TCP, TLS and DNS, against servers on the loopback."""

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config import checks as rules
from agent.health import tls
from agent.health.dns import DnsCheck
from agent.health.http import HttpCheck
from agent.health.tcp import TcpCheck
from agent.kit.clock import SystemClock
from agent.kit.errors import ConfigError
from agent.kit.units import Duration
from tests.support.program import free_port
from tests.unit.health.conftest import Serve

CLOCK = SystemClock()


def http(url: str, **keys: object) -> tuple[str, str]:
    """State and message of one run."""
    rule = rules.Http(kind="http", name="h", url=url, **keys)  # type: ignore[arg-type]
    finding = HttpCheck(rule, CLOCK, 5.0).run()
    return finding.level.word, finding.message


@pytest.mark.parametrize(
    ("status", "wanted", "state"),
    [
        (200, ("2xx", "3xx"), "healthy"),
        (302, ("2xx", "3xx"), "healthy"),
        (404, ("2xx", "3xx"), "unhealthy"),
        (404, ("404",), "healthy"),
        (503, ("2xx",), "unhealthy"),
    ],
)
def test_http_status_is_judged(serve: Serve, status: int, wanted: tuple[str, ...], state: str) -> None:
    """By pattern or exactly; a redirect is not followed."""
    found, message = http(serve(status), status=wanted)

    assert state == found
    assert f"status {status}" in message


def test_http_body_must_match(serve: Serve) -> None:
    """A regular expression found anywhere."""
    url = serve(200, b'{"queue": 12}')

    assert "healthy" == http(url, body=r'"queue": \d+')[0]
    assert "unhealthy" == http(url, body="empty")[0]


def test_http_headers_and_query_are_sent_and_never_told(serve: Serve) -> None:
    """What may be a secret is in no message."""
    seen: list[dict[str, str]] = []
    url = serve(500, b"", seen) + "x?token=canary"
    _, message = http(url, headers=("Authorization: canary",))

    assert [("/x?token=canary", "canary")] == [(one["path"], one["Authorization"]) for one in seen]
    assert "canary" not in message


def test_http_without_a_server_is_unhealthy() -> None:
    """It says where and why."""
    port = free_port()
    state, message = http(f"http://127.0.0.1:{port}/secret")

    assert ("unhealthy", f"http://127.0.0.1:{port}: [Errno 111] Connection refused") == (state, message)


def test_a_slow_answer_is_a_warning(serve: Serve) -> None:
    """From the configured time on; nothing is faster than 0."""
    assert "warning" == http(serve(), warn=Duration(0))[0]


def test_tcp_and_unix_sockets_accept_or_not(tmp_path: Path) -> None:
    """The kernel accepts for a server that listens."""
    port, path = free_port(), str(tmp_path / "s")
    with socket.create_server(("127.0.0.1", port)), socket.socket(socket.AF_UNIX) as local:
        local.bind(path)
        local.listen()
        assert ["healthy"] * 2 == [_tcp(address) for address in (f"127.0.0.1:{port}", f"unix:{path}")]

    assert ["unhealthy"] * 2 == [_tcp(address) for address in (f"127.0.0.1:{port}", f"unix:{path}")]


def _tcp(address: str, **keys: object) -> str:
    rule = rules.Tcp(kind="tcp", name="t", address=address, **keys)  # type: ignore[arg-type]
    return TcpCheck(rule, CLOCK, 5.0).run().level.word


@pytest.mark.parametrize("address", ["", "host", "host:", "::1:80", "unix:relative"])
def test_what_is_no_address_is_refused(address: str) -> None:
    """When the check is made, not when it runs."""
    with pytest.raises(ConfigError, match="is no address"):
        _tcp(address)


def test_names_are_resolved_and_compared() -> None:
    """An address is its own name, so no resolver is asked."""
    assert "healthy" == DnsCheck(rules.Dns(kind="dns", name="d", hostname="127.0.0.1")).run().level.word
    wrong = rules.Dns(kind="dns", name="d", hostname="127.0.0.1", expect=("127.0.0.2",))
    assert "unhealthy" == DnsCheck(wrong).run().level.word
    nobody = rules.Dns(kind="dns", name="d", hostname="no name")
    assert "unhealthy" == DnsCheck(nobody).run().level.word


@pytest.mark.parametrize(("days", "state"), [(15, "healthy"), (13, "warning"), (-1, "warning")])
def test_a_certificate_that_ends_soon_is_a_warning(days: int, state: str) -> None:
    """Counted from now."""
    end = ssl.cert_time_to_seconds("Jan  5 09:34:43 2030 GMT")
    found = tls.expiry({"notAfter": "Jan  5 09:34:43 2030 GMT"}, Duration("14d"), end - days * 86_400)

    assert state == found.level.word


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[int, str]]:
    """A TLS server for localhost whose certificate is valid for ten days: its port, and the certificate."""
    assert shutil.which("openssl")
    key, certificate = str(tmp_path / "key"), str(tmp_path / "certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
         "-out", certificate, "-days", "10", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_shake, args=(server, context))
        thread.start()
        yield server.getsockname()[1], certificate
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def _shake(server: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            accepted, _ = server.accept()
        except OSError:
            return
        with accepted:
            try:
                with context.wrap_socket(accepted, server_side=True) as shaken:
                    if shaken.recv(4096):
                        shaken.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
            except OSError:
                continue


def test_tls_is_verified_and_its_end_is_judged(secured: tuple[int, str]) -> None:
    """Trusted, it ends within 14 days; not trusted, it fails; not verified, nothing is judged."""
    port, certificate = secured
    address = f"127.0.0.1:{port}"
    keys = {"tls": True, "server_name": "localhost"}

    assert "warning" == _tcp(address, **keys, ca_file=certificate)
    assert "healthy" == _tcp(address, **keys, ca_file=certificate, expiry_warn=Duration("5d"))
    assert "unhealthy" == _tcp(address, **keys)
    assert "unhealthy" == _tcp(address, tls=True, ca_file=certificate)
    assert "healthy" == _tcp(address, **keys, verify=False)


def test_https_is_judged_as_tls_is(secured: tuple[int, str]) -> None:
    """The certificate of the connection that the answer came on."""
    port, certificate = secured
    url = f"https://localhost:{port}/"

    state, message = http(url, ca_file=certificate)
    assert ("warning", True) == (state, message.startswith("the certificate ends in "))
    assert "healthy" == http(url, ca_file=certificate, expiry_warn=None)[0]
    assert "unhealthy" == http(url)[0]
