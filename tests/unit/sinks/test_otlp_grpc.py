"""OTLP over gRPC against a server that answers with every code there is."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from agent.config import Forward, SignalRule
from agent.kit.clock import SystemClock
from agent.kit.errors import ConfigError
from agent.otlp import answer
from agent.sinks.base import ErrorClass, Outcome, Reject, Retry, TooLarge
from agent.sinks.build import build
from agent.sinks.http import Tls
from agent.sinks.otlp import USER_AGENT, OtlpOptions
from agent.sinks.otlp_grpc import GrpcSink
from agent.streams.batch import Batch
from tests.support import hostile
from tests.support.grpcd import Obedient, Say, serving
from tests.support.peers import free_port
from tests.support.sinks import deliver
from tests.support.yard import Yard, forward, letters, log, settled, small, span, spans

pytestmark = pytest.mark.anyio

Code = grpc.StatusCode
RETRIED = {
    Code.CANCELLED, Code.DEADLINE_EXCEEDED, Code.ABORTED, Code.OUT_OF_RANGE, Code.UNAVAILABLE, Code.DATA_LOSS,
}  # fmt: skip
NEVER = set(Code) - RETRIED - {Code.OK}


@pytest.fixture
def receiver() -> Iterator[Obedient]:
    """A server that takes everything until it is told otherwise."""
    with serving() as book:
        yield book


def batch(*lines: bytes, signal: str = "traces") -> Batch:
    """Records of one signal."""
    return Batch("a.json", "id", 0, 1, lines, signal)


async def send(url: str, what: Batch | None = None, **options: Any) -> Outcome:
    """One batch through a sink of its own."""
    sink = GrpcSink(OtlpOptions(endpoint=url, encoding="grpc", **options))
    try:
        return await deliver(sink, what or batch(span(1)))
    finally:
        await sink.aclose()


def details(seconds: int, nanos: int = 0, *, kind: str = "google.rpc.RetryInfo") -> tuple[str, bytes]:
    """Trailing metadata with a google.rpc.Status, encoded by hand: code 8, one detail."""

    def field(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2, len(data)]) + data

    delay = b"\x08" + bytes([seconds]) + (b"\x10" + varint(nanos) if nanos else b"")
    detail = field(1, f"type.googleapis.com/{kind}".encode()) + field(2, field(1, delay))
    return ("grpc-status-details-bin", b"\x08\x08" + field(2, b"slow down") + field(3, detail))


def varint(number: int) -> bytes:
    """As protobuf has it."""
    found = b""
    while number > 0x7F:
        found += bytes([number & 0x7F | 0x80])
        number >>= 7
    return found + bytes([number])


@pytest.mark.parametrize("compression", ["gzip", "none"])
@pytest.mark.parametrize(("signal", "line"), [("traces", span(7)), ("logs", log(7))])
async def test_a_batch_is_one_call_of_its_signal(
    receiver: Obedient, compression: str, signal: str, line: bytes
) -> None:
    """Protobuf of all records, to the service of the signal, compressed or not, with headers as metadata."""
    outcome = await send(
        receiver.url, batch(line, line, signal=signal), compression=compression, headers={"X-Tenant": "t-1"}
    )

    (call,) = receiver.heard
    assert call.method.endswith("/Export")
    assert signal[:-1] in call.method.lower()
    assert 2 == len(getattr(call.message(), {"traces": "resource_spans", "logs": "resource_logs"}[signal]))
    assert "t-1" == call.metadata["x-tenant"]
    assert call.metadata["user-agent"].startswith(USER_AGENT)
    assert Outcome(sent_bytes=len(call.body)) == outcome


async def test_what_cannot_be_encoded_is_refused(receiver: Obedient) -> None:
    """A value of two kinds is a refusal by a name of its own, so that its neighbours can go, and nothing is sent."""
    line = b'{"resourceSpans":[{"resource":{"attributes":[{"value":{"stringValue":"v","boolValue":true}}]}}]}'

    with pytest.raises(Reject, match="cannot be encoded"):
        await send(receiver.url, batch(line))

    assert [] == receiver.heard


@pytest.mark.parametrize("code", sorted(RETRIED, key=str))
async def test_codes_that_may_pass_are_retried(receiver: Obedient, code: grpc.StatusCode) -> None:
    """The six of the specification; with the server's wait where it asks for one."""
    receiver.will(Say(code, "not now"), Say(code, trailing=(details(2, 500_000_000),)))
    for after in (None, 2.5):
        with pytest.raises(Retry, match=code.name) as caught:
            await send(receiver.url)
        assert (after, True) == (caught.value.after, caught.value.kind.transient)


@pytest.mark.parametrize("code", sorted(NEVER, key=str))
async def test_every_other_code_is_final(receiver: Obedient, code: grpc.StatusCode) -> None:
    """Also RESOURCE_EXHAUSTED without a RetryInfo, and with details of another kind."""
    receiver.will(Say(code, "never"), Say(code, trailing=(details(2, kind="google.rpc.DebugInfo"),)))
    for _ in range(2):
        with pytest.raises(Reject, match=code.name) as caught:
            await send(receiver.url)
        assert not isinstance(caught.value, TooLarge)
        assert not caught.value.kind.transient


async def test_exhausted_with_retry_info_is_throttling(receiver: Obedient) -> None:
    """The delay is honoured; none in it means at once."""
    for seconds in (7, 0):
        receiver.will(Say(Code.RESOURCE_EXHAUSTED, "slow", trailing=(details(seconds),)))
        with pytest.raises(Retry) as caught:
            await send(receiver.url)
        assert (float(seconds), ErrorClass.THROTTLED) == (caught.value.after, caught.value.kind)


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"\x1a\x7f", b"\x1a\x02\x08\x01", b"\x1a\x04\x12\x02\x08\x01", b"\x18\x01"]
)
def test_details_of_no_use_are_no_delay(data: bytes) -> None:
    """Whatever the bytes are."""
    assert answer.retry_delay(data) is None


async def test_a_message_too_large_is_halved(receiver: Obedient) -> None:
    """For grpcio and Go RESOURCE_EXHAUSTED, for others OUT_OF_RANGE, which would be retried for ever."""
    with serving(limit=2_000) as narrow:
        with pytest.raises(TooLarge):
            await send(narrow.url, batch(span(1, 3_000)), compression="none")
        assert 0 == (await send(narrow.url, batch(span(1, 500)), compression="none")).rejected
    receiver.will(Say(Code.OUT_OF_RANGE, "decoded message length too large: found 9 bytes, the limit is: 4"))
    with pytest.raises(TooLarge):
        await send(receiver.url)
    with pytest.raises(TooLarge):
        await send(receiver.url, max_request=10)


async def test_a_partial_success_is_told(receiver: Obedient) -> None:
    """Never retried; an answer that is none, or too large, counts as taken and as discarded."""
    partial = ExportTraceServiceResponse()
    partial.partial_success.rejected_spans = 3
    partial.partial_success.error_message = "no\nroom"
    receiver.will(
        Say(body=partial.SerializeToString()), Say(body=b"\xff\xff"), Say(body=b"\x0a\xff\xff\x7f" + bytes(3000))
    )
    first = await send(receiver.url)
    assert (3, "no room", False) == (first.rejected, first.message, first.discarded)
    assert (await send(receiver.url)).discarded
    assert (await send(receiver.url, max_response=1_000)).discarded


async def test_a_server_that_says_nothing_is_a_timeout(receiver: Obedient) -> None:
    """And the next try goes over a new connection."""
    receiver.will(Say(stall=True), Say())
    sink = GrpcSink(OtlpOptions(endpoint=receiver.url, timeout=1.5))
    with pytest.raises(Retry) as caught:
        await deliver(sink, batch(span(1)))
    assert ErrorClass.TIMEOUT == caught.value.kind
    await deliver(sink, batch(span(1)))
    await sink.aclose()
    assert 2 == len({call.peer for call in receiver.heard})


async def test_calls_at_once_fail_each_for_itself(receiver: Obedient) -> None:
    """The first that gives up its connection does not cancel the others on it, nor close the next one."""
    receiver.will(Say(stall=True), Say(stall=True), Say(stall=True), Say())
    sink = GrpcSink(OtlpOptions(endpoint=receiver.url, timeout=1.5))
    failed: list[ErrorClass] = []

    async def one(wait: float) -> None:
        await anyio.sleep(wait)
        try:
            await deliver(sink, batch(span(1)))
        except Retry as error:
            failed.append(error.kind)

    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(one, 0.1 * number)
    await deliver(sink, batch(span(1)))
    await sink.aclose()

    assert [ErrorClass.TIMEOUT] * 3 == failed
    assert 2 <= len({call.peer for call in receiver.heard})


async def test_nobody_there_and_then_somebody() -> None:
    """Refused, then up: the sink that failed delivers, without a wait of its own."""
    port = free_port()
    sink = GrpcSink(OtlpOptions(endpoint=f"http://127.0.0.1:{port}", timeout=20))
    for _ in range(3):
        with pytest.raises(Retry) as caught:
            await deliver(sink, batch(span(1)))
        assert ErrorClass.CONNECT == caught.value.kind
    with serving(address=f"127.0.0.1:{port}") as book:
        await deliver(sink, batch(span(1)))
        assert 1 == len(book.heard)
    await sink.aclose()


async def test_an_http_server_is_told_from_a_grpc_one() -> None:
    """It is tried again, as a proxy may be in between; people are told what it looks like."""
    with hostile.serving() as http, pytest.raises(Retry) as caught:
        await send(http.url)
    assert caught.value.kind.transient
    assert "4318" in caught.value.hint


@pytest.fixture
def secured(authority: Path) -> Iterator[Obedient]:
    """With a certificate of the authority, which wants one from its clients too."""
    pair = ((authority / "server.key").read_bytes(), (authority / "server.pem").read_bytes())
    root = (authority / "ca.pem").read_bytes()
    with serving(grpc.ssl_server_credentials([pair], root, require_client_auth=True)) as book:
        yield book


async def test_tls_with_client_certificates(secured: Obedient, authority: Path) -> None:
    """Trusted by the authority given, known by our certificate; credentials in the URL become metadata."""
    tls = Tls(
        ca_file=str(authority / "ca.pem"), cert_file=str(authority / "client.pem"),
        key_file=str(authority / "client.key"),
    )  # fmt: skip
    await send(secured.url.replace("://", "://me:p%40ss@"), tls=tls)

    assert "Basic bWU6cEBzcw==" == secured.heard[0].metadata["authorization"]
    for other in (Tls(), Tls(ca_file=str(authority / "ca.pem"))):
        with pytest.raises(Retry) as caught:
            await send(secured.url, tls=other, timeout=5)
        assert caught.value.kind in (ErrorClass.TLS, ErrorClass.CONNECT, ErrorClass.DISCONNECTED)


@pytest.mark.parametrize(
    ("url", "options", "what"),
    [
        ("http://127.0.0.1:4317/v1/traces", {}, "has a path"),
        ("collector:4317", {}, "a scheme and a host"),
        ("https://127.0.0.1", {"tls": Tls(verify=False)}, "not possible with gRPC"),
        ("https://127.0.0.1", {"tls": Tls(ca_file="/nothing.pem")}, "TLS: a file cannot be read"),
        ("http://127.0.0.1", {"headers": {"a b": "x"}}, "cannot be set"),
        ("http://127.0.0.1", {"headers": {"grpc-timeout": "x"}}, "cannot be set"),
        ("http://127.0.0.1", {"headers": {"a": "s3cret\n"}}, "cannot be sent"),
    ],
)
def test_what_cannot_work_is_an_error_at_once(url: str, options: dict[str, Any], what: str) -> None:
    """Not at the first batch; no value is told."""
    with pytest.raises(ConfigError, match=what) as caught:
        GrpcSink(OtlpOptions(endpoint=url, **options))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://c:1", "c:1"), ("http://c", "c:4317"), ("https://c", "c:443"), ("https://c:443", "c:443"),
        ("http://c:80/", "c:80"), ("http://[::1]:4317", "[::1]:4317"),
    ],
)  # fmt: skip
def test_ports(url: str, target: str) -> None:
    """4317 is OTLP's; a scheme's usual port may be written, too."""
    assert target == GrpcSink(OtlpOptions(endpoint=url))._target


async def test_a_proxy_is_used_when_it_is_configured_and_only_then(
    receiver: Obedient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By CONNECT; the environment's is for web traffic, and has no say."""
    heads: list[bytes] = []

    def refuse() -> None:
        connection, _ = proxy.accept()
        with connection:
            heads.append(connection.recv(4096))
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as proxy:
        url = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        for name in ("http_proxy", "https_proxy", "grpc_proxy"):
            monkeypatch.setenv(name, url)
        await send(receiver.url)
        thread = threading.Thread(target=refuse)
        thread.start()
        with pytest.raises(Retry):
            await send(receiver.url, proxy=url, timeout=5)
        thread.join()

    assert heads[0].startswith(f"CONNECT {receiver.url.removeprefix('http://')} ".encode())
    assert 1 == len(receiver.heard)


def test_configured_for_all_or_for_one_signal() -> None:
    """A signal's own endpoint is used; without grpcio it is an error that says what to install."""
    (one,) = build(Forward(name="a", encoding="grpc", endpoints=("http://c:1",)), SystemClock(), {})
    assert "<GrpcSink http://c:1 gzip>" == repr(one)
    rule = SignalRule(encoding="grpc", endpoint="http://t:2")
    (mixed,) = build(Forward(name="a", traces=rule), SystemClock(), {})
    assert ["<GrpcSink http://t:2 gzip>", "<OtlpSink http://127.0.0.1:4318 json gzip>"] == [
        repr(mixed._sinks[signal])
        for signal in ("traces", "logs")  # type: ignore[attr-defined]  # two sinks in one
    ]


@pytest.mark.parametrize(
    ("endpoint", "destination"),
    [("http://h", "http://h:4317"), ("https://h", "https://h:443"), ("http://h:80", "http://h:80"),
     ("http://me:secret@[::1]/", "http://[::1]:4317")],
)  # fmt: skip
def test_the_port_that_is_dialled_is_told(endpoint: str, destination: str) -> None:
    """Also where the endpoint names none, which is not 80, or names the usual one of the web."""
    assert destination == GrpcSink(OtlpOptions(endpoint=endpoint)).destination


def test_grpcio_is_loaded_when_it_is_configured_and_needed_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else pays for it."""
    code = "import sys, agent.app, agent.sinks.build; sys.exit('grpc' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode
    monkeypatch.delitem(sys.modules, "agent.sinks.otlp_grpc")
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(ConfigError, match="needs the package grpcio"):
        build(Forward(name="a", encoding="grpc"), SystemClock(), {})


def test_the_same_loop_delivers(tmp_path: Path, receiver: Obedient) -> None:
    """Retries, halves, dead letters, cursors: what was written arrives once, and a refusal is kept."""
    receiver.will(
        Say(Code.UNAVAILABLE), Say(Code.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 4)"), Say(),
        Say(Code.INVALID_ARGUMENT, "bad span"), Say(),
    )  # fmt: skip
    rules: dict[str, Any] = {"endpoints": (receiver.url,), "encoding": "grpc", "batch": small(4, in_flight=1)}
    with hostile.serving() as unused, Yard(tmp_path, forward(unused, **rules)) as yard:
        yard.write(spans(0, 8))
        yard.run(settled(yard, 8))
        status = yard.status()

    assert (6, 2, 1) == (status.delivered, status.dead_lettered, status.retries)
    taken = [receiver.heard[index] for index in (2, 4)]
    names = [
        one.name for call in taken for r in call.message().resource_spans for s in r.scope_spans for one in s.spans
    ]
    assert ["n0", "n1", "n4", "n5", "n6", "n7"] == names
    assert receiver.heard[0].body == receiver.heard[1].body
    assert {"bad_data"} == {one["kind"] for one in letters(tmp_path)}
