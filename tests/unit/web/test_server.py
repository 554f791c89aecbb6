import gzip
import itertools
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from agent.kit.disk import Directory
from agent.kit.errors import AgentError
from agent.web import sockets
from agent.web.messages import SOCKET
from agent.web.server import Hurried

from .conftest import STATUS, STREAM, Site

PAGES = [
    "/", "/metrics", "/livez", "/readyz", "/startupz", "/health", "/api/v1/status", "/api/v1/streams",
    "/api/v1/segments", "/api/v1/checks", "/api/v1/alerts", "/api/v1/config", "/openapi.json",
]  # fmt: skip
COMMANDS = ["/rotate", "/cleanup", "/reload"]


def test_every_page_is_read_on_both_sockets(site: Site) -> None:
    """GET and HEAD succeed on TCP and on the local socket; HEAD has no body."""
    for client, path in itertools.product((site.tcp, site.local), PAGES):
        assert client.get(path).status_code == 200
        head = client.head(path)
        assert (head.status_code, head.content) == (200, b"")


def test_answers_are_guarded_and_anonymous(site: Site) -> None:
    """Security headers and a date are on every answer, the server's name and version on none."""
    for path in ("/", "/nowhere", "/rotate"):
        headers = site.tcp.get(path).headers

        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["cache-control"] == "no-store"
        assert headers["date"] == "Tue, 14 Nov 2023 22:13:20 GMT"
        assert "server" not in headers


def test_pages_are_only_read(site: Site) -> None:
    """Any other method is 405 and tells which ones there are."""
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"):
        answer = site.tcp.request(method, "/metrics")

        assert answer.status_code == 405
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


def test_an_unknown_path_is_a_bare_404(site: Site) -> None:
    """It repeats nothing of the request and tells nothing of the server."""
    for path in ("/secret/../place", "/metrics/", "/docs", "/api/v1"):
        answer = site.tcp.get(path)

        assert (answer.status_code, answer.text) == (404, "Not Found")


def test_tcp_takes_no_command(site: Site) -> None:
    """For TCP the commands do not exist."""
    assert [site.tcp.post(path, json={}).status_code for path in COMMANDS] == [404, 404, 404]
    assert site.control.asked == []


def test_the_landing_page_lists_what_there_is(site: Site) -> None:
    """Every other page is linked, relative, so that a proxy's prefix is kept."""
    page = site.tcp.get("/")

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert [path[1:] for path in PAGES[1:]] == re.findall('href="(?!data:|#)([^"]+)"', page.text)


def test_status_and_streams_are_the_control_structs(site: Site) -> None:
    """The JSON is the snapshot, key for key."""
    assert site.tcp.get("/api/v1/status").json() == STATUS
    assert site.local.get("/api/v1/streams").json() == [STREAM]


def test_metrics_are_plain_text_by_default(site: Site) -> None:
    """A client that asks for nothing gets version 0.0.4, uncompressed."""
    answer = site.tcp.get("/metrics", headers={"Accept": "", "Accept-Encoding": "identity"})

    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "content-encoding" not in answer.headers
    assert any(family.name == "telemetry_agent_seals" for family in text_string_to_metric_families(answer.text))


def test_openmetrics_is_negotiated_and_strictly_valid(site: Site) -> None:
    """The strict parser takes what is promised, and it ends as it must."""
    answer = site.tcp.get("/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"})

    assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert answer.text.endswith("# EOF\n")
    families = openmetrics.text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call]
    assert "telemetry_agent_lost_bytes" in {family.name for family in families}


def test_metrics_are_compressed_for_those_who_take_it(site: Site) -> None:
    """The body is gzip, and caches are told what it depends on."""
    with site.tcp.stream("GET", "/metrics", headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())

    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert int(answer.headers["content-length"]) == len(raw)
    assert b"telemetry_agent_seals_total" in gzip.decompress(raw)


def test_sixteen_scrapers_see_counters_advance(site: Site) -> None:
    """Scrapes at once, while numbers change, all succeed, parse, and never see a counter go back."""
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            site.metrics.appended_bytes.inc(1000)
            site.metrics.seals.labels("size").inc()

    def scrape(number: int) -> list[float]:
        accept = "application/openmetrics-text;version=1.0.0" if number % 2 else "text/plain"
        parse = openmetrics.text_string_to_metric_families if number % 2 else text_string_to_metric_families
        seen = []
        with httpx.Client(base_url=site.tcp.base_url, trust_env=False, timeout=20) as client:
            for _ in range(5):
                answer = client.get("/metrics", headers={"Accept": accept})
                assert answer.status_code == 200
                families = {family.name: family for family in parse(answer.text)}
                seen.append(families["telemetry_agent_appended_bytes"].samples[0].value)
        return seen

    worker = threading.Thread(target=work)
    worker.start()
    try:
        with ThreadPoolExecutor(16) as pool:
            runs = list(pool.map(scrape, range(16)))
    finally:
        done.set()
        worker.join()

    assert all(sorted(seen) == seen for seen in runs)
    assert max(max(seen) for seen in runs) > min(min(seen) for seen in runs)


def test_requests_are_counted_by_known_path(site: Site) -> None:
    """A made-up path makes no series of its own."""
    site.tcp.get("/livez")
    site.tcp.get("/made/up/1")
    site.tcp.get("/made/up/2")

    value = site.metrics.registry.get_sample_value
    name = "telemetry_agent_http_requests_total"
    assert value(name, {"handler": "/livez", "code": "200"}) == 1
    assert value(name, {"handler": "other", "code": "404"}) == 2
    assert value(name, {"handler": "/health", "code": "200"}) == 0
    assert value("telemetry_agent_http_request_duration_seconds_count") == 3
    assert value("telemetry_agent_http_requests_in_flight") == 0


def test_livez_fails_when_the_heartbeat_is_old(site: Site) -> None:
    """503 with the reason, on both sockets; alive again after a beat. All other pages go on."""
    site.clock.steady += 11

    for client in (site.tcp, site.local):
        answer = client.get("/livez")
        assert (answer.status_code, answer.text) == (
            503,
            "the main loop has not answered for 11.0 s, the limit is 10 s\n",
        )
    assert site.tcp.get("/metrics").status_code == 200
    assert site.tcp.get("/health").status_code == 503

    site.heartbeat = site.clock.steady
    assert site.tcp.get("/livez").text == "ok\n"


def test_not_ready_is_said_by_two_probes(site: Site) -> None:
    """Before the first sweep readyz and startupz are 503 and livez is 200; verbose is JSON."""
    site.ready = False

    assert [site.tcp.get(path).status_code for path in ("/livez", "/readyz", "/startupz")] == [200, 503, 503]
    verbose = site.tcp.get("/readyz?verbose")
    assert verbose.status_code == 503
    assert verbose.json() == {"ok": False, "reasons": ["the first sweep is not done"], "heartbeat_age": 0.0}


def test_health_is_json_and_503_when_unhealthy(site: Site) -> None:
    """The verdict is in the body, and its code is what a load balancer reads."""
    healthy = site.tcp.get("/health")
    site.components.report("keeper", "failed", "disk full")
    unhealthy = site.tcp.get("/health")

    assert (healthy.status_code, healthy.json()["status"]) == (200, "healthy")
    assert (unhealthy.status_code, unhealthy.json()["status"]) == (503, "unhealthy")
    assert unhealthy.json()["issues"] == ["keeper is failed: disk full"]


def test_a_control_that_cannot_answer_is_an_error_in_json(site: Site) -> None:
    """The four parts of the AgentError are the body, also for a page."""
    site.control.error = AgentError("no snapshot yet", path="/data", position=3, hint="wait")
    answer = site.local.get("/api/v1/status")

    assert answer.status_code == 500
    assert answer.json() == {"what": "no snapshot yet", "path": "/data", "position": 3, "hint": "wait"}
    assert site.tcp.get("/livez").status_code == 200


def test_a_port_in_use_stops_the_start(state: Directory) -> None:
    """The error comes from start, names the address, and leaves neither thread nor socket."""
    threads = threading.active_count()
    with sockets.listen_tcp("127.0.0.1:0") as other:
        taken = sockets.address_of(other)
        with pytest.raises(AgentError, match=re.escape(taken)):
            Site(state, taken).server.start()

    assert threading.active_count() == threads
    assert not state.exists(SOCKET)


def test_a_local_socket_that_cannot_be_made_gives_the_port_back(state: Directory) -> None:
    """A start that failed half way holds nothing."""
    with sockets.listen_tcp("127.0.0.1:0") as free:
        port = sockets.address_of(free)
    state.make_child(SOCKET).close()

    with pytest.raises(AgentError):
        Site(state, port).server.start()

    sockets.listen_tcp(port).close()


def test_without_an_address_only_the_local_socket_is_served(state: Directory) -> None:
    """An empty `listen` opens no port."""
    site = Site(state, "")
    site.start()
    try:
        assert site.addresses.tcp == ""
        assert site.local.get("/livez").status_code == 200
    finally:
        site.stop()


def test_a_state_directory_may_lie_deeper_than_a_socket_address_reaches(tmp_path: Path) -> None:
    """More than 107 bytes of path do not matter: the directory's descriptor is the way."""
    deep = tmp_path.joinpath(*["x" * 60] * 3)
    with Directory.make(str(deep)) as state:
        site = Site(state)
        site.start()
        try:
            assert len(site.addresses.local) > 107
            assert site.local.get("/livez").status_code == 200
            assert os.path.exists(site.addresses.local)
        finally:
            site.stop()


def test_nothing_is_left_after_stop(make_site: Callable[[], Site], state: Directory) -> None:
    """No thread, no socket file, no open port, and the server can be made again."""
    threads = set(threading.enumerate())
    for _ in range(3):
        site = make_site()
        site.tcp.get("/livez")
        site.local.post("/reload")
        assert site.server.stop()
        assert not state.exists(SOCKET)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(sockets.parse(site.addresses.tcp))
        assert site.components.all()[-1].state == "stopped"

    left = {thread for thread in set(threading.enumerate()) - threads if not thread.name.startswith("AnyIO")}
    for thread in set(threading.enumerate()) - threads:
        thread.join(20)
    assert set() == left
    assert threads == set(threading.enumerate())


def test_stop_does_not_wait_for_a_command_that_hangs(site: Site) -> None:
    """The answer is given up when the time is over, and the server ends."""
    site.control.gate.clear()

    def ask() -> str:
        try:
            return str(site.local.post("/rotate").status_code)
        except httpx.HTTPError as error:
            return type(error).__name__

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask)
        while not site.control.asked:
            time.sleep(0.001)
        try:
            assert site.server.stop(1.0)
            assert asked.result(20) in {"500", "RemoteProtocolError", "ReadError"}
        finally:
            site.control.gate.set()


def test_an_answer_in_the_making_is_finished_before_the_stop(site: Site) -> None:
    """A command that ends in time is answered though the server is told to leave."""
    site.control.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        asked = pool.submit(site.local.post, "/reload")
        while not site.control.asked:
            time.sleep(0.001)
        stopping = pool.submit(site.server.stop, 10.0)
        while not all(server.leave.is_set() for server in site.server._servers):
            time.sleep(0.001)
        site.control.gate.set()

        assert asked.result(20).status_code == 200
        assert stopping.result(20)


@pytest.mark.parametrize("sent", [b"", b"GET /livez HTT", b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_a_client_that_dawdles_is_cut_off(state: Directory, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """Silent, half a head, or idle after an answer: the place is given back."""
    monkeypatch.setattr(Hurried, "limit", 0.05)
    site = Site(state)
    site.start()
    try:
        with socket.create_connection(sockets.parse(site.addresses.tcp), timeout=20) as client:
            client.sendall(sent)
            received = b""
            try:
                while chunk := client.recv(4096):
                    received += chunk
            except ConnectionResetError:
                pass
            assert received.startswith(b"HTTP/1.1 200 OK") == sent.endswith(b"\r\n\r\n")
    finally:
        site.stop()


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x02", b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n"])
def test_what_is_no_http_is_refused_and_forgotten(site: Site, sent: bytes) -> None:
    """TLS to a plain port and an endless header get 400, and the next client an answer."""
    with socket.create_connection(sockets.parse(site.addresses.tcp), timeout=20) as client:
        client.sendall(sent + b"\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 400 ")

    assert site.tcp.get("/livez").status_code == 200


@pytest.mark.usefixtures("site")
def test_an_idle_server_sleeps() -> None:
    """Its thread is not scheduled while nobody asks: uvicorn's own tick would wake it ten times a second."""
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "web")
    status = Path(f"/proc/self/task/{thread.native_id}/status")

    def switches() -> int:
        return sum(int(count) for count in re.findall(r"ctxt_switches:\s+(\d+)", status.read_text()))

    time.sleep(0.1)
    before = switches()
    time.sleep(1)

    assert switches() - before < 5
