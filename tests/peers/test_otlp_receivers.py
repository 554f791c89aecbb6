"""The OTLP sink against receivers that nobody here wrote: what arrived is read back and compared."""

import itertools
import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest

from agent.config import Forward
from agent.config.processing import Redact
from agent.kit.clock import SystemClock
from agent.otlp.redact import MASK
from agent.sinks.base import Outcome, Reject, Retry, Sink, TooLarge
from agent.sinks.otlp import OtlpOptions, OtlpSink
from agent.sinks.otlp_grpc import GrpcSink
from agent.streams.batch import Batch
from tests.support import peers
from tests.support.sinks import deliver
from tests.support.yard import Yard, settled, small, spans

pytestmark = [pytest.mark.peer, pytest.mark.anyio, pytest.mark.timeout(600)]

KEYS = {
    "traces": ("resourceSpans", "scopeSpans", "spans"),
    "logs": ("resourceLogs", "scopeLogs", "logRecords"),
    "metrics": ("resourceMetrics", "scopeMetrics", "metrics"),
}
FORMS = list(itertools.product(KEYS, ("json", "protobuf", "grpc"), ("gzip", "none")))


class Receiver(NamedTuple):
    """A program that listens on two ports, and where it tells what it heard."""

    http: str
    grpc: str
    log: Path

    def url(self, encoding: str) -> str:
        """Where requests in this encoding go."""
        return self.grpc if encoding == "grpc" else self.http


@pytest.fixture
def anyio_backend() -> str:
    """The agent runs on asyncio."""
    return "asyncio"


def item(signal: str, name: str) -> dict[str, Any]:
    """One span, log record or metric that carries `name`."""
    trace = {"traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B174"}
    if signal == "traces":
        times = {"startTimeUnixNano": "1581452772000000321", "endTimeUnixNano": "1581452772000000322"}
        return trace | times | {"name": name, "kind": 2}
    if signal == "logs":
        return trace | {"timeUnixNano": "1581452773000000789", "severityNumber": 9, "body": {"stringValue": name}}
    point = {"asInt": "9007199254740993", "timeUnixNano": "1581452773000000789"}
    return {"name": name, "sum": {"dataPoints": [point], "aggregationTemporality": 2, "isMonotonic": True}}


def batch(signal: str, names: list[str]) -> Batch:
    """One line for each name."""
    outer, inner, innermost = KEYS[signal]
    service = {"attributes": [{"key": "service.name", "value": {"stringValue": "test"}}]}
    lines = [
        json.dumps({outer: [{"resource": service, inner: [{innermost: [item(signal, name)]}]}]}).encode() + b"\n"
        for name in names
    ]
    return Batch("a.json", "id", 0, 1, tuple(lines), signal)


async def send(url: str, what: Batch, **options: Any) -> Outcome:
    """One batch through a sink of its own."""
    given = OtlpOptions(endpoint=url, **options)
    sink: Sink = GrpcSink(given) if given.encoding == "grpc" else OtlpSink(given, SystemClock())
    try:
        return await deliver(sink, what)
    finally:
        await sink.aclose()


def eventually(look: Callable[[], set[str]], wanted: set[str]) -> set[str]:
    """What `look` sees, as soon as it sees all that is wanted: receivers print and store a moment later."""
    until = time.monotonic() + 10
    while not wanted <= (seen := look()) and time.monotonic() < until:
        time.sleep(0.05)
    return seen


@pytest.fixture(scope="module")
def rotel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """A rotel that prints what it received."""
    home = peers.environment(request.config, "rotel", "--pre", "rotel")
    program = next(home.glob("lib/python*/site-packages/rotel/rotel-agent"))
    program.chmod(0o755)
    place = tmp_path_factory.mktemp("rotel")
    address, grpc = (f"127.0.0.1:{peers.free_port()}" for _ in range(2))
    command = [
        *(str(program), "start", "--exporter", "blackhole", "--debug-log-verbosity", "detailed"),
        *(word for signal in KEYS for word in ("--debug-log", signal)),
        *("--pid-file", str(place / "pid"), "--otlp-http-endpoint", address),
        *("--otlp-grpc-endpoint", grpc),
    ]
    with peers.running(command, f"http://{address}/", place / "log"):
        yield Receiver(f"http://{address}", f"http://{grpc}", place / "log")


@pytest.fixture(scope="module")
def ddapm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """A ddapm-test-agent, which gives back what it received."""
    home = peers.environment(request.config, "ddapm", "ddapm-test-agent")
    port, http, grpc = (str(peers.free_port()) for _ in range(3))
    command = [str(home / "bin/ddapm-test-agent"), "--port", port, "--otlp-http-port", http, "--otlp-grpc-port", grpc]
    log = tmp_path_factory.mktemp("ddapm") / "log"
    with peers.running(command, f"http://127.0.0.1:{http}/test/session/traces", log):
        yield Receiver(f"http://127.0.0.1:{http}", f"http://127.0.0.1:{grpc}", log)


@pytest.fixture(scope="module")
def otelsink(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Oteltest's otelsink: it drops the connection on a compressed request. Its port is fixed."""
    home = peers.environment(request.config, "oteltest", "oteltest")
    log = tmp_path_factory.mktemp("otelsink") / "log"
    with peers.running([str(home / "bin/otelsink"), "--http"], "http://127.0.0.1:4318/", log):
        yield "http://127.0.0.1:4318"


@pytest.mark.parametrize(("signal", "encoding", "compression"), FORMS)
async def test_rotel_receives_every_form(rotel: Receiver, signal: str, encoding: str, compression: str) -> None:
    """Every signal, in JSON, protobuf and gRPC, with and without gzip: taken without a remark, each item is seen."""
    names = {f"{signal}-{encoding}-{compression}-{number}" for number in range(20)}

    to = rotel.url(encoding)
    outcome = await send(to, batch(signal, sorted(names)), encoding=encoding, compression=compression)

    assert (outcome.rejected, outcome.message, outcome.discarded) == (0, "", False)
    pattern = rf"{signal}-{encoding}-{compression}-\d+"
    assert eventually(lambda: set(re.findall(pattern, rotel.log.read_text("utf-8", "replace"))), names) == names


@pytest.mark.parametrize(("signal", "encoding", "compression"), FORMS)
async def test_ddapm_gives_back_what_was_sent(ddapm: Receiver, signal: str, encoding: str, compression: str) -> None:
    """What arrived is read back, and the names are those that were sent; its answers are empty protobuf."""
    names = {f"{signal}-{encoding}-{compression}-{number}" for number in range(20)}

    to = ddapm.url(encoding)
    outcome = await send(to, batch(signal, sorted(names)), encoding=encoding, compression=compression)

    def arrived() -> set[str]:
        with urllib.request.urlopen(f"{ddapm.http}/test/session/{signal}") as answer:  # noqa: S310 - our own URL
            return set(re.findall(rf"{signal}-{encoding}-{compression}-\d+", answer.read().decode()))

    assert (outcome.rejected, outcome.message, outcome.discarded) == (0, "", False)
    assert eventually(arrived, names) == names


async def test_rotel_refuses_what_is_no_otlp(rotel: Receiver) -> None:
    """A body of another shape is a 400: a refusal, not a retry."""
    line = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":"SPAN_KIND_SERVER"}]}]}]}\n'

    with pytest.raises(Reject, match="400 from"):
        await send(rotel.http, Batch("a", "id", 0, 1, (line,), "traces"))


async def test_a_receiver_that_drops_compressed_requests_may_be_retried(otelsink: str) -> None:
    """A dropped connection says nothing about the batch; without compression the same batch is taken."""
    with pytest.raises(Retry):
        await send(otelsink, batch("traces", ["one"]))

    assert await send(otelsink, batch("traces", ["one"]), compression="none")


@pytest.mark.parametrize("encoding", ["json", "protobuf", "grpc"])
def test_files_arrive_at_a_real_receiver(
    rotel: Receiver, tmp_path: Path, encoding: Literal["json", "protobuf", "grpc"]
) -> None:
    """From live file and segment to rotel, gzip and all: every number that was written is seen there, each once."""
    log = rotel.log
    before = set(re.findall(r"n\d{5}\b", log.read_text("utf-8", "replace")))
    base = {"json": 10_000, "protobuf": 20_000, "grpc": 30_000}[encoding]
    out = Forward(name="out", endpoints=(rotel.url(encoding),), encoding=encoding, batch=small(50))
    with Yard(tmp_path, out) as yard:
        yard.write(spans(base, base + 200))
        yard.look()
        yard.seal()
        yard.write(spans(base + 200, base + 300))
        yard.run(settled(yard, 300), seconds=60)
        assert (300, 0) == (yard.status().delivered, yard.status().dead_lettered)

    wanted = {f"n{number}" for number in range(base, base + 300)}
    assert not wanted & before
    assert wanted <= eventually(lambda: set(re.findall(r"n\d{5}\b", log.read_text("utf-8", "replace"))), wanted)


@pytest.mark.parametrize("encoding", ["json", "grpc"])
def test_a_secret_does_not_arrive_at_a_real_receiver(
    rotel: Receiver, tmp_path: Path, encoding: Literal["json", "grpc"]
) -> None:
    """Without redaction rotel prints it, so it would be seen; with it only the mask is, and everything else arrives."""
    for name, rules in (("open", Redact()), ("kept", Redact(defaults=True))):
        secret = f"{encoding}.{name}@example.com"
        place = tmp_path / name
        place.mkdir()
        out = Forward(name="out", endpoints=(rotel.url(encoding),), encoding=encoding, batch=small(), redact=rules)
        with Yard(place, out) as yard:
            (line,) = batch("traces", [f"{encoding}-{name} of {secret}"]).records
            yard.write(line)
            yard.run(settled(yard, 1), seconds=60)
            assert 1 == yard.status().delivered
        wanted = {f"{encoding}-{name} of {secret if name == 'open' else MASK}"}

        def told() -> set[str]:
            return set(re.findall(r"\w+-\w+ of [\w.@\[\]]+", rotel.log.read_text("utf-8", "replace")))

        assert wanted <= eventually(told, wanted)
        assert (secret in rotel.log.read_text("utf-8", "replace")) == (name == "open")


async def test_a_message_that_a_real_receiver_finds_too_large_is_told_from_a_passing_failure(rotel: Receiver) -> None:
    """Whatever code it uses: as a passing failure the batch would be sent for ever."""
    line = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [item("traces", "x" * 9_000_000)]}]}]}).encode()

    with pytest.raises(TooLarge):
        await send(rotel.grpc, Batch("a", "id", 0, 1, (line + b"\n",), "traces"), encoding="grpc", compression="none")
