"""Processing between file and destination: what arrives, what the books say, what stays at home."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from agent.config import Forward
from agent.config.processing import Add, Filter, Limit, Redact, Sample
from agent.duties.parcel import lines, pack
from agent.duties.processing import chain
from agent.kit.errors import ConfigError
from agent.kit.units import Share
from agent.metrics import PREFIX, ForwardSeries
from agent.otlp.process import Chain
from agent.otlp.redact import MASK
from agent.sinks.base import ErrorClass
from tests.support import grpcd
from tests.support.hostile import Hostile, Say
from tests.support.planting import CARD, SIGNALS, everywhere, plant
from tests.support.planting import SECRET as PLACED
from tests.support.yard import LEAF, Yard, bodies, forward, letters, log, settled, small, span

SECRET = "mary.major@example.com"  # noqa: S105 - what must not leave
PLANTED = span(1).replace(b'"n1"', b'"n1","traceState":"%s"' % SECRET.encode())
REDACT = Redact(defaults=True)


def trace(number: int, high: bool = True, project: str = "a") -> bytes:
    """A line with a span of a trace of the upper or lower half of all, in a project."""
    resource = {"attributes": [{"key": "project", "value": {"stringValue": project}}]}
    one = {"name": f"n{number}", "traceId": ("f" * 18 + ("f" if high else "0") * 14)}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [one]}]}]}).encode() + b"\n"


def varints(body: bytes) -> set[int]:
    """Every number that protobuf could mean, wherever it might begin."""
    found = set()
    for match in re.finditer(rb"(?=([\x80-\xff]{6,9}[\0-\x7f]))", body):
        found.add(sum((byte & 0x7F) << 7 * place for place, byte in enumerate(match[1])))
    return found


def everything(server: Hostile) -> bytes:
    """All that went over the wire: lines, headers, bodies."""
    return b"".join(b"%r%r%b" % (one.path.encode(), str(one.headers).encode(), one.body) for one in server.heard)


def test_with_nothing_configured_bytes_pass_untouched() -> None:
    """The very bytes that were read, in one piece: nobody parses them for processing."""
    assert chain(Forward(name="a"), {}) is None
    (part,) = pack("a", "id", records := lines(0, span(1) + span(2)), 0, 9, otlp=True, max_record=999).parts
    assert part.batch.records is records.lines
    assert span(1) + span(2) == b"".join(part.batch.records)
    assert () == part.originals


def test_each_table_becomes_a_step() -> None:
    """In their order, with references resolved."""
    one = Forward(
        name="a", filter=Filter(include=("a=b",)), sample=Sample(ratio=Share("1%")), limit=Limit(links=1),
        redact=Redact(defaults=True, action="hash", hash_key="${env:KEY}"), add=Add(attributes={"pod": "${env:POD}"}),
    )  # fmt: skip
    made = chain(one, {"KEY": "k", "POD": "p-1"})
    assert made is not None
    assert ["filter", "sample", "redact", "limit", "add"] == [step.reason for step in made._steps]
    with pytest.raises(ConfigError, match="POD"):
        chain(one, {"KEY": "k"})


def test_a_secret_stays_at_home(tmp_path: Path, server: Hostile) -> None:
    """Live and sealed; the archive has it as it was written, the destination never."""
    with Yard(tmp_path, forward(server, redact=REDACT)) as yard:
        yard.write(PLANTED)
        yard.look()
        yard.seal()
        yard.write(PLANTED + span(2))
        yard.run(settled(yard, 3))
        assert 3 == yard.status().delivered

    assert 3 == everything(server).count(b'"name":"n')
    assert SECRET.encode() not in everything(server)
    assert PLANTED == b"".join(gzip.decompress(one.read_bytes()) for one in tmp_path.glob("*.gz"))


def test_no_place_of_otlp_lets_a_secret_out_on_the_wire(tmp_path: Path, server: Hostile) -> None:
    """All signals, every field of the official definitions, in the bytes of requests: JSON, protobuf and gRPC."""
    records = [plant(signal, way) for signal in SIGNALS for way in everywhere(signal)]
    hidden = [base64.b64encode(one.encode())[:-4] for one in (PLACED, CARD)]
    with grpcd.serving() as receiver:
        for encoding in ("json", "protobuf", "grpc"):
            place = tmp_path / encoding
            place.mkdir()
            urls = (receiver.url if encoding == "grpc" else server.url,)
            with Yard(place, forward(server, endpoints=urls, encoding=encoding, redact=REDACT)) as yard:
                yard.write(b"".join(records))
                yard.run(settled(yard, len(records)), seconds=60)
                assert len(records) == yard.status().delivered > 200
        sent = [one.body for one in (*server.heard, *receiver.heard)]

    assert len(sent) >= 9
    for body in sent:
        assert MASK.encode() in body
        assert not [one for one in (PLACED.encode(), CARD.encode(), *hidden) if one in body]
        assert int(CARD) not in varints(body)


def test_dead_letters_are_processed_again_when_they_are_replayed(tmp_path: Path, server: Hostile) -> None:
    """They are kept as they were read, in the state directory; replayed, the secret still stays at home."""
    server.will(Say(400), Say())
    hashing = Redact(defaults=True, action="hash")
    with Yard(tmp_path, forward(server, redact=hashing)) as yard:
        yard.write(PLANTED)
        yard.run(settled(yard, 1))
        (letter,) = letters(tmp_path)
        assert SECRET in letter["record"]
        assert SECRET not in letter["reason"]
    with Yard(tmp_path, forward(server, redact=hashing)) as yard:
        replayed = yard.forwards.replay_letters("out", [])

    assert (1, 0) == (replayed.sent, replayed.kept)
    assert SECRET.encode() not in everything(server)
    first, second = bodies(server)
    assert first == second


def test_what_cannot_be_processed_is_a_dead_letter(tmp_path: Path, server: Hostile) -> None:
    """Nested beyond what can be looked through, or no OTLP at all: not sent, nor replayed."""
    value = b'{"stringValue":"%s"}' % SECRET.encode()
    for _ in range(900):
        value = b'{"arrayValue":{"values":[%b]}}' % value
    deep = span(2).replace(b'"n2"', b'"n2","attributes":[{"key":"a","value":%b}]' % value)
    bad = b'{"secret":"%s"}\n' % SECRET.encode()
    with Yard(tmp_path, forward(server, redact=REDACT)) as yard:
        yard.write(deep + bad + span(1))
        yard.run(settled(yard, 3))
        status = yard.status()
    with Yard(tmp_path, forward(server, redact=REDACT)) as yard:
        replayed = yard.forwards.replay_letters("out", [])

    assert (1, 2) == (status.delivered, status.dead_lettered)
    assert {ErrorClass.NOT_OTLP} == {one["kind"] for one in letters(tmp_path)}
    assert (0, 2) == (replayed.sent, replayed.kept)
    assert SECRET.encode() not in everything(server)
    assert not any(SECRET in one["reason"] for one in letters(tmp_path))


def test_a_step_that_fails_lets_nothing_past() -> None:
    """A defect of ours costs a dead letter, whose reason quotes nothing."""

    class Broken:
        reason = "broken"

        def __call__(self, _: Any) -> int:
            raise KeyError(SECRET)

    found = pack("a", "id", lines(0, PLANTED), 0, 9, otlp=True, max_record=999, process=Chain([Broken()]))
    assert [] == found.parts
    assert [(ErrorClass.PROCESSING, "could not be processed: KeyError")] == [
        (one.kind, one.reason) for one in found.refused
    ]


def test_books_balance_with_what_was_left_out(tmp_path: Path, server: Hostile) -> None:
    """At every look; whole records as filtered, single items by reason, and a scrape says the same."""
    rules: dict[str, Any] = {"filter": Filter(include=("project=a",)), "sample": Sample(ratio=Share("50%"))}
    with Yard(tmp_path, forward(server, batch=small(3), **rules)) as yard:
        yard.write(b"".join(trace(n, high=n % 2 == 0, project="ab"[n % 3 == 0]) for n in range(60)))
        yard.write(b"{}\nno\n")
        yard.run(settled(yard, 62))
        registry = CollectorRegistry()
        registry.register(ForwardSeries(yard.forwards.samples))
        status = yard.status()

    def value(name: str, reason: str) -> float | None:
        return registry.get_sample_value(f"{PREFIX}forward_{name}_total", {"forward": "out", "reason": reason})

    assert (20, 40, 1, 1) == (status.delivered, status.filtered, status.empty, status.dead_lettered)
    assert (20, 20) == (value("filtered_records", "filter"), value("filtered_records", "sample"))
    assert (20, 20, 40) == (value("dropped_items", "filter"), value("dropped_items", "sample"), status.dropped_items)
    assert {"filter": 20, "sample": 20} == status.left_out
    assert 0 == status.backlog_bytes
    assert {b"a"} == {b"b" if b'"stringValue":"b"' in body else b"a" for body in bodies(server)}


def test_a_record_of_two_signals_is_settled_once(tmp_path: Path, server: Hostile) -> None:
    """Its spans are sampled away, its log record arrives: delivered, not filtered."""
    both = trace(1, high=False)[:-2] + b"," + log(2)[1:]
    with Yard(tmp_path, forward(server, sample=Sample(ratio=Share("50%")))) as yard:
        yard.write(both)
        yard.run(settled(yard, 1))
        assert (1, 0, 1) == (yard.status().delivered, yard.status().filtered, yard.status().dropped_items)
    assert ["/v1/logs"] == [one.path for one in server.heard]


def test_sampling_keeps_whole_traces_over_two_agents(tmp_path: Path, server: Hostile) -> None:
    """Each agent has some of the spans of each trace; what arrives of a trace is all of it, or nothing."""
    total: Counter[str] = Counter()
    for agent in ("one", "two"):
        place = tmp_path / agent
        place.mkdir()
        with Yard(place, forward(server, sample=Sample(ratio=Share("30%")))) as yard:
            for number in range(400):
                identity = f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC834 % 2**128:032x}"
                one = {"name": agent, "traceId": identity}
                yard.write(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [one]}]}]}).encode() + b"\n")
            yard.run(settled(yard, 400))
    for body in bodies(server):
        for resource in json.loads(body)["resourceSpans"]:
            total.update(one["traceId"] for one in resource["scopeSpans"][0]["spans"])

    assert {2} == set(total.values())
    assert 90 < len(total) < 150


def test_a_batch_that_was_under_way_is_sent_again_as_the_same_bytes(tmp_path: Path, server: Hostile) -> None:
    """After a restart too: processing depends on nothing but record and configuration."""
    rules: dict[str, Any] = {
        "redact": Redact(defaults=True, action="hash"), "sample": Sample(ratio=Share("50%")), "limit": Limit(events=1),
        "add": Add(attributes={"host.name": "h"}), "batch": small(40, in_flight=1),
    }  # fmt: skip
    server.will(Say(503))
    with Yard(tmp_path, forward(server, **rules)) as yard:
        yard.write(b"".join(trace(n, high=n % 3 > 0) + PLANTED for n in range(20)))
        yard.run(lambda: yard.status().retries >= 1)
    server.will(Say())
    with Yard(tmp_path, forward(server, **rules)) as yard:
        yard.write(PLANTED)
        yard.run(settled(yard, 41))

    *same, last = [one.raw for one in server.heard]
    assert len(same) >= 2
    assert 1 == len(set(same))
    assert last != same[0]


def test_files_and_the_console_get_processed_records_too(tmp_path: Path) -> None:
    """A copy in another directory is a destination as well; what is no OTLP does not pass there then."""
    place, copy = tmp_path / "watched", tmp_path / "copy"
    place.mkdir()
    one = Forward(name="out", kind="file", directory=str(copy), batch=small(), redact=REDACT)
    both = PLANTED[:-2] + b"," + log(4)[1:]
    with Yard(place, one) as yard:
        yard.write(both + b"plain text with " + SECRET.encode() + b"\n")
        yard.run(settled(yard, 2))
        assert (1, 1) == (yard.status().delivered, yard.status().dead_lettered)

    text = (copy / LEAF).read_text()
    assert 1 == len(text.splitlines())
    assert ["resourceSpans", "resourceLogs"] == list(json.loads(text))
    assert SECRET not in text
    assert os.listdir(copy)
