"""The OTLP sink against a server that does what it is told; the numbers in brackets are those of the delivery cases."""

import base64
import gzip
import json
import socket
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

import anyio
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agent.kit.errors import ConfigError
from agent.sinks.base import ErrorClass, Outcome, Reject, Retry, TooLarge
from agent.sinks.http import Tls
from agent.sinks.otlp import OtlpOptions, OtlpSink
from agent.streams.batch import Batch
from tests.support.clock import ManualClock
from tests.support.hostile import Hostile, Say
from tests.support.sinks import deliver

pytestmark = pytest.mark.anyio

NOW = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT
JSON = {"Content-Type": "application/json"}


def span(number: int, padding: int = 0) -> bytes:
    """One line with one span, told apart by its name."""
    one = {
        "traceId": "5B8EFFF798038103D269B633813FC60C",
        "spanId": "EEE19B7EC3C1B174",
        "name": f"span {number}{'x' * padding}",
        "kind": 2,
        "startTimeUnixNano": "1581452772000000321",
        "endTimeUnixNano": "1581452772000000322",
    }
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [one]}]}]}).encode() + b"\n"


def batch(count: int = 2) -> Batch:
    """Lines of traces."""
    return Batch("traces.json", "id", 0, 100, tuple(span(number) for number in range(count)), "traces")


def names(body: bytes) -> list[str]:
    """The names of the spans in a request."""
    found: list[str] = []
    for resource in json.loads(body)["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            found += [one["name"] for one in scope["spans"]]
    return found


async def send(endpoint: str, what: Batch | None = None, **options: Any) -> Outcome:
    """One batch through a sink of its own."""
    sink = OtlpSink(OtlpOptions(endpoint=endpoint, **options), ManualClock(NOW))
    try:
        return await deliver(sink, what or batch())
    finally:
        await sink.aclose()


# -- the request


async def test_a_batch_is_one_post_of_its_signal(server: Hostile) -> None:
    """POST to /v1/traces with gzip, a length, JSON, our name, and every record in order."""
    outcome = await send(server.url, batch(3))

    (heard,) = server.heard
    assert (heard.method, heard.path) == ("POST", "/v1/traces")
    assert heard.headers["content-type"] == "application/json"
    assert heard.headers["content-encoding"] == "gzip"
    assert heard.headers["user-agent"].startswith("telemetry-agent/")
    assert "OTel-OTLP-Exporter-Python/" in heard.headers["user-agent"]
    assert names(heard.body) == ["span 0", "span 1", "span 2"]
    assert outcome == Outcome(sent_bytes=len(heard.raw))


async def test_no_request_looks_for_modules(server: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that the HTTP client would like and nobody installed is searched through all paths, on each request."""
    sought: list[str] = []

    class Watched:
        def find_spec(self, name: str, *_: object) -> None:
            sought.append(name)

    sink = OtlpSink(OtlpOptions(endpoint=server.url), ManualClock(NOW))
    await deliver(sink, batch())
    monkeypatch.setattr(sys, "meta_path", [Watched(), *sys.meta_path])
    await deliver(sink, batch())
    await sink.aclose()

    assert [] == sought
    assert 2 == len(server.heard)


async def test_without_compression_there_is_no_content_encoding(server: Hostile) -> None:
    """Compression = "none" sends the body as it is."""
    await send(server.url, compression="none")

    assert "content-encoding" not in server.heard[0].headers
    assert names(server.heard[0].raw) == ["span 0", "span 1"]


@pytest.mark.parametrize(
    ("suffix", "path"),
    [
        ("", "/v1/traces"),
        ("/", "/v1/traces"),
        ("/tenant/7", "/tenant/7/v1/traces"),
        ("/tenant%2F7/", "/tenant%2F7/v1/traces"),
        ("/in?key=1", "/in/v1/traces?key=1"),
    ],
)
async def test_the_path_of_the_base_is_kept(server: Hostile, suffix: str, path: str) -> None:
    """The signal's path is added to the base's; a final slash makes no difference, escapes and a query stay."""
    await send(server.url + suffix)

    assert server.heard[0].path == path


@pytest.mark.parametrize(("suffix", "path"), [("/own/place", "/own/place"), ("", "/"), ("/x/?a=b", "/x/?a=b")])
async def test_a_signals_own_endpoint_is_used_as_it_is(server: Hostile, suffix: str, path: str) -> None:
    """A per-signal endpoint is a whole URL (OTLP exporter, Endpoint URLs)."""
    await send("http://127.0.0.1:1", signal_endpoints={"traces": server.url + suffix})

    assert server.heard[0].path == path


async def test_logs_and_metrics_have_their_own_paths(server: Hostile) -> None:
    """[3] Each signal goes to its path."""
    for signal, key in (("logs", "resourceLogs"), ("metrics", "resourceMetrics")):
        line = json.dumps({key: [{}]}).encode() + b"\n"
        await send(server.url, Batch("a", "id", 0, 9, (line,), signal))

    assert [heard.path for heard in server.heard] == ["/v1/logs", "/v1/metrics"]


async def test_a_connection_is_kept(server: Hostile) -> None:
    """Several batches, refused ones too, go over one connection."""
    server.will(Say(), Say(503, b"busy"), Say(400, b""), Say())
    sink = OtlpSink(OtlpOptions(endpoint=server.url), ManualClock())
    for _ in range(4):
        try:
            await deliver(sink, batch())
        except (Retry, Reject):
            continue
    await sink.aclose()

    assert len(server.heard) == 4
    assert len({heard.connection for heard in server.heard}) == 1


async def test_the_same_batch_is_the_same_bytes(server: Hostile) -> None:
    """[20] What is sent again after a lost answer does not differ in one byte, compression included."""
    server.will(Say(end="reset"), Say())
    sink = OtlpSink(OtlpOptions(endpoint=server.url), ManualClock())
    with pytest.raises(Retry):
        await deliver(sink, batch(50))
    await deliver(sink, batch(50))
    await sink.aclose()

    assert server.heard[0].raw == server.heard[1].raw


async def test_configured_headers_and_credentials_go_out(server: Hostile) -> None:
    """Headers as configured; user and password of the URL as basic authentication, unescaped."""
    endpoint = server.url.replace("http://", "http://me:p%40ss@")

    await send(endpoint, headers={"X-Api-Key": "secret"})

    heard = server.heard[0]
    assert heard.headers["x-api-key"] == "secret"
    assert heard.headers["authorization"] == "Basic " + base64.b64encode(b"me:p@ss").decode()
    assert "@" not in heard.headers["host"]


async def test_names_of_headers_are_spelled_as_usual(server: Hostile) -> None:
    """There are receivers that look for exactly these letters; configured ones win, in their own spelling."""
    await send(server.url, headers={"user-agent": "mine", "X-Api-Key": "k"})

    assert {"Content-Type", "Content-Encoding", "Content-Length", "Host", "X-Api-Key"} <= server.heard[0].spelling
    assert server.heard[0].headers["user-agent"] == "mine"


async def test_secrets_are_in_no_repr_and_no_error(server: Hostile) -> None:
    """Neither the options, nor the sink, nor what it raises show a header, a password or a query."""
    server.will(Say(503, b"busy"))
    endpoint = server.url.replace("http://", "http://me:hidden@") + "/base?key=hidden"
    options = OtlpOptions(endpoint=endpoint, headers={"key": "hidden"}, proxy="", signal_endpoints={"logs": endpoint})
    sink = OtlpSink(options, ManualClock())
    with pytest.raises(Retry) as caught:
        await deliver(sink, batch())
    await sink.aclose()

    shown = f"{options!r} {sink!r} {sink.destination} {caught.value} {caught.value!r}"
    assert "hidden" not in shown
    assert f"503 from {server.url}/base/v1/traces: busy" in shown


async def test_the_environments_proxy_is_not_used(server: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY is meant for web traffic, not for the collector beside us."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    assert await send(server.url)


async def test_a_configured_proxy_is_used(server: Hostile) -> None:
    """With `proxy` the request goes to the proxy, with the whole URL as its target."""
    await send("http://collector.test:4318", proxy=server.url)

    assert server.heard[0].path == "http://collector.test:4318/v1/traces"


async def test_protobuf_goes_out_as_protobuf(server: Hostile) -> None:
    """Encoding = "protobuf": the same spans in the official messages, and its own content type."""
    await send(server.url, batch(3), encoding="protobuf")

    heard = server.heard[0]
    request = ExportTraceServiceRequest.FromString(heard.body)
    assert heard.headers["content-type"] == "application/x-protobuf"
    found = [one.scope_spans[0].spans[0] for one in request.resource_spans]
    assert [one.name for one in found] == ["span 0", "span 1", "span 2"]
    assert found[0].trace_id == bytes.fromhex("5B8EFFF798038103D269B633813FC60C")


async def test_what_cannot_be_encoded_is_refused(server: Hostile) -> None:
    """A value of two kinds is a refusal by a name of its own, so that its neighbours can go, and nothing is sent."""
    line = b'{"resourceSpans":[{"resource":{"attributes":[{"value":{"stringValue":"v","boolValue":true}}]}}]}'

    with pytest.raises(Reject, match="cannot be encoded") as caught:
        await send(server.url, batch().narrow([line]), encoding="protobuf")

    assert (caught.value.kind, server.heard) == (ErrorClass.BAD_DATA, [])


def test_protobuf_without_its_package_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra that is missing is named with its install line, when the sink is made."""
    monkeypatch.setitem(sys.modules, "google.protobuf", None)

    with pytest.raises(ConfigError, match=r"telemetry-agent\[protobuf\]"):
        OtlpSink(OtlpOptions(encoding="protobuf"), ManualClock())


async def test_a_body_above_the_limit_is_not_sent(server: Hostile) -> None:
    """The limit counts before compression; the batch can be halved instead."""
    with pytest.raises(TooLarge, match="allowed"):
        await send(server.url, batch(100), max_request=10_000)

    assert server.heard == []


# -- the answer: statuses


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ErrorClass.BAD_DATA),
        (401, ErrorClass.UNAUTHORIZED),
        (403, ErrorClass.UNAUTHORIZED),
        (404, ErrorClass.NOT_FOUND),
        (405, ErrorClass.NOT_FOUND),
        (408, ErrorClass.CLIENT_ERROR),
        (413, ErrorClass.TOO_LARGE),
        (415, ErrorClass.UNSUPPORTED),
        (418, ErrorClass.CLIENT_ERROR),
        (422, ErrorClass.BAD_DATA),
        (431, ErrorClass.CLIENT_ERROR),
        (500, ErrorClass.SERVER_ERROR),
        (501, ErrorClass.SERVER_ERROR),
        (505, ErrorClass.SERVER_ERROR),
        (599, ErrorClass.SERVER_ERROR),
    ],
)
async def test_most_statuses_are_final(server: Hostile, status: int, kind: ErrorClass) -> None:
    """[14] One POST only, and a refusal that says which class of error it is; 413 says that halves may go."""
    server.will(Say(status, b"no", {"Content-Type": "text/plain", "Retry-After": "1"}))

    with pytest.raises(Reject) as caught:
        await send(server.url)

    assert (caught.value.kind, len(server.heard)) == (kind, 1)
    assert isinstance(caught.value, TooLarge) == (status == 413)
    assert not caught.value.kind.transient
    assert f"{status} from" in caught.value.what


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, ErrorClass.THROTTLED),
        (502, ErrorClass.UNAVAILABLE),
        (503, ErrorClass.UNAVAILABLE),
        (504, ErrorClass.UNAVAILABLE),
    ],
)
@pytest.mark.parametrize(
    ("header", "after"),
    [("7", 7), ("Sun, 06 Nov 1994 08:49:42 GMT", 5), ("abc", None), ("-1", None), ("1e9", 1e9), (None, None)],
)
async def test_four_statuses_may_pass(
    server: Hostile, status: int, kind: ErrorClass, header: str | None, after: float | None
) -> None:
    """[14, 15] 429, 502, 503, 504 may be tried again, and Retry-After is handed on with each of them."""
    server.will(Say(status, b"", {"Retry-After": header} if header else {}))

    with pytest.raises(Retry) as caught:
        await send(server.url)

    assert (caught.value.kind, caught.value.after, len(server.heard)) == (kind, after, 1)
    assert caught.value.kind.transient


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
async def test_a_redirect_is_never_followed(server: Hostile, status: int) -> None:
    """[14] No status turns the POST into a GET or sends it elsewhere; the error names the other place."""
    server.will(Say(status, b"", {"Location": "/elsewhere?key=hidden"}))

    with pytest.raises(Reject) as caught:
        await send(server.url)

    assert [heard.method for heard in server.heard] == ["POST"]
    assert caught.value.kind is ErrorClass.REDIRECTED
    assert f"{server.url}/elsewhere:" in caught.value.hint
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "headers", "said"),
    [
        (b'{"code":3,"message":"bad span"}', JSON, "bad span"),
        (b"\x08\x03\x12\x08bad span", {"Content-Type": "application/x-protobuf"}, "bad span"),
        (b"bad\x1b[31m\nspan" + b"x" * 9_000, {"Content-Type": "text/plain"}, "bad\\x1b[31m spanxxx"),
        (b"<html>", {"Content-Type": "text/html"}, "v1/traces"),
        (b'{"error":"quota"}', JSON, '{"error":"quota"}'),
        (b"\x12\x7fx", {"Content-Type": "application/x-protobuf"}, "v1/traces"),
    ],
)
async def test_the_servers_words_are_told(server: Hostile, body: bytes, headers: dict[str, str], said: str) -> None:
    """The message of a Status in JSON or protobuf, or a short text, without control characters; a page is left out."""
    server.will(Say(400, body, headers))

    with pytest.raises(Reject) as caught:
        await send(server.url)

    assert said in caught.value.what
    assert len(caught.value.what) < 300


# -- the answer: success


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b"{}", (0, "", False)),
        (b'{"partialSuccess":null}', (0, "", False)),
        (b'{"partialSuccess":{}}', (0, "", False)),
        (b'{"partialSuccess":{"rejectedSpans":"3","errorMessage":"x"}}', (3, "x", False)),
        (b'{"partialSuccess":{"rejectedSpans":3}}', (3, "", False)),
        (b'{"partialSuccess":{"rejectedLogRecords":"2"}}', (2, "", False)),
        (b'{"partialSuccess":{"rejectedDataPoints":"1"}}', (1, "", False)),
        (b'{"partialSuccess":{"rejectedSpans":"0","errorMessage":"old\\nfields"}}', (0, "old fields", False)),
        (b'{"partialSuccess":{"rejectedSpans":"-3"},"more":[1]}', (0, "", False)),
        (b'{"partialSuccess":{"rejectedSpans":null,"errorMessage":null}}', (0, "", False)),
        (b'{"partialSuccess":{"rejectedSpans":"three"}}', (0, "", True)),
        (b'{"partialSuccess":7}', (0, "", True)),
        (b"", (0, "", True)),
        (b"OK", (0, "", True)),
        (b'{"a":' + b"[" * 100_000, (0, "", True)),
        (b'{"partialSuccess":{"errorMessage":"\xff"}}', (0, "", True)),
    ],
)
async def test_a_partial_success_is_counted_and_final(
    server: Hostile, body: bytes, outcome: tuple[int, str, bool]
) -> None:
    """[16, 17] One POST, whatever the body; refused items are counted, an unreadable answer is only that."""
    server.will(Say(200, body, JSON))

    found = await send(server.url)

    assert (found.rejected, found.message, found.discarded) == outcome
    assert len(server.heard) == 1


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b"", (0, "", False)),
        (b"\x0a\x00", (0, "", False)),
        (b"\x0a\x05\x08\x03\x12\x01x", (3, "x", False)),
        (b"\x0a\x0b\x08" + b"\xff" * 9 + b"\x01", (0, "", False)),
        (b"\x12\x01z\x19" + b"8" * 8 + b"\x25" + b"4" * 4 + b"\x0a\x02\x08\x02", (2, "", False)),
        (b"\x0a\x05\x08", (0, "", True)),
        (b"\x08\x03", (0, "", True)),
        (b"\x0b", (0, "", True)),
        (b"\xff" * 11, (0, "", True)),
        (b"\x0a\x03\x12\x01\xff", (0, "", True)),
    ],
)
async def test_an_answer_in_protobuf_is_read(server: Hostile, body: bytes, outcome: tuple[int, str, bool]) -> None:
    """[16] Some receivers answer JSON in protobuf: the same rules, unknown fields skipped, cut messages discarded."""
    server.will(Say(200, body, {"Content-Type": "application/x-protobuf"}))

    found = await send(server.url)

    assert (found.rejected, found.message, found.discarded) == outcome


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"<html>all is well</html>", {"Content-Type": "text/html"}),
        (b" " * (5 << 20), JSON),
        (gzip.compress(bytes(200 << 20), 9), JSON | {"Content-Encoding": "gzip"}),
        (zlib.compress(bytes(64 << 20), 9), JSON | {"Content-Encoding": "deflate"}),
        (gzip.compress(b"{}")[:-3], JSON | {"Content-Encoding": "gzip"}),
        (b"{}", JSON | {"Content-Encoding": "gzip"}),
        (b"{}", JSON | {"Content-Encoding": "br"}),
    ],
    ids=["html", "5 MiB", "gzip bomb", "deflate bomb", "cut gzip", "no gzip", "unknown coding"],
)
async def test_an_unusable_answer_to_a_success_is_discarded(
    server: Hostile, body: bytes, headers: dict[str, str]
) -> None:
    """[17] The batch was taken: one POST, no retry, and the answer counts as discarded."""
    server.will(Say(200, body, headers))

    found = await send(server.url)

    assert (found.discarded, found.rejected, len(server.heard)) == (True, 0, 1)


async def test_a_compressed_answer_is_read(server: Hostile) -> None:
    """A server that compresses though nobody asked it to is understood."""
    body = gzip.compress(b'{"partialSuccess":{"rejectedSpans":"3"}}')
    server.will(Say(200, body, JSON | {"Content-Encoding": "gzip"}))

    found = await send(server.url)

    assert (found.rejected, found.discarded) == (3, False)


async def test_a_bomb_takes_little_memory(server: Hostile) -> None:
    """[17] Inflating stops at the limit: 200 MiB of zeros cost less than 16 MiB."""
    import tracemalloc

    server.will(Say(200, gzip.compress(bytes(200 << 20), 9), JSON | {"Content-Encoding": "gzip"}))
    tracemalloc.start()
    await send(server.url)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 16 << 20


@pytest.mark.parametrize("status", [201, 202, 204])
async def test_any_2xx_is_a_success(server: Hostile, status: int) -> None:
    """Gateways answer 202 or 204 where OTLP has 200."""
    server.will(Say(status, b"", {}))

    assert (await send(server.url)).rejected == 0


# -- no answer


@pytest.mark.parametrize(
    ("say", "kind"),
    [
        (Say(end="reset"), ErrorClass.DISCONNECTED),
        (Say(end="close"), ErrorClass.DISCONNECTED),
        (Say(200, b"{}" * 500, end="half"), ErrorClass.DISCONNECTED),
        (Say(200, b"{}" * 500, end="stall"), ErrorClass.TIMEOUT),
    ],
    ids=["reset", "close", "half an answer", "stalled"],
)
async def test_a_lost_answer_may_be_asked_for_again(server: Hostile, say: Say, kind: ErrorClass) -> None:
    """[14, 17, 20] Reset, closed, half, stalled: nobody knows whether it was taken, so it may go again."""
    server.will(say)

    with pytest.raises(Retry) as caught:
        await send(server.url, timeout=0.5)

    assert (caught.value.kind, caught.value.after) == (kind, None)
    assert server.url in caught.value.what


@pytest.mark.parametrize("end", ["half", "stall"])
async def test_a_refusal_stands_though_its_explanation_breaks_off(server: Hostile, end: Any) -> None:
    """[14] The status of an error is known before its body: it is not tried again for the body's sake."""
    server.will(Say(400, b"x" * 1_000, end=end))

    with pytest.raises(Reject) as caught:
        await send(server.url, timeout=0.5)

    assert caught.value.kind is ErrorClass.BAD_DATA


async def test_an_answer_that_drips_ends_at_the_deadline() -> None:
    """The deadline is for the whole exchange, not for each piece of it."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not stop.wait(0.02):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    try:
        with pytest.raises(Retry) as caught:
            await send(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.4)
    finally:
        stop.set()
        thread.join()
        listener.close()

    assert caught.value.kind is ErrorClass.TIMEOUT


async def test_nobody_listening_may_pass() -> None:
    """[14] A refused connection."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    with pytest.raises(Retry) as caught:
        await send(f"http://127.0.0.1:{port}")

    assert caught.value.kind is ErrorClass.CONNECT
    assert f"cannot reach http://127.0.0.1:{port}/v1/traces: Connection refused" == caught.value.what


async def test_an_unknown_name_may_pass() -> None:
    """[14] Names come and go with containers; `.invalid` never resolves (RFC 6761)."""
    with pytest.raises(Retry) as caught:
        await send("http://collector.invalid:4318")

    assert caught.value.kind is ErrorClass.DNS


async def test_what_is_no_http_may_pass() -> None:
    """Garbage from a port that speaks another protocol is no verdict on the batch."""
    listener = socket.create_server(("127.0.0.1", 0))

    def babble() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(b"220 mail.example ESMTP\r\n")

    thread = threading.Thread(target=babble, daemon=True)
    thread.start()
    with pytest.raises(Retry) as caught:
        await send(f"http://127.0.0.1:{listener.getsockname()[1]}")
    thread.join()
    listener.close()

    assert caught.value.kind is ErrorClass.DISCONNECTED


async def test_a_cancelled_send_leaves_the_sink_usable(server: Hostile) -> None:
    """The agent may stop waiting at any moment; the next batch goes out on a clean connection."""
    server.will(Say(200, b"{}" * 500, end="stall"), Say())
    sink = OtlpSink(OtlpOptions(endpoint=server.url), ManualClock())
    with anyio.move_on_after(0.3) as scope:
        await deliver(sink, batch())

    assert scope.cancelled_caught
    assert await deliver(sink, batch(3))
    assert names(server.heard[-1].body) == ["span 0", "span 1", "span 2"]
    await sink.aclose()
    await sink.aclose()


async def test_batches_in_flight_do_not_mix(server: Hostile) -> None:
    """[19] Many at once: each gets its own answer."""
    server.will(Say(429, b""), *[Say()] * 20)
    sink = OtlpSink(OtlpOptions(endpoint=server.url, connections=4), ManualClock())
    verdicts: list[str] = []

    async def one(number: int) -> None:
        try:
            await deliver(sink, batch(number + 1))
            verdicts.append("taken")
        except Retry:
            verdicts.append("later")

    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(one, number)
    await sink.aclose()

    assert sorted(verdicts) == ["later"] + ["taken"] * 9
    assert sorted(len(names(heard.body)) for heard in server.heard) == list(range(1, 11))
    assert len({heard.connection for heard in server.heard}) <= 4


# -- TLS


async def test_a_client_certificate_is_shown(tls_server: Hostile, authority: Path) -> None:
    """Trust in the named authority only, and our own certificate for a server that asks."""
    tls = Tls(
        ca_file=str(authority / "ca.pem"),
        cert_file=str(authority / "client.pem"),
        key_file=str(authority / "client.key"),
    )

    assert await send(tls_server.url, tls=tls)


async def test_an_unknown_authority_is_not_trusted(tls_server: Hostile) -> None:
    """[14] A certificate of nobody we know is a TLS failure, which may pass; nothing is sent."""
    with pytest.raises(Retry) as caught:
        await send(tls_server.url)

    assert caught.value.kind is ErrorClass.TLS
    assert tls_server.heard == []


async def test_verification_can_be_switched_off(tls_server: Hostile, authority: Path) -> None:
    """Verify = false takes any certificate."""
    tls = Tls(verify=False, cert_file=str(authority / "client.pem"), key_file=str(authority / "client.key"))

    assert await send(tls_server.url, tls=tls)


async def test_a_missing_client_certificate_may_pass(tls_server: Hostile, authority: Path) -> None:
    """A server that turns us away during or after the handshake has said nothing about the batch."""
    with pytest.raises(Retry) as caught:
        await send(tls_server.url, tls=Tls(ca_file=str(authority / "ca.pem")))

    assert caught.value.kind in (ErrorClass.TLS, ErrorClass.DISCONNECTED)


# -- configuration


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"endpoint": "localhost:4318"}, "scheme"),
        ({"endpoint": "127.0.0.1:4318"}, "scheme"),
        ({"endpoint": "ftp://host"}, "scheme"),
        ({"endpoint": "http://"}, "host"),
        ({"endpoint": "http://me:secret/x@host"}, "URL"),
        ({"endpoint": "http://me:secret@xn--a:4318"}, "URL"),
        ({"endpoint": ""}, "scheme"),
        ({"signal_endpoints": {"logs": "nowhere"}}, "scheme"),
        ({"headers": {"key": "secret\nX-Other: 1"}}, "value"),
        ({"headers": {"key": "sécret"}}, "value"),
        ({"headers": {"a key": "x"}}, "header"),
        ({"headers": {"Content-Encoding": "br"}}, "header"),
        ({"proxy": "gopher://host"}, "proxy"),
        ({"proxy": "nowhere"}, "proxy"),
        ({"endpoint": "https://h", "tls": Tls(ca_file="/nowhere.pem")}, "nowhere.pem"),
        ({"endpoint": "https://h", "tls": Tls(cert_file="/dev/null")}, "/dev/null"),
    ],
)
def test_what_cannot_work_is_refused_at_once(options: dict[str, Any], what: str) -> None:
    """A wrong URL, header, proxy or certificate is an error of the configuration, with no secret in it."""
    with pytest.raises(ConfigError, match=what) as caught:
        OtlpSink(OtlpOptions(**options), ManualClock())

    assert caught.value.hint
    assert "secret" not in str(caught.value)


def test_an_encrypted_key_is_refused_without_a_prompt(authority: Path) -> None:
    """A service has no terminal to ask on."""
    import subprocess

    key = authority / "locked.key"
    command = ["openssl", "ec", "-in", "client.key", "-aes256", "-passout", "pass:x", "-out", str(key)]
    subprocess.run(command, cwd=authority, check=True, capture_output=True)

    with pytest.raises(ConfigError, match="TLS"):
        Tls(cert_file=str(authority / "client.pem"), key_file=str(key)).context()
