"""Exporters of the OpenTelemetry SDK that put telemetry into a watched directory, where the agent takes it over.

An application that exports so loses nothing when its collector is away, nor when it dies itself: an export that
returned success is in the file. The agent rotates, keeps and delivers the file like any other.

Invariants: importing this module loads agent.kit alone, no server and no watcher; `export` never raises, and counts
what it could not store; nothing is both delivered by `primary` and written, unless `primary` failed after all arrived.

Needs the extra `sdk`: pip install 'telemetry-agent[sdk]'.
"""

from __future__ import annotations

import logging
import os
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec
from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from agent.kit.clock import SystemClock
from agent.kit.lines import LineFile, in_children
from agent.kit.retry import Breaker

if TYPE_CHECKING:
    from google.protobuf.message import Message

__all__ = ["Counts", "ResilientLogRecordExporter", "ResilientSpanExporter"]

Item = TypeVar("Item")
Item_contra = TypeVar("Item_contra", contravariant=True)

# The SDK's own loggers are where its users look for trouble of exporters.
_log = logging.getLogger("opentelemetry.exporter.telemetry_agent")


@dataclass(slots=True)
class Counts:
    """What became of the items (spans or log records) of one exporter, in this process."""

    delivered: int = 0
    """Taken by the primary exporter."""
    written: int = 0
    """Written to the file."""
    failed: int = 0
    """Neither: lost, unless the application tries them again."""


class Primary(Protocol[Item_contra]):
    """An exporter of the SDK, as far as it is needed here."""

    def export(self, batch: Sequence[Item_contra], /) -> Any:
        """A result whose `name` is SUCCESS when the batch arrived."""
        ...

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what waits."""
        ...

    def shutdown(self) -> None:
        """Leave."""
        ...


class ResilientSpanExporter(SpanExporter):
    """Writes spans as OTLP-JSON, one line an export, to the file `name` in `directory`.

    With `primary`, another exporter, spans go there, and to the file only what it does not take: after `failures`
    failures in a row it is left alone for `recovery` seconds. Many processes may write to one file. Permissions of a
    new file are `mode` less the umask; the agent needs to write to it. Lines are synced by `force_flush`, `shutdown`
    and after at most `sync_every` seconds. Raises OSError where the directory cannot be had, ValueError for a `name`
    with a slash or a `failures` or `recovery` that is not above 0.
    """

    def __init__(
        self, directory: str | os.PathLike[str], *, name: str = "traces.json",
        primary: Primary[ReadableSpan] | None = None, failures: int = 5, recovery: float = 60.0, mode: int = 0o660,
        sync_every: float = 1.0,
    ) -> None:  # fmt: skip
        file = LineFile(os.fspath(directory), _leaf(name), mode=mode, sync_every=sync_every)
        self._store = _Store(file, _span_line, primary, failures, recovery)

    @property
    def counts(self) -> Counts:
        """What became of the spans; a copy."""
        return self._store.snapshot()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Bring the spans to the primary exporter or to the file; FAILURE when neither took them."""
        return SpanExportResult.SUCCESS if self._store.export(spans) else SpanExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Make the file durable; False when that failed."""
        return self._store.flush(timeout_millis)

    def shutdown(self) -> None:
        """Make the file durable and leave; exports after this fail."""
        self._store.shutdown()


class ResilientLogRecordExporter(LogRecordExporter):
    """Writes log records as OTLP-JSON, one line an export; otherwise as `ResilientSpanExporter`."""

    def __init__(
        self, directory: str | os.PathLike[str], *, name: str = "logs.json",
        primary: Primary[ReadableLogRecord] | None = None, failures: int = 5, recovery: float = 60.0,
        mode: int = 0o660, sync_every: float = 1.0,
    ) -> None:  # fmt: skip
        file = LineFile(os.fspath(directory), _leaf(name), mode=mode, sync_every=sync_every)
        self._store = _Store(file, _log_line, primary, failures, recovery)

    @property
    def counts(self) -> Counts:
        """What became of the log records; a copy."""
        return self._store.snapshot()

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Bring the records to the primary exporter or to the file; FAILURE when neither took them."""
        return LogRecordExportResult.SUCCESS if self._store.export(batch) else LogRecordExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Make the file durable; False when that failed."""
        return self._store.flush(timeout_millis)

    def shutdown(self) -> None:
        """Make the file durable and leave; exports after this fail."""
        self._store.shutdown()


class _Store(Generic[Item]):
    """What the exporters have in common."""

    def __init__(
        self, file: LineFile, encode: Callable[[Sequence[Item]], bytes], primary: Primary[Item] | None, failures: int,
        recovery: float,
    ) -> None:  # fmt: skip
        self._file = file
        self._encode = encode
        self._primary = primary
        self._breaker = Breaker(SystemClock(), failures=failures, recovery=recovery)
        self._counts = Counts()
        self._failing = False
        self._closed = False
        self._lock = threading.Lock()
        in_children(self._after_fork)

    def _after_fork(self) -> None:
        """A lock that another thread of the parent held is held for ever, and what was counted is the parent's."""
        self._lock = threading.Lock()
        self._counts = Counts()

    def snapshot(self) -> Counts:
        with self._lock:
            return Counts(self._counts.delivered, self._counts.written, self._counts.failed)

    def export(self, batch: Sequence[Item]) -> bool:
        """True when the batch is with the primary exporter or in the file."""
        if not batch:
            return True
        if self._closed:
            return self._failed(batch, "the exporter was shut down")
        if self._primary is not None and self._ask(self._primary, batch):
            with self._lock:
                self._counts.delivered += len(batch)
            return True
        try:
            self._file.append(self._encode(batch))
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not reach the application
            return self._failed(batch, error)
        with self._lock:
            self._counts.written += len(batch)
            again, self._failing = self._failing, False
        if again:
            _log.warning("%s takes telemetry again", self._file.path)
        return True

    def flush(self, timeout_millis: int) -> bool:
        flushed = True
        if self._primary is not None:
            try:
                flushed = bool(self._primary.force_flush(timeout_millis))
            except Exception as error:  # noqa: BLE001 - a stranger's defect is no reason not to sync
                _log.warning("the primary exporter failed to flush: %s", error)
                flushed = False
        return self._synced(self._file.sync) and flushed

    def shutdown(self) -> None:
        self._closed = True
        if self._primary is not None:
            try:
                self._primary.shutdown()
            except Exception as error:  # noqa: BLE001 - as in flush
                _log.warning("the primary exporter failed to shut down: %s", error)
        self._synced(self._file.close)

    def _synced(self, sync: Callable[[], None]) -> bool:
        try:
            sync()
        except OSError as error:
            _log.error("%s could not be synced: %s", self._file.path, error)
            return False
        return True

    def _ask(self, primary: Primary[Item], batch: Sequence[Item]) -> bool:
        """True when the primary exporter, where it may be asked, took the batch."""
        with self._lock:
            ticket = self._breaker.admit()
        if ticket is None:
            return False
        try:
            took = bool(primary.export(batch).name == "SUCCESS")
        except Exception as error:  # noqa: BLE001 - a stranger's defect costs no data
            _log.warning("the primary exporter failed: %s", error)
            took = False
        with self._lock:
            (self._breaker.succeeded if took else self._breaker.failed)(ticket)
        return took

    def _failed(self, batch: Sequence[Item], why: object) -> bool:
        """Count, and say it once: where logs are exported too, each message would fail in its turn."""
        with self._lock:
            self._counts.failed += len(batch)
            said, self._failing = self._failing, True
        if not said:
            _log.error("%s takes no telemetry; what comes is counted as failed: %s", self._file.path, why)
        return False


def _leaf(name: str) -> str:
    if not name or "/" in name or name.startswith("."):
        raise ValueError(f"name must be a visible file's name without a slash, it is {name!r}")
    return name


def _span_line(spans: Sequence[ReadableSpan]) -> bytes:
    request = encode_spans(spans)
    return _line(request, "resourceSpans", "scopeSpans", "spans")


def _log_line(batch: Sequence[ReadableLogRecord]) -> bytes:
    return _line(encode_logs(batch), "resourceLogs", "scopeLogs", "logRecords")


def _line(request: Message, *levels: str) -> bytes:
    """The request as OTLP/JSON: protobuf's mapping, but with enums as numbers and ids in hex (OTLP 1.11, JSON)."""
    document = MessageToDict(request, use_integers_for_enums=True)
    for item in _items([document], levels):
        for one in (item, *item.get("links", ())):
            for key in ("traceId", "spanId", "parentSpanId"):
                if key in one:
                    one[key] = b64decode(one[key]).hex()
    return msgspec.json.encode(document) + b"\n"


def _items(nodes: list[dict[str, Any]], levels: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The members `levels` below `nodes`, each a list of objects."""
    if not levels:
        yield from nodes
        return
    for node in nodes:
        yield from _items(node.get(levels[0], []), levels[1:])
