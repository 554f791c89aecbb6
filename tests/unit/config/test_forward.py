"""`[[forward]]`: values, standard variables, and loops that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import needs_restart
from agent.config.forward import Retrying
from agent.kit.errors import ConfigError
from tests.unit.config.conftest import Load

ONE = '[[forward]]\nname = "a"\n'


def test_defaults_are_those_of_the_protocol(load_text: Load) -> None:
    """A forward needs a name only: OTLP to the usual port, JSON, gzip, ten seconds, for ever."""
    (one,) = load_text(ONE).config.forward

    assert ("otlp", ("http://127.0.0.1:4318",), "json", "gzip", 10.0) == (
        one.kind, one.endpoints, one.encoding, one.compression, float(one.timeout)
    )  # fmt: skip
    assert (0, 0.25, 5, 60.0) == (one.retry.max_attempts, one.retry.spread, one.breaker.failures, one.breaker.recovery)
    assert one.selects("deep/traces.json")
    assert not one.selects("app.log")


@pytest.mark.parametrize(("jitter", "spread"), [("25%", 0.25), ("0%", 0.0), ("100%", 1.0), ("full", "full")])
def test_jitter_is_a_share_or_full(jitter: str, spread: object) -> None:
    """As the backoff wants it."""
    assert spread == Retrying(jitter=jitter).spread


def test_standard_variables_fill_what_is_open(load_text: Load) -> None:
    """Units, encodings and per-signal forms of the OpenTelemetry specification; what is written goes before them."""
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1/base",
        "OTEL_EXPORTER_OTLP_HEADERS": "a=b%20c, d=e",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1500",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "/ca.pem",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://logs:1/x",
        "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT": "200",
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "",
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_SERVICE_VERSION": "7",
        "CIRCUIT_BREAKER_FAILURE_THRESHOLD": "9",
        "CIRCUIT_BREAKER_RECOVERY_TIMEOUT": "2.5",
    }
    text = ONE + '[[forward]]\nname = "b"\nencoding = "json"\n[[forward]]\nname = "c"\nkind = "console"\n'
    loaded = load_text(text, environ=environ)
    a, b, c = loaded.config.forward

    assert (("http://c:1/base",), {"a": "b c", "d": "e"}, 1.5, "none") == (
        a.endpoints, a.headers, float(a.timeout), a.compression
    )  # fmt: skip
    assert ("/ca.pem", 9, 2.5) == (a.tls.ca_file, a.breaker.failures, float(a.breaker.recovery))
    assert ("http://logs:1/x", 0.2, "") == (a.logs.endpoint, float(a.logs.timeout), a.metrics.encoding)
    assert ["protobuf", "json", "json"] == [a.encoding, b.encoding, c.encoding]
    assert ("http://127.0.0.1:4318",) == c.endpoints
    assert ("shop", "7") == (loaded.config.agent.service_name, loaded.config.agent.service_version)
    assert "environment OTEL_EXPORTER_OTLP_TIMEOUT" == loaded.origins["forward[0].timeout"]


def test_grpc_has_a_default_port_of_its_own(load_text: Load) -> None:
    """By the variable or by the key; an endpoint that is given stays."""
    environ = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    for text, variables in ((ONE, environ), (ONE + 'encoding = "grpc"\n', {})):
        (one,) = load_text(text, environ=variables).config.forward
        assert ("grpc", ("http://127.0.0.1:4317",)) == (one.encoding, one.endpoints)
        given = load_text(text + 'endpoints = ["http://c:1"]\n', environ=variables).config.forward
        assert ("http://c:1",) == given[0].endpoints
    (both,) = load_text(ONE, environ=environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c:2"}).config.forward
    assert ("https://c:2",) == both.endpoints


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
@pytest.mark.parametrize(
    ("form", "value", "key", "expected"),
    [
        ("ENDPOINT", "http://x:1/y", "endpoint", "http://x:1/y"),
        ("HEADERS", "a=b", "headers", {"a": "b"}),
        ("TIMEOUT", "200", "timeout", 0.2),
        ("COMPRESSION", "none", "compression", "none"),
        ("PROTOCOL", "http/protobuf", "encoding", "protobuf"),
        ("CERTIFICATE", "/c.pem", "ca_file", "/c.pem"),
    ],
)
def test_each_signal_has_its_own_variables(
    load_text: Load, signal: str, form: str, value: str, key: str, expected: object
) -> None:
    """OTEL_EXPORTER_OTLP_{TRACES,LOGS,METRICS}_*: for that signal, and for no other."""
    variable = f"OTEL_EXPORTER_OTLP_{signal.upper()}_{form}"
    (one,) = load_text(ONE, environ={variable: value}).config.forward
    (plain,) = load_text(ONE).config.forward

    assert expected == getattr(getattr(one, signal), key)
    assert all(getattr(one, other) == getattr(plain, other) for other in {"traces", "logs", "metrics"} - {signal})


def test_no_forward_is_made_of_variables_alone(load_text: Load) -> None:
    """They are often set for somebody else in the container; shipping has to be asked for."""
    assert () == load_text("", environ={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1"}).config.forward


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "thrift"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "s3cret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "s3cret"),
        ("CIRCUIT_BREAKER_FAILURE_THRESHOLD", "many"),
    ],
)
def test_a_variable_of_no_use_is_an_error_that_names_it(load_text: Load, name: str, value: str) -> None:
    """Not silently the default; a header's value is not told."""
    with pytest.raises(ConfigError, match=name) as caught:
        load_text(ONE, environ={name: value})
    assert "HEADERS" not in name or "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('[[forward]]\nname = "a b"\n', "forward[0].name"),
        (ONE + ONE, "as that of an entry before it"),
        (ONE + "match = []\n", "forward[0].match"),
        (ONE + "endpoints = []\n", "forward[0].endpoints"),
        (ONE + 'endpoints = ["http://a:1", "127.0.0.1:4318"]\n', "forward[0].endpoints is no URL"),
        (ONE + 'endpoints = ["http://127.0.0.1:99999"]\n', "forward[0].endpoints is no URL"),
        (ONE + 'endpoints = ["https://:4318"]\n', "forward[0].endpoints is no URL"),
        (ONE + '[forward.traces]\nendpoint = "c:1/v1/traces"\n', "forward[0].traces.endpoint is no URL"),
        (ONE + 'proxy = "socks5://c:1"\n', "forward[0].proxy is no URL"),
        (ONE + '[forward.tls]\nkey_file = "/k"\n', "forward[0].tls.key_file is a key without"),
        (ONE + 'kind = "file"\n', "forward[0].directory"),
        (ONE + '[forward.retry]\njitter = "some"\n', "forward[0].retry.jitter"),
        (ONE + '[forward.retry]\nmaximum = "10ms"\n', "forward[0].retry.maximum"),
        (ONE + '[forward.batch]\nmax_bytes = "0"\n', "forward[0].batch.max_bytes"),
        (ONE + '[forward.rotation]\nmax_size = "0"\n', "forward[0].rotation.max_size"),
        (ONE + "[forward.breaker]\nfailures = 0\n", "forward[0].breaker.failures"),
        (ONE + 'encoding = "grpc"\nendpoints = ["http://c:1/v1"]\n', "forward[0].endpoints has a path"),
        (ONE + '[forward.logs]\nencoding = "grpc"\nendpoint = "http://c:1/v1/logs"\n', "logs.endpoint has a path"),
        (ONE + 'encoding = "grpc"\n[forward.tls]\nverify = false\n', "forward[0].tls.verify is false"),
    ],
)
def test_what_cannot_be_meant_is_refused(load_text: Load, text: str, what: str) -> None:
    """With the key."""
    with pytest.raises(ConfigError) as caught:
        load_text(text)
    assert what in str(caught.value)


def test_a_destination_that_feeds_back_is_refused(load_text: Load, home: Path) -> None:
    """Into the watched directory, around it, by a link, or to the agent's own address."""
    (home / "watched").mkdir()
    (home / "link").symlink_to(home / "watched")
    head = f'[files]\ndirectory = "{home}/watched"\n'
    for target in ("watched", "watched/below", "link", "."):
        with pytest.raises(ConfigError, match="feedback loop"):
            load_text(f'{head}{ONE}kind = "file"\ndirectory = "{home}/{target}"\n')
    for endpoint in ("http://127.0.0.1:9464", "http://localhost:9464/v1"):
        with pytest.raises(ConfigError, match="feedback loop"):
            load_text(f'{ONE}endpoints = ["{endpoint}"]\n')
    load_text(f'{head}{ONE}kind = "file"\ndirectory = "{home}/watched2"\n')


@pytest.mark.parametrize("second", ["copies", "copies/", "./x/../copies", "link", "copies/below", "."])
def test_two_file_forwards_do_not_share_a_directory(load_text: Load, home: Path, second: str) -> None:
    """However it is spelled, or where one lies in the other: two engines would look after the same files."""
    (home / "copies").mkdir()
    (home / "link").symlink_to(home / "copies")
    entry = '[[forward]]\nname = "{}"\nkind = "file"\ndirectory = "{}"\n'
    with pytest.raises(ConfigError) as caught:
        load_text(entry.format("a", home / "copies") + entry.format("b", f"{home}/{second}"))

    assert ":8: forward[1].directory is" in str(caught.value)
    assert "forward a" in str(caught.value)
    assert "a directory of its own" in caught.value.hint
    load_text(entry.format("a", home / "copies") + entry.format("b", home / "copies2"))


def test_forwards_take_effect_at_a_start() -> None:
    """A reload says so."""
    assert needs_restart("forward[0].match")
    assert not needs_restart("rotation.max_size")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('[forward.redact]\nvalues = ["(a"]\n', "no regular expression"),
        ('[forward.redact]\nvalues = ["a*"]\n', "finds a secret in no text at all"),
        ('[forward.redact]\naction = "hash"\n', "forward[0].redact names nothing to redact"),
        ('[forward.redact]\nkey = ["a"]\n', "did you mean forward.redact.keys"),
        ('[forward.redact]\ndefaults = true\nkeys = [""]\n', "forward[0].redact.keys"),
        ('[forward.redact]\ndefaults = true\nhash_key = "s3cret"\n', "forward[0].redact.hash_key is of no use"),
        ('[forward.redact]\ndefaults = true\naction = "hide"\n', "'hide' is none of"),
        ("[forward.limit]\nattributes = -1\n", "out of range"),
        ('[forward.sample]\nratio = "0%"\n', "out of range"),
        ("[forward.sample]\nratio = 0.1\n", "expected percentage"),
        ('[forward.filter]\ninclude = ["alpha"]\n', "'alpha' is no key=pattern"),
        ('[forward.add]\nattributes = { "" = "x" }\n', "has an empty key"),
        ('[forward.add]\nattributes = { "a" = 1 }\n', "forward[0].add.attributes"),
    ],
)
def test_processing_that_cannot_be_meant_is_refused(load_text: Load, text: str, what: str) -> None:
    """With the key and a remedy; a key for hashes is not told."""
    with pytest.raises(ConfigError) as caught:
        load_text(ONE + text)
    assert what in f"{caught.value} {caught.value.hint}"
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"


def test_processing_is_read_as_it_is_written(load_text: Load) -> None:
    """Tables below the forward; all of it is off by default."""
    text = (
        '[forward.filter]\ninclude = ["project=a"]\n[forward.sample]\nratio = "12.5%"\nslow = "1s"\n'
        "[forward.redact]\ndefaults = true\n[forward.limit]\nvalue_length = 10\n"
        '[forward.add.attributes]\n"host.name" = "${env:HOSTNAME}"\n'
    )
    a, b = load_text(ONE + text + '[[forward]]\nname = "b"\n').config.forward

    assert (("project=a",), 0.125, 1.0, 10) == (
        a.filter.include, float(a.sample.ratio), float(a.sample.slow or 0), a.limit.value_length
    )  # fmt: skip
    assert {"host.name": "${env:HOSTNAME}"} == a.add.attributes
    for one, active in ((a, True), (b, False)):
        assert {active} == {t.active for t in (one.filter, one.sample, one.redact, one.limit, one.add)}
