"""From `[[forward]]` to its sinks, one for each endpoint; what a kind needs is imported only when it is configured."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.config import Forward, SignalRule
from agent.kit.clock import Clock
from agent.kit.disk import Directory
from agent.kit.errors import AgentError, ConfigError
from agent.sinks.base import Outcome, Sink
from agent.sinks.secrets import resolve, resolve_all
from agent.streams.batch import Batch

if TYPE_CHECKING:
    from agent.sinks.otlp import OtlpOptions


def build(forward: Forward, clock: Clock, environ: Mapping[str, str]) -> list[Sink]:
    """The sinks in order of preference. Raises ConfigError for what cannot be used, AgentError for a directory."""
    if forward.kind == "console":
        from agent.sinks.console import ConsoleSink

        return [ConsoleSink()]
    if forward.kind == "file":
        from agent.sinks.file import FileSink

        try:
            return [FileSink(Directory.make(forward.directory))]
        except OSError as error:
            raise unusable(forward, error) from error
    try:
        return [_otlp(forward, endpoint, clock, environ) for endpoint in forward.endpoints]
    except ConfigError as error:
        raise ConfigError(f"forward {forward.name}: {error.what}", path=error.path, hint=error.hint) from error


def unusable(forward: Forward, error: OSError) -> AgentError:
    """What is wrong with the directory of a forward of the kind `file`."""
    what = f"forward {forward.name}: its directory cannot be made or opened: {error.strerror}"
    hint = "it is named in forward.directory; the agent must be able to make files in it"
    return AgentError(what, path=forward.directory, hint=hint)


def _otlp(forward: Forward, endpoint: str, clock: Clock, environ: Mapping[str, str]) -> Sink:
    from agent.sinks.http import Tls
    from agent.sinks.otlp import OtlpOptions, OtlpSink

    common = resolve_all(forward.headers, environ)
    tls = forward.tls

    def sink(rule: SignalRule, signal: str) -> Sink:
        options = OtlpOptions(
            endpoint=resolve(endpoint, environ),
            signal_endpoints={signal: resolve(rule.endpoint, environ)} if rule.endpoint else {},
            encoding=rule.encoding or forward.encoding,
            compression=rule.compression or forward.compression,
            headers=common | resolve_all(rule.headers, environ),
            timeout=float(rule.timeout or forward.timeout),
            tls=Tls(
                ca_file=rule.ca_file or tls.ca_file,
                cert_file=tls.cert_file,
                key_file=tls.key_file,
                verify=tls.verify,
            ),
            proxy=resolve(forward.proxy, environ),
            connections=forward.batch.in_flight,
        )
        return _grpc(options, signal) if options.encoding == "grpc" else OtlpSink(options, clock)

    rules = {"traces": forward.traces, "logs": forward.logs, "metrics": forward.metrics}
    if all(rule == SignalRule() for rule in rules.values()):
        return sink(SignalRule(), "")
    return BySignal({signal: sink(rule, signal) for signal, rule in rules.items()})


def _grpc(options: OtlpOptions, signal: str) -> Sink:
    # What it would write to standard error, past our log, is in the errors that it raises.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from agent.sinks.otlp_grpc import GrpcSink
    except ImportError as error:
        hint = "pip install 'telemetry-agent[grpc]'"
        raise ConfigError('encoding = "grpc" needs the package grpcio', hint=hint) from error
    endpoint = options.signal_endpoints.get(signal, options.endpoint)
    return GrpcSink(replace(options, endpoint=endpoint, signal_endpoints={}))


class BySignal:
    """A sink for each signal, where they differ."""

    def __init__(self, sinks: Mapping[str, Sink]) -> None:
        self._sinks = sinks
        self.destinations = {signal: sink.destination for signal, sink in sinks.items()}
        signals: dict[str, list[str]] = {}
        for signal, place in self.destinations.items():
            signals.setdefault(place, []).append(signal)
        every = [f"{place} ({', '.join(some)})" for place, some in signals.items()]
        self.destination = ", ".join(every if len(every) > 1 else signals)

    def encode(self, batch: Batch) -> bytes:
        """As the sink of the batch's signal does."""
        return self._sinks[batch.signal].encode(batch)

    async def send(self, batch: Batch, body: bytes) -> Outcome:
        """As the sink of the batch's signal does."""
        return await self._sinks[batch.signal].send(batch, body)

    async def aclose(self) -> None:
        """Close each."""
        for sink in self._sinks.values():
            await sink.aclose()
