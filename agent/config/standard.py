"""The variables of the OpenTelemetry specification, and two of circuit breakers, as settings.

They give what neither the file nor a TELEMETRY_AGENT__ variable gives: such a variable was often set for somebody else
in the same container, so it may fill a gap and never overrule what was written for the agent. Sources: OpenTelemetry
specification, "OTLP Exporter Configuration" and "SDK environment variables". An empty variable counts as unset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from urllib.parse import unquote

from agent.config.findings import Findings
from agent.config.source import Setting

_PREFIX = "OTEL_EXPORTER_OTLP_"
_GRPC = "http://127.0.0.1:4317"
"""The specification's default endpoint for gRPC; the schema has that for HTTP."""
_SERVICE = {"OTEL_SERVICE_NAME": "agent.service_name", "OTEL_SERVICE_VERSION": "agent.service_version"}


def _as_is(value: str) -> object:
    return value


def _milliseconds(value: str) -> object:
    return f"{int(value)}ms"


def _seconds(value: str) -> object:
    return f"{float(value):.3f}s"


def _number(value: str) -> object:
    return int(value)


def _list(value: str) -> object:
    return [value]


def _encoding(value: str) -> object:
    return {"grpc": "grpc", "http/json": "json", "http/protobuf": "protobuf"}[value]


def _headers(value: str) -> object:
    """`key1=value1,key2=value2`, values percent-encoded (W3C Baggage without properties)."""
    pairs = [one.partition("=") for one in value.split(",") if one.strip()]
    if not all(equals for _, equals, _ in pairs):
        raise ValueError("a header has no =")
    return {name.strip(): unquote(text.strip()) for name, _, text in pairs}


_MEANT: dict[Callable[[str], object], str] = {
    _milliseconds: "milliseconds are meant, such as 10000",
    _seconds: "seconds are meant, such as 60",
    _number: "a count is meant, such as 5",
    _headers: "key1=value1,key2=value2 is meant",
}
_Rule = tuple[str, Callable[[str], object]]

_EVERY: dict[str, _Rule] = {
    "ENDPOINT": ("endpoints", _list),
    "HEADERS": ("headers", _headers),
    "TIMEOUT": ("timeout", _milliseconds),
    "COMPRESSION": ("compression", _as_is),
    "PROTOCOL": ("encoding", _encoding),
    "CERTIFICATE": ("tls.ca_file", _as_is),
}
_ONE_SIGNAL: dict[str, _Rule] = {
    **_EVERY,
    "ENDPOINT": ("endpoint", _as_is),
    "CERTIFICATE": ("ca_file", _as_is),
}
_VARIABLES: dict[str, _Rule] = {
    "CIRCUIT_BREAKER_FAILURE_THRESHOLD": ("breaker.failures", _number),
    "CIRCUIT_BREAKER_RECOVERY_TIMEOUT": ("breaker.recovery", _seconds),
    **{_PREFIX + name: rule for name, rule in _EVERY.items()},
    **{
        f"{_PREFIX}{signal.upper()}_{name}": (f"{signal}.{key}", convert)
        for signal in ("traces", "logs", "metrics")
        for name, (key, convert) in _ONE_SIGNAL.items()
    },
}


def read_standard(environ: Mapping[str, str], given: Iterable[Setting], findings: Findings) -> list[Setting]:
    """The settings that the standard variables give to the agent and to each forward of the kind `otlp`.

    `given` are all other settings: only what they leave open is set. Finds values of no use.
    """
    there = {setting.key: setting.value for setting in given}
    found = [
        Setting(key, environ[name], f"environment {name}", text=True)
        for name, key in _SERVICE.items()
        if environ.get(name) and key not in there
    ]
    number = 0
    while (entry := f"forward[{number}]") in there:
        if there.get(f"{entry}.kind", "otlp") == "otlp":
            found += (more := list(_forward(environ, entry, there, findings)))
            known = {**{one.key: one.value for one in more}, **there}
            if known.get(f"{entry}.encoding") == "grpc" and f"{entry}.endpoints" not in known:
                found.append(Setting(f"{entry}.endpoints", [_GRPC], "default"))
        number += 1
    return found


def _forward(
    environ: Mapping[str, str], entry: str, there: Mapping[str, object], findings: Findings
) -> Iterator[Setting]:
    for name, (key, convert) in _VARIABLES.items():
        text = environ.get(name, "").strip()
        if not text or f"{entry}.{key}" in there:
            continue
        try:
            value = convert(text)
        except (ValueError, KeyError) as error:
            hint = "grpc, http/protobuf and http/json are known" if isinstance(error, KeyError) else _MEANT[convert]
            findings.add(f"environment {name}", "", f"{text!r} is of no use" if "HEADERS" not in name else "", hint)
        else:
            yield Setting(f"{entry}.{key}", value, f"environment {name}")
