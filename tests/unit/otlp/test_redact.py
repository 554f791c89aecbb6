"""A secret leaves from no place that OTLP has; the places are those of the official protobuf definitions."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import msgspec
import pytest

from agent.config.processing import Redact
from agent.otlp.envelope import Checked, check
from agent.otlp.process import Chain
from agent.otlp.redact import MASK, Redacting
from agent.otlp.secrets import card
from tests.support.planting import CARD, SECRET, SIGNALS, everywhere, plant, strings, told


def processed(line: bytes, rules: Redact, hash_key: str = "") -> bytes:
    """A checked line after redaction."""
    found = check(line)
    assert isinstance(found, Checked), found
    return Chain([Redacting(rules, hash_key)])(found.line, 1).line


def attribute(key: str, value: Any, rules: Redact, hash_key: str = "") -> Any:
    """What becomes of a span's attribute; None when it is gone."""
    span = {"name": "x", "attributes": [{"key": key, "value": value}]}
    line = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
    (after,) = json.loads(processed(line, rules, hash_key))["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert len(after["attributes"]) == 1 - after.get("droppedAttributesCount", 0)
    return after["attributes"][0]["value"] if after["attributes"] else None


@pytest.mark.parametrize("action", ["mask", "hash", "drop"])
@pytest.mark.parametrize("signal", SIGNALS)
def test_a_planted_secret_leaves_from_no_place(signal: str, action: Any) -> None:
    """Every text, every bytes and every integer value of the official definitions, one after the other."""
    rules = Redact(defaults=True, action=action)
    ways = list(everywhere(signal))

    assert len(ways) > 30
    for way in ways:
        line = plant(signal, way)
        assert SECRET in told(line) or CARD in told(line), way
        after = told(processed(line, rules))
        assert SECRET not in after, [one.name for one in way]
        assert CARD not in after, [one.name for one in way]
        assert isinstance(check(processed(line, rules)), Checked)


@pytest.mark.parametrize("signal", SIGNALS)
def test_what_is_no_secret_is_left_as_it_is(signal: str) -> None:
    """The same places with a harmless text: the document that leaves is the one that came."""
    for way in everywhere(signal):
        line = plant(signal, way).replace(SECRET.encode(), b"harmless").replace(CARD.encode(), b"42")
        line = line.replace(base64.b64encode(SECRET.encode()), base64.b64encode(b"harmless"))
        before, after = json.loads(line), json.loads(processed(line, Redact(defaults=True)))
        assert set(strings(before)) - {"attributes", "values", "value", "key"} <= set(strings(after))


def test_hiding_places_of_json_are_closed() -> None:
    """A key that comes twice, a field that OTLP does not know, two kinds in one value, escapes, a key as the secret."""
    value = {
        "stringValue": "y", "bytesValue": base64.b64encode(SECRET.encode()).decode(), "futureValue": SECRET,
        "arrayValue": {"values": [{"stringValue": SECRET}], "more": SECRET},
    }  # fmt: skip
    hiding = [{"key": "a", "comment": SECRET, "value": value}, {"key": SECRET}]
    lines = (
        f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"name":"{SECRET}","name":"x"}}]}}]}}]}}',
        f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"name":"x","newField":{{"a":["{SECRET}"]}}}}]}}]}}]}}',
        f'{{"resourceSpans":[{{"{SECRET}":1,"scopeSpans":[{{"spans":[{{"name":"x"}}]}}]}}],"{SECRET}":[]}}',
        '{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"Mary.Major\\u0040example.com"}]}]}]}',
        json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "x", "attributes": hiding}]}]}]}),
    )
    for line in lines:
        assert SECRET not in told(processed(line.encode(), Redact(defaults=True)))


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abc.def-123", 'headers={"Authorization": "Basic dXNlcjpwYXNz", "a": 1}',
        "authorization=Digest username=x response=abc123", "Cookie: a=abc123; b=abc123", "set-cookie: sid=abc123",
        "GET /?token=abc123&x=1", "password: abc123", "--api-key=abc123", '{"client_secret":"abc123"}',
        "postgres://user:abc123@db/x", "eyJhbGciOiJI.eyJzdWIiOiIx.abc123", "AKIAABCD1234EFGH5678",
        "ghp_abcdefghij0123456789abcdefghij012345", "xoxb-1234567890-abc123", "sk_live_abcdefghij123",
        "-----BEGIN RSA PRIVATE KEY-----\nabc123\n-----END RSA PRIVATE KEY-----", "a@b.com", "Jürgen.Öz@exämple.de",
        "x%40example.com", "4111 1111 1111 1111", "card 5500-0000-0000-0004.", "378282246310005", "6011000990139424",
        "Bearer\tabcdefgh", "bearer: abcdefgh", "mysql --db-password abc123 x", "<password>abc123</password>",
        '{"password": ["abc123"]}', '{\\"password\\": \\"abc123\\"}', "token%3Dabc123&", "passphrase => abc123",
        "sessionId=abc123", "pass=1 x" + "y" * 70 + "@example.com",
        "4111\u00a01111\u00a01111\u00a01111", "refresh_token='abc123 def'",
    ],
)  # fmt: skip
def test_defaults_know_secrets_by_their_look(text: str) -> None:
    """In a text of any kind; what stands around a secret may stay."""
    after = attribute("note", {"stringValue": text}, Redact(defaults=True))["stringValue"]

    assert MASK in after
    assert not [one for one in ("abc123", "dXNlcjpwYXNz", "def-123", "1111 1111", ".co", "abcdefgh") if one in after]


@pytest.mark.parametrize(
    "text",
    [
        "GET /api/orders/4111", "0.4111111111111111", "2024-10-22T16:30:00Z", "1581452772000000321", "user@localhost",
        "basic auth failed", "63ca828dd5f4b3b2e4b06ce60741c7a8", "http://host:8080/path", "12345678901234567890",
        "key press", "4111111111111112", "https://example.com/a:b@c", "token bucket is empty", "-- a comment",
        "session opened", "monkey: banana", "",
    ],
)  # fmt: skip
def test_defaults_leave_ordinary_texts_alone(text: str) -> None:
    """Times, ids, fractions, URLs, words that only sound secret, numbers without a card's check digit."""
    assert {"stringValue": text} == attribute("note", {"stringValue": text}, Redact(defaults=True))


@pytest.mark.parametrize(
    "value",
    [
        {"stringValue": "hunter"}, {"boolValue": True}, {"intValue": "7"}, {"doubleValue": 1.5}, {"bytesValue": "aGk="},
        {"arrayValue": {"values": [{"stringValue": "hunter"}]}}, {},
        {"kvlistValue": {"values": [{"key": "a", "value": {"stringValue": "hunter"}}]}},
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", ["http.request.header.Authorization", "DB.PASSWORD", "x-api-key", "user.email"])
def test_a_secret_key_hides_values_of_every_kind(key: str, value: Any) -> None:
    """Whatever the value looks like."""
    assert {"stringValue": MASK} == attribute(key, value, Redact(defaults=True))


def test_counts_of_tokens_are_no_tokens() -> None:
    """As semantic conventions for generative models have them."""
    value = {"intValue": "42"}
    assert value == attribute("gen_ai.usage.input_tokens", value, Redact(defaults=True))


def test_own_keys_values_and_exceptions() -> None:
    """Patterns for keys in any case, expressions with the secret as a group, keys that are left alone."""
    rules = Redact(keys=("user.*",), values=(r"order-(?P<secret>\d+)", "^exactly$"), keep=("user.id", "raw*"))

    def text(key: str, value: str) -> Any:
        return attribute(key, {"stringValue": value}, rules)["stringValue"]

    assert MASK == text("User.Name", "x")
    assert "x" == text("user.id", "x")
    assert f"order-{MASK}, order-{MASK}" == text("a", "order-12, order-345")
    assert MASK == text("a", "exactly")
    assert "not exactly" == text("a", "not exactly")
    assert "order-12" == text("raw.b", "order-12")
    assert SECRET == text("a", SECRET)


def test_hash_is_the_same_wherever_the_secret_stands() -> None:
    """Plain SHA-256, or HMAC with a key: so that who was it can be counted, and joined, but not read."""
    plain, keyed = Redact(defaults=True, action="hash"), Redact(defaults=True, action="hash", hash_key="k")
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    keyed_digest = hmac.new(b"k", SECRET.encode(), hashlib.sha256).hexdigest()

    assert {"stringValue": f"sha256:{digest}"} == attribute("user.email", {"stringValue": SECRET}, plain)
    assert {"stringValue": f"to sha256:{digest}!"} == attribute("a", {"stringValue": f"to {SECRET}!"}, plain)
    assert {"stringValue": f"hmac-sha256:{keyed_digest}"} == attribute("a", {"stringValue": SECRET}, keyed, "k")


def test_drop_takes_the_attribute_and_counts_it() -> None:
    """By key or by value, in lists of lists as well; from other texts the secret is cut out."""
    rules = Redact(defaults=True, action="drop")

    assert attribute("a", {"stringValue": f"x {SECRET}"}, rules) is None
    assert attribute("password", {"intValue": "1"}, rules) is None
    nested = {"kvlistValue": {"values": [{"key": "token", "value": {}}, {"key": "b", "value": {"intValue": "1"}}]}}
    left = {"kvlistValue": {"values": [{"key": "b", "value": {"intValue": "1"}}]}}
    assert left == attribute("a", nested, rules)
    line = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [{"name": f"to {SECRET}"}]}]}]}).encode()
    assert b'"name":"to "' in processed(line, rules)


def test_the_same_record_gives_the_same_bytes() -> None:
    """Also in another process: nothing depends on order or memory."""
    line = plant("traces", next(everywhere("traces")))
    assert processed(line, Redact(defaults=True)) == processed(line, Redact(defaults=True))


@pytest.mark.parametrize(
    "text", ["a" * 300_000, "eyJ" * 100_000, "1 " * 150_000, "password " * 30_000, "a@" * 150_000, "://" * 100_000,
             "-----BEGIN PRIVATE KEY-----" * 10_000, "a:" * 150_000, "4-" * 150_000, "bearer " * 40_000,
             "cookie" * 50_000, "cookie:" * 40_000, "%40a." * 60_000, "sk-" * 100_000,
             "-" * 300_000, "--a" * 100_000, "password\"\"" * 30_000, "token=[" * 40_000, "--token " * 40_000]
)  # fmt: skip
def test_no_text_takes_for_ever(text: str) -> None:
    """A stranger's 300 KB: the time is that of reading it, not its square, which would be minutes."""
    start = time.process_time()
    Redacting(Redact(defaults=True)).text(text)
    assert time.process_time() - start < 3


def test_a_value_that_is_nested_too_deeply_raises() -> None:
    """It is for the caller to keep it; it does not pass half looked at."""
    value: Any = {"stringValue": SECRET}
    for _ in range(3_000):
        value = {"arrayValue": {"values": [value]}}
    document = {"resourceSpans": [{"resource": {"attributes": [{"key": "a", "value": value}]}}]}
    with pytest.raises(RecursionError):
        Redacting(Redact(defaults=True))(document)


def test_card_numbers_have_an_issuer_a_length_and_a_check_digit() -> None:
    """ISO/IEC 7812-1."""
    assert all(map(card, ("4111111111111111", "4222222222222", "30569309025904", "3530111333300000")))
    assert not any(map(card, ("4111111111111112", "1111111111111117", "41111111111111", "")))


def test_every_known_field_is_known_here() -> None:
    """What `records` has is looked at or is no text: a new field cannot be forgotten, it would be left out."""
    whole = msgspec.json.decode(plant("metrics", next(everywhere("metrics"))))
    after = json.loads(processed(json.dumps(whole).encode(), Redact(keys=("nothing",))))
    assert whole.keys() == after.keys()
