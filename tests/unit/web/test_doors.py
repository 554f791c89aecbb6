"""Who gets in by TCP: token, passwords, certificates, names, limits."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import pytest

from agent.config import Web
from agent.kit.errors import AgentError, ConfigError
from agent.web import doors, passwords, server, sockets, webfile
from agent.web.guard import is_expected
from tests.support.certificates import Authority

from .conftest import Site

SECRET = "correct-horse-battery-staple"  # noqa: S105 - a test's own
HASH = "$2b$04$sbDcMbhslwmIcqgPoCK4AOyuvqYXrY6khjQVtIBe2OhNkJn7d2KU."
PASSWORD = "open sesame"  # noqa: S105 - a test's own
BEARER = {"Authorization": f"Bearer {SECRET}"}
COMMANDS = ["/api/v1/rotate", "/api/v1/cleanup", "/api/v1/reload"]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Signs a server for 127.0.0.1, and clients called prometheus, stranger and late, whose time is over."""
    made = Authority(tmp_path_factory.mktemp("doors"))
    made.sign("server", "DNS:localhost,IP:127.0.0.1")
    made.sign("renewed", "DNS:localhost,IP:127.0.0.1")
    made.sign("prometheus", "DNS:prometheus.test")
    made.sign("stranger", "DNS:stranger.test")
    made.sign("late", "DNS:prometheus.test", days=0)
    Authority(made.home, "other").sign("forged", "DNS:prometheus.test")
    return made


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """A token file as it should be."""
    path = tmp_path / "token"
    path.write_text(f"{SECRET}\n")
    path.chmod(0o600)
    return path


def written(tmp_path: Path, text: str) -> Web:
    """A web configuration file, named by `[web]`."""
    path = tmp_path / "web.yml"
    path.write_text(text)
    return Web(config_file=str(path))


def tls_file(home: Path, *, more: str = "", server: str = "server") -> str:
    """A web configuration with the server's certificate."""
    return f"tls_server_config:\n  cert_file: {home}/{server}.pem\n  key_file: {home}/{server}.key\n{more}"


def basic(user: str, password: str) -> dict[str, str]:
    """The header of a user."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def refused(site: Site, reason: str) -> float:
    """How often that was a reason."""
    value = site.metrics.registry.get_sample_value("telemetry_agent_http_refused_total", {"reason": reason})
    return value or 0.0


# -- the token


def test_without_a_token_nothing_can_be_changed(make_site: Callable[..., Site]) -> None:
    """The paths do not exist, whatever is offered."""
    site = make_site()

    assert [site.tcp.post(path, json={}, headers=BEARER).status_code for path in COMMANDS] == [404, 404, 404]
    assert site.control.asked == []


def test_the_bearer_of_the_token_changes_things(make_site: Callable[..., Site], token: Path) -> None:
    """Each command is carried out; nobody by TCP waits longer than his connection lasts."""
    site = make_site(Web(admin_token_file=str(token)))

    answers = [site.tcp.post(path, json={"timeout": 3000}, headers=BEARER) for path in COMMANDS]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert site.control.asked == [("rotate", [], 25.0), ("cleanup", False, 25.0), ("reload", 25.0)]


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"Authorization": "Bearer"}, {"Authorization": "Bearer wrong"}, {"Authorization": SECRET},
        {"Authorization": f"Basic {SECRET}"}, {"Authorization": f"Bearer {SECRET}x"}, {"Cookie": f"token={SECRET}"},
        {"Authorization": "Bearer \xe9"},
    ],
)  # fmt: skip
def test_nobody_else_does(make_site: Callable[..., Site], token: Path, headers: dict[str, str]) -> None:
    """401, counted, and the answer tells no more than that a bearer is wanted."""
    site = make_site(Web(admin_token_file=str(token)))

    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = site.tcp.post("/api/v1/rotate", json={}, headers=raw)

    assert (answer.status_code, answer.text) == (401, "Unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert site.control.asked == []
    assert refused(site, "token") == 1


def test_a_page_of_another_site_cannot_send_the_token(make_site: Callable[..., Site], token: Path) -> None:
    """A browser asks before it sends such a header, and is not answered as it would need."""
    site = make_site(Web(admin_token_file=str(token)))
    asked = {"Origin": "http://evil.test", "Access-Control-Request-Method": "POST",
             "Access-Control-Request-Headers": "authorization"}  # fmt: skip

    answer = site.tcp.options("/api/v1/rotate", headers=asked)

    assert answer.status_code == 401
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_errors_tell_anybody_neither_path_nor_remedy(make_site: Callable[..., Site], token: Path) -> None:
    """The sentence stays; on the local socket, which is the operator's, all of it does."""
    site = make_site(Web(admin_token_file=str(token)))
    site.control.error = AgentError("it failed", path="/data/secret.json", hint="look at /etc/x")

    public = site.tcp.post("/api/v1/rotate", json={}, headers=BEARER)

    assert public.json() == {"what": "it failed", "path": "", "position": None, "hint": ""}
    assert site.local.post("/rotate", json={}).json()["path"] == "/data/secret.json"


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        (SECRET, 0o644, "read by everybody"),
        (SECRET, 0o660, "changed by others"),
        ("short", 0o600, "fewer than 16"),
        ("", 0o600, "fewer than 16"),
        ("two words that are long", 0o600, "spaces"),
    ],
)
def test_a_bad_token_file_is_an_error(token: Path, content: str, mode: int, why: str) -> None:
    """The message names the file and never what is in it."""
    token.write_text(content)
    token.chmod(mode)

    with pytest.raises(ConfigError, match=why) as caught:
        passwords.Token(str(token))

    assert caught.value.path == str(token)
    assert not content or content not in str(caught.value)


def test_a_missing_token_file_is_an_error(tmp_path: Path) -> None:
    """It is not taken for no token."""
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        passwords.Token(str(tmp_path / "none"))


def test_a_replaced_token_is_in_force_by_itself(make_site: Callable[..., Site], token: Path) -> None:
    """A wrong one leaves the old one in force, and says so; a good one ends that."""
    site = make_site(Web(admin_token_file=str(token)))
    site.clock.steady += 2
    token.write_text("x")
    state = lambda: next(one for one in site.components.all() if one.name == "web")  # noqa: E731 - asked thrice

    assert site.tcp.post("/api/v1/reload", headers=BEARER).status_code == 200
    assert state().state == "degraded"
    token.write_text("another-token-of-enough-length")
    site.clock.steady += 2
    assert site.tcp.post("/api/v1/reload", headers=BEARER).status_code == 401
    assert state().state == "ok"


# -- passwords


def test_only_users_with_their_password_get_in(make_site: Callable[..., Site], tmp_path: Path) -> None:
    """On every page; others see that a password is wanted."""
    site = make_site(written(tmp_path, f"basic_auth_users:\n  alice: {HASH}\n"))

    tries = [basic("alice", PASSWORD), basic("alice", "wrong"), basic("bob", PASSWORD), basic("", ""), {}]
    codes = [site.tcp.get("/metrics", headers=headers).status_code for headers in tries * 2]

    assert codes == [200, 401, 401, 401, 401] * 2
    assert refused(site, "password") == 8
    answer = site.tcp.get("/livez")
    assert (answer.status_code, answer.text) == (401, "Unauthorized")
    assert answer.headers["www-authenticate"].startswith("Basic realm=")
    assert site.local.get("/livez").status_code == 200


@pytest.mark.parametrize(
    "header", ["Basic", "Basic !!!", "Basic " + base64.b64encode(b"\xff:\xff").decode(), "Bearer x", "basic  x"]
)
def test_a_header_that_makes_no_sense_is_refused(make_site: Callable[..., Site], tmp_path: Path, header: str) -> None:
    """And is no defect."""
    site = make_site(written(tmp_path, f"basic_auth_users:\n  alice: {HASH}\n"))

    assert site.tcp.get("/", headers={"Authorization": header}).status_code == 401


@pytest.mark.parametrize("password", ["", "a\0b", "x" * 200])
def test_strange_passwords_are_only_wrong(make_site: Callable[..., Site], tmp_path: Path, password: str) -> None:
    """Bcrypt itself would raise for some."""
    site = make_site(written(tmp_path, f"basic_auth_users:\n  alice: {HASH}\n"))

    assert site.tcp.get("/", headers=basic("alice", password)).status_code == 401


def test_a_password_is_no_admin_token(make_site: Callable[..., Site], tmp_path: Path, token: Path) -> None:
    """A browser repeats a password by itself; what changes something takes the token, and the token is enough."""
    written(tmp_path, f"basic_auth_users:\n  alice: {HASH}\n")
    site = make_site(Web(config_file=str(tmp_path / "web.yml"), admin_token_file=str(token)))

    assert site.tcp.post("/api/v1/reload", headers=basic("alice", PASSWORD)).status_code == 401
    assert site.tcp.post("/api/v1/reload", headers=BEARER).status_code == 200


def test_an_unknown_user_costs_the_dearest_hash_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the time of a refusal does not tell which users there are: counted in hashes, not in seconds."""
    dear = bcrypt.hashpw(b"x", bcrypt.gensalt(5)).decode()
    computed: list[str] = []

    def checkpw(_: bytes, hashed: bytes) -> bool:
        computed.append(hashed.decode())
        return True

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    users = passwords.Users({"alice": HASH, "bob": dear})

    import anyio

    assert not anyio.run(users.admits, basic("nobody", "x")["Authorization"])
    assert computed == [dear]
    assert not anyio.run(users.admits, "")
    assert len(computed) == 2
    assert anyio.run(users.admits, basic("alice", "x")["Authorization"])
    assert anyio.run(users.admits, basic("alice", "x")["Authorization"])
    assert computed == [dear, dear, HASH]


# -- the web configuration file


GOOD = {
    "empty": "",
    "users": f"basic_auth_users:\n  alice: {HASH}\n",
    "headers": "http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n",
    "rate": "rate_limit:\n  interval: 100ms\n  burst: 5\n",
    "nothing in a section": "http_server_config:\n",
}
TLS_GOOD = {
    "plain": "",
    "versions": "  min_version: TLS13\n  max_version: TLS13\n",
    "suites": "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n  prefer_server_cipher_suites: false\n",
    "clients": "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n",
    "if given": "  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.pem\n",
    "no clients": "  client_auth_type: NoClientCert\n",
}
BAD = {
    "- a list": "Expected `object`",
    "a: [": "is no YAML, line",
    "tls_server_confg: {}": "unknown field `tls_server_confg`",
    "tls_server_config: {cert_fle: x}": "unknown field `cert_fle` - at `$.tls_server_config`",
    "tls_server_config: {}": "tls_server_config.cert_file is missing",
    "tls_server_config: {cert_file: a.pem}": "tls_server_config.key_file is missing",
    "http_server_config: {http2: true}": "http_server_config.http2 is true",
    "http_server_config: {http2: perhaps}": "Expected `bool`, got `str` - at `$.http_server_config.http2`",
    "http_server_config: {headers: {Server: x}}": "http_server_config.headers has 'Server'",
    'http_server_config: {headers: {X-Frame-Options: "a\\nb"}}': "is no header value",
    "basic_auth_users: {alice: plain}": "basic_auth_users.alice is no bcrypt hash",
    f'basic_auth_users: {{"a:b": "{HASH}"}}': "holds a colon",
    "rate_limit: {interval: often}": "rate_limit.interval 'often' is no interval",
    "rate_limit: {burst: 0}": "rate_limit.burst is less than 1",
}
TLS_BAD = {
    "min_version: TLS10": "tls_server_config.min_version is not honoured here",
    "max_version: SSL30": "tls_server_config.max_version is not honoured here",
    "client_auth_type: RequireAnyClientCert": "client_auth_type is 'RequireAnyClientCert', which is not honoured",
    "client_auth_type: RequestClientCert": "which is not honoured here",
    "client_auth_type: RequireAndVerifyClientCert": "client_ca_file and client_auth_type go together",
    "client_ca_file: ca.pem": "client_ca_file and client_auth_type go together",
    "client_allowed_sans: [a]": "client_allowed_sans needs client_auth_type",
    "cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]": "cipher_suites has 'TLS_RSA_WITH_RC4_128_SHA'",
    "curve_preferences: [X25519]": "tls_server_config.curve_preferences is not honoured here",
}


@pytest.mark.parametrize("name", GOOD)
def test_good_files_are_read(tmp_path: Path, name: str) -> None:
    """Sections may be left out."""
    doors.read(written(tmp_path, GOOD[name]))


@pytest.mark.parametrize("name", TLS_GOOD)
def test_good_files_with_tls_are_read(authority: Authority, name: str) -> None:
    """Paths are relative to the file."""
    text = f"tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n{TLS_GOOD[name]}"

    assert doors.read(written(authority.home, text)).tls


@pytest.mark.parametrize("text", BAD)
def test_a_bad_file_is_an_error_that_names_the_key(tmp_path: Path, text: str) -> None:
    """Nothing opens then; the file is named too, and where to read about it."""
    with pytest.raises(ConfigError) as caught:
        doors.read(written(tmp_path, text))

    assert BAD[text] in caught.value.what
    assert caught.value.path.endswith("web.yml")


@pytest.mark.parametrize("line", TLS_BAD)
def test_a_key_that_is_not_honoured_is_an_error(authority: Authority, line: str) -> None:
    """A door that is less closed than its file says must not open."""
    with pytest.raises(ConfigError) as caught:
        doors.read(written(authority.home, tls_file(authority.home, more=f"  {line}\n")))

    assert TLS_BAD[line] in caught.value.what


def test_files_that_cannot_be_used_are_errors(authority: Authority, tmp_path: Path) -> None:
    """Missing, no PEM, a key of another certificate, a key with a passphrase; each names its file."""
    home = authority.home
    (tmp_path / "empty.pem").write_text("")
    (tmp_path / "server.pem").write_bytes((home / "server.pem").read_bytes())
    cases = {
        "No such file": tls_file(home, server="nobody"),
        "no PEM": f"tls_server_config: {{cert_file: {tmp_path}/empty.pem, key_file: {home}/server.key}}",
        "MISMATCH": f"tls_server_config: {{cert_file: {home}/server.pem, key_file: {home}/stranger.key}}",
        "client_ca_file is no PEM": tls_file(
            home, more=f"  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: {tmp_path}/empty.pem\n"
        ),
    }
    for why, text in cases.items():
        with pytest.raises(ConfigError, match=why) as caught:
            doors.read(written(tmp_path, text))
        assert caught.value.path.endswith(".pem")
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        doors.read(Web(config_file=str(tmp_path / "none.yml")))
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        doors.read(Web(config_file=str(tmp_path)))


def test_an_unreadable_file_is_an_error(tmp_path: Path) -> None:
    """It is not taken for none."""
    web = written(tmp_path, "")
    Path(web.config_file).chmod(0)
    own = os.geteuid()
    os.seteuid(65534 if own == 0 else own)
    try:
        with pytest.raises(ConfigError, match="Permission denied"):
            doors.read(web)
    finally:
        os.seteuid(own)


def test_headers_of_the_file_go_before_ours(make_site: Callable[..., Site], tmp_path: Path) -> None:
    """And are on refusals too."""
    more = "http_server_config:\n  headers:\n    X-Frame-Options: DENY\n    Content-Security-Policy: frame-src 'none'\n"
    site = make_site(written(tmp_path, more))

    headers = site.tcp.get("/livez").headers

    assert (headers["x-frame-options"], headers["content-security-policy"]) == ("DENY", "frame-src 'none'")


def test_a_rate_is_kept(make_site: Callable[..., Site], tmp_path: Path) -> None:
    """So many at once, then one an interval."""
    site = make_site(written(tmp_path, "rate_limit: {interval: 10s, burst: 2}"))

    codes = [site.tcp.get("/livez").status_code for _ in range(3)]
    site.clock.steady += 10
    site.heartbeat = site.clock.steady

    assert codes == [200, 200, 429]
    assert [site.tcp.get("/livez").status_code for _ in range(2)] == [200, 429]
    assert refused(site, "rate") == 2


# -- TLS


@pytest.fixture
def connect(authority: Authority) -> Iterator[Callable[..., httpx.Client]]:
    """A maker of clients that trust the authority, with a certificate of their own where one is named."""
    clients: list[httpx.Client] = []

    def make(site: Site, name: str = "") -> httpx.Client:
        context = ssl.create_default_context(cafile=authority.path)
        if name:
            context.load_cert_chain(authority.home / f"{name}.pem", authority.home / f"{name}.key")
        made = httpx.Client(base_url=f"https://{site.addresses.tcp}", verify=context, trust_env=False, timeout=20)
        clients.append(made)
        return made

    yield make
    for client in clients:
        client.close()


def test_pages_are_served_by_tls(
    make_site: Callable[..., Site], authority: Authority, connect: Callable[..., httpx.Client], tmp_path: Path
) -> None:
    """And plain HTTP is not."""
    site = make_site(written(tmp_path, tls_file(authority.home)))

    assert connect(site).get("/livez").status_code == 200
    with pytest.raises(httpx.RemoteProtocolError):
        site.tcp.get("/livez")


@pytest.mark.parametrize(
    ("client", "admitted"),
    [("prometheus", True), ("stranger", False), ("", False), ("forged", False), ("late", False)],
)
def test_only_clients_with_the_right_certificate_get_in(
    make_site: Callable[..., Site], authority: Authority, connect: Callable[..., httpx.Client], tmp_path: Path,
    client: str, admitted: bool,
) -> None:  # fmt: skip
    """Not one of another name, without one, of another authority, or whose time is over."""
    more = (
        f"  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: {authority.path}\n"
        "  client_allowed_sans: [prometheus.test]\n"
    )
    site = make_site(written(tmp_path, tls_file(authority.home, more=more)))
    caller = connect(site, client)

    if admitted:
        assert caller.get("/livez").status_code == 200
        return
    with pytest.raises(httpx.TransportError):
        caller.get("/livez")
    assert refused(site, "client_name") == (client == "stranger")


def serial(site: Site, authority: Authority) -> int:
    """The serial number of the certificate that a new connection sees."""
    context = ssl.create_default_context(cafile=authority.path)
    host, port = site.addresses.tcp.split(":")
    with (
        socket.create_connection((host, int(port)), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        found: Any = connection.getpeercert()
    return int(found["serialNumber"], 16)


def test_a_renewed_certificate_is_used_without_a_restart(
    make_site: Callable[..., Site], authority: Authority, connect: Callable[..., httpx.Client], tmp_path: Path
) -> None:
    """Connections that are open stay; half a renewal, with a key that does not fit, changes nothing."""
    for suffix in ("pem", "key"):
        (tmp_path / f"server.{suffix}").write_bytes((authority.home / f"server.{suffix}").read_bytes())
    site = make_site(written(tmp_path, tls_file(tmp_path)))
    open_one = connect(site)
    assert open_one.get("/livez").status_code == 200
    before = serial(site, authority)

    (tmp_path / "server.pem").write_bytes((authority.home / "renewed.pem").read_bytes())
    site.clock.steady += 2
    half = serial(site, authority)
    (tmp_path / "server.key").write_bytes((authority.home / "renewed.key").read_bytes())
    site.clock.steady += 2
    site.heartbeat = site.clock.steady

    assert half == before
    assert serial(site, authority) != before
    assert open_one.get("/livez").status_code == 200


def test_tls_is_not_switched_by_a_reload(authority: Authority, tmp_path: Path) -> None:
    """A listening socket speaks it or does not; that a restart is needed is said."""
    from .conftest import Hands

    plain = doors.Doors(Web(), Hands())

    with pytest.raises(ConfigError, match="cannot be switched on or off") as caught:
        plain.prepare(written(tmp_path, tls_file(authority.home)))

    assert caught.value.hint == "restart the agent"


def test_a_handshake_that_never_ends_is_ended(
    make_site: Callable[..., Site], authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that connects and says nothing."""
    monkeypatch.setattr(server, "_HANDSHAKE", 0.2)
    site = make_site(written(tmp_path, tls_file(authority.home)))
    host, port = site.addresses.tcp.split(":")

    with socket.create_connection((host, int(port)), timeout=30) as silent:
        assert silent.recv(1) == b""


# -- names and numbers


@pytest.mark.parametrize(
    ("host", "local", "allowed", "expected"),
    [
        ("127.0.0.1:9464", "127.0.0.1", (), True),
        ("localhost:9464", "127.0.0.1", (), True),
        ("[::1]:9464", "::1", (), True),
        ("agent.localhost", "127.0.0.1", (), True),
        ("evil.test:9464", "127.0.0.1", (), False),
        ("127.0.0.1.evil.test", "127.0.0.1", (), False),
        ("localhost.evil.test", "::1", (), False),
        ("proxy.test", "127.0.0.1", ("Proxy.test",), True),
        ("node.test:9464", "192.0.2.7", (), True),
        ("node.test:9464", "192.0.2.7", ("other.test",), False),
        ("192.0.2.7:9464", "192.0.2.7", ("other.test",), True),
        ("", "127.0.0.1", (), True),
    ],
)
def test_a_name_made_to_lead_here_is_refused(host: str, local: str, allowed: tuple[str, ...], expected: bool) -> None:
    """DNS rebinding: a page of evil.test reads what listens on its reader's loopback."""
    assert is_expected(host, (local, 9464), allowed) is expected


def test_another_sites_name_is_misdirected(make_site: Callable[..., Site]) -> None:
    """421, before anything else is looked at."""
    site = make_site()

    assert site.tcp.get("/api/v1/config", headers={"Host": "evil.test"}).status_code == 421
    assert refused(site, "host") == 1


def test_connections_are_bounded(make_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is one too many is hung up on; once others have gone, the next one gets in."""
    monkeypatch.setattr(sockets, "CONNECTIONS", 3)
    site = make_site()
    host, port = site.addresses.tcp.split(":")
    held = [socket.create_connection((host, int(port)), timeout=30) for _ in range(3)]
    surplus = socket.create_connection((host, int(port)), timeout=30)
    with surplus, contextlib.suppress(ConnectionResetError):
        assert surplus.recv(1) == b""

    for one in held:
        one.close()

    assert refused(site, "connections") == 1
    deadline = time.monotonic() + 30
    while True:
        try:
            assert site.tcp.get("/livez").status_code == 200
            break
        except httpx.TransportError:  # the server has not noticed yet that they are gone
            assert time.monotonic() < deadline


def test_every_reason_is_there_from_the_start(site: Site) -> None:
    """At 0, so that an increase is seen."""
    body = site.tcp.get("/metrics").text

    assert body.count("telemetry_agent_http_refused_total{") == 6


def test_the_extra_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither library is needed by who uses no such file."""
    import sys

    web = written(tmp_path, f"basic_auth_users:\n  alice: {HASH}\n")
    for module, function in (
        ("bcrypt", lambda: passwords.Users({"a": HASH})),
        ("yaml", lambda: webfile.read(web.config_file)),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            with pytest.raises(ConfigError) as caught:
                function()
        assert caught.value.hint == "install the extra: pip install 'telemetry-agent[web]'"
