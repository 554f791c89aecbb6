"""Lines as envelopes of telemetry: what is in one, may it travel, and how many of them become one request.

Invariants: a line that `check` passes is read by every OTLP receiver, so one line cannot spoil the request it is joined
into; a canonical line (see `canonical`) travels as the same bytes, another one spelled anew, integers exact and unknown
keys kept; what is no OTLP is never passed, and neither is a line that looks empty only because OTLP does not know its
keys. `join` and `split` cut at the exact bounds of the signals' arrays, found by a JSON parser, and keep every item.

Top-level keys other than the three signals' belong to no signal: every receiver ignores them, and `join` and `split`
drop them.

A line is *plain* when it is `{"resourceSpans":[` (or another signal's key) and `]}` around nothing but that array.
Nearly all are, and since `check` has then read the array as one document, `join` cuts there without reading it again.
`alike` decodes each line for itself too, but tests what is left open then for several lines at once: what one of them
holds can never make another one look right, and where anything is in doubt it has no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from agent.kit.buffer import Lines
from agent.otlp import records
from agent.otlp.canonical import Canonical, Reason, RefusedError
from agent.otlp.survey import Signal, Survey, integers

__all__ = [
    "Bad", "Checked", "Reason", "Signal", "alike", "check", "halve", "join", "pieces", "split",
]  # fmt: skip

_KEYS: dict[str, str] = {
    Signal.TRACES: "resourceSpans",
    Signal.LOGS: "resourceLogs",
    Signal.METRICS: "resourceMetrics",
}


_TOGETHER = 64
"""Lines of a piece: a few hundred kilobytes as a rule, which a processor's cache holds."""
_SPACE = b"\n\r \t"
_BRACE = ord("{")
_TAIL = b"]}\n"


class _Head(NamedTuple):
    """How a plain line of one signal begins, how its array is read and surveyed."""

    text: bytes
    signal: Signal
    decode: Callable[[memoryview], Any]
    survey: Callable[[Survey, Any], int]


_HEADS = {
    text[10:11]: _Head(text, signal, decode, survey)
    for text, signal, decode, survey in (
        (b'{"resourceSpans":[', Signal.TRACES, records.decode_spans, Survey.traces),
        (b'{"resourceLogs":[', Signal.LOGS, records.decode_logs, Survey.logs),
        (b'{"resourceMetrics":[', Signal.METRICS, records.decode_metrics, Survey.metrics),
    )
}


class Checked(NamedTuple):
    """A line that may travel."""

    line: bytes
    """The same bytes where `canonical`, else spelled anew with its line's end."""
    items: Mapping[Signal, int]
    """Spans, log records and data points, by signal; only signals that have some. None at all: the line is empty."""
    canonical: bool
    plain: bool = False
    """Nothing but the array of one signal is in the line, in the usual spelling."""


class Bad(NamedTuple):
    """A line that must not travel: a dead letter."""

    reason: Reason
    detail: str
    """Where and why, for an operator; tells no attribute's value."""


def check(line: bytes) -> Checked | Bad:
    """Look at every known field of a line (one JSON document, with its line's end or without); never raises.

    A blank line, `{}` and envelopes without items are empty, neither bad nor to be sent.
    """
    survey = Survey()
    try:
        if not line.isascii():
            line.decode()  # the JSON decoder does not look into what it skips
        found = _plain(line, survey)
        if found is None:
            found = Checked(line, survey.request(records.decode(line)), True)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _check_slowly(line)
    return found if found.items and survey.sound() and integers(line) else _check_slowly(line)


def alike(lines: Sequence[bytes]) -> tuple[Signal, int] | None:
    """The signal of these lines and their items, where all hold nothing but an array of one signal, and pass `check`.

    None: look at each. Several times less work than to ask `check` of each, where the lines are what they usually are.
    """
    some = lines if isinstance(lines, Lines) else Lines.of(lines)
    text = some.text
    head = _HEADS.get(text[10:11])
    # Each has its own line's end: so `text` is in order, as to encoding and integers, where each line is.
    arrays = some.between(head.text[:-1], _TAIL[1:]) if head else None
    if head is None or arrays is None:
        return None
    survey, items = Survey(), 0
    try:
        if not text.isascii():
            text.decode()
        for array in arrays:
            found = head.survey(survey, head.decode(array))
            if not found:
                return None
            items += found
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return (head.signal, items) if survey.sound() and integers(text) else None


def _plain(line: bytes, survey: Survey) -> Checked | None:
    """A plain line, surveyed; None for another one. Raises what the decoder raises.

    The whole array is one JSON document, or the decoder raises: so it ends where it seems to.
    """
    head = _HEADS.get(line[10:11])
    if head is None or not line.startswith(head.text):
        return None
    end = _content_end(line)
    if not line.endswith(b"]}", 0, end):
        return None
    count = head.survey(survey, head.decode(memoryview(line)[len(head.text) - 1 : end - 1]))
    return Checked(line, {head.signal: count} if count else {}, True, True)


def join(lines: Sequence[bytes], signal: str) -> bytes:
    """One export request with the resources of all `lines`, which `check` has passed and `split` has given, in order.

    What a line holds of other signals is left out. The request is at most 22 bytes longer than all lines together.
    KeyError when `signal` is none.
    """
    return b"".join(pieces(lines, signal))


def pieces(lines: Sequence[bytes], signal: str) -> Iterator[bytes]:
    """The same request in pieces of some lines each: who compresses it needs no copy of the whole."""
    key = _KEYS[signal]
    head = b'{"%b":[' % key.encode()
    before = head
    for at in range(0, len(lines), _TOGETHER):
        parts = _insides(lines[at : at + _TOGETHER], key, head)
        if parts:
            yield before
            yield b",".join(parts)
            before = b","
    yield b"]}" if before != head else head + b"]}"


def split(checked: Checked) -> dict[Signal, bytes]:
    """One plain line for each signal that has items in it; a line that is plain is itself."""
    if checked.plain:
        return dict.fromkeys(checked.items, checked.line)
    keys = {signal: _KEYS[signal] for signal in checked.items}
    return {signal: b'{"%b":%b}\n' % (key.encode(), _array(checked.line, key)) for signal, key in keys.items()}


def halve(lines: Sequence[bytes]) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Two or more lines as two groups, in order, neither empty, about the same in bytes: for a request too big.

    ValueError for fewer than two: a line is never divided, so a single one that is too big is a dead letter.
    """
    if len(lines) < 2:
        raise ValueError("a single line is not divided")
    half = sum(map(len, lines)) / 2
    length = len(lines[0])
    index = 1
    while index < len(lines) - 1 and length + len(lines[index]) <= half:
        length += len(lines[index])
        index += 1
    return lines[:index], lines[index:]


_arrays = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _array(line: bytes, key: str) -> bytes:
    """The array at `key`, brackets included, exactly as it stands in the line; nothing if there is none."""
    return bytes(_arrays(line).get(key, b""))


def _insides(lines: Sequence[bytes], key: str, head: bytes) -> Sequence[bytes | memoryview]:
    """What is between the brackets of each line's array, but for those where nothing is."""
    found = lines.between(head, _TAIL) if isinstance(lines, Lines) else None
    if found is not None and all(len(one) and one[0] == _BRACE for one in found):
        return found
    return [part for line in lines if len(part := _inside(line, key, head))]


def _inside(line: bytes, key: str, head: bytes) -> bytes | memoryview:
    """What is between the brackets of the array at `key`; nothing where that is empty or white space."""
    start = len(head)
    if line.endswith(_TAIL) and line.startswith(head) and line[start] == _BRACE:
        return memoryview(line)[start:-3]
    end = _content_end(line)
    plain = line.startswith(head) and line.endswith(b"]}", 0, end)
    inside = line[start : end - 2] if plain else _array(line, key)[1:-1]
    return inside if inside.strip() else b""


def _content_end(line: bytes) -> int:
    """Where the white space at a line's end begins; the usual line is not copied for it."""
    end = len(line) - line.endswith(b"\n")
    return end if line[end - 1 : end] not in _SPACE else len(line.rstrip(_SPACE))


def _check_slowly(line: bytes) -> Checked | Bad:
    """The exact answer, also for what is empty, bad, or legal but not canonical."""
    if not line or line.isspace():
        return Checked(line, {}, True)
    try:
        line.decode()
        document = records.document(line)
        if not isinstance(document, dict):
            return Bad(Reason.OTLP, "the line is no JSON object")
        found = Canonical(document)
    except UnicodeDecodeError as error:
        return Bad(Reason.ENCODING, f"byte {error.start}: no UTF-8")
    except msgspec.DecodeError as error:
        return Bad(Reason.JSON, str(error))
    except RefusedError as error:
        return Bad(error.reason, f"{error.where}: {error.what}")
    except ArithmeticError:
        return Bad(Reason.NUMBER, "a number's exponent is out of all range")
    except RecursionError:
        return Bad(Reason.STRUCTURE, "nested too deeply")
    travels = records.encode(document) if found.changed else line
    try:
        request = records.decode(travels)
    except msgspec.DecodeError:
        # A key is there twice, and another one than its last value is not in order: the last one counts.
        travels = records.encode(document)
        request = records.decode(travels)
    items = Survey().request(request)
    if not items and found.unknown:
        return Bad(Reason.OTLP, "no span, log record or data point is in it, but keys that OTLP does not know")
    return Checked(travels, items, travels is line)
