from decimal import Decimal
from typing import Any

import pytest

from agent.otlp import records
from agent.otlp.canonical import Canonical, Reason, RefusedError


def span(**fields: Any) -> dict[str, Any]:
    """A document with one span."""
    return {"resourceSpans": [{"scopeSpans": [{"spans": [fields]}]}]}


def value(kind: str, of: Any) -> dict[str, Any]:
    """A document with one attribute."""
    return span(attributes=[{"key": "a", "value": {kind: of}}])


@pytest.mark.parametrize(
    ("legal", "canonical"),
    [
        (span(name=None, attributes=None, status=None), span()),
        (value("stringValue", None), span(attributes=[{"key": "a", "value": {}}])),
        (span(startTimeUnixNano=5), span(startTimeUnixNano="5")),
        (span(startTimeUnixNano=2**64 - 1), span(startTimeUnixNano=str(2**64 - 1))),
        (span(startTimeUnixNano=Decimal("2.0")), span(startTimeUnixNano="2")),
        (span(startTimeUnixNano=Decimal("1e9")), span(startTimeUnixNano="1000000000")),
        (span(startTimeUnixNano="007"), span(startTimeUnixNano="7")),
        (value("intValue", -(2**63)), value("intValue", str(-(2**63)))),
        (value("intValue", "-0"), value("intValue", "0")),
        (span(flags="7", kind=Decimal("2.0")), span(flags=7, kind=2)),
        (value("doubleValue", "1.5"), value("doubleValue", Decimal("1.5"))),
        (value("bytesValue", "YQ"), value("bytesValue", "YQ==")),
        (value("bytesValue", "-_8"), value("bytesValue", "+/8=")),
        (value("bytesValue", "YR=="), value("bytesValue", "YQ==")),
    ],
)
def test_other_legal_spellings_become_the_canonical_one(legal: dict[str, Any], canonical: dict[str, Any]) -> None:
    """The table in the module's docstring, row by row; the result is read by the typed decoder and stays as it is."""
    walk = Canonical(legal)

    assert walk.changed
    assert legal == canonical
    assert not Canonical(legal).changed
    records.decode(records.encode(legal))


@pytest.mark.parametrize(
    "document",
    [
        value("doubleValue", 5),
        value("doubleValue", Decimal("1.50000000000000000000001")),
        value("doubleValue", "Infinity"),
        value("intValue", str(2**63 - 1)),
        span(kind=99, traceId="", futureField=[None, {"kind": "x"}]),
    ],
)
def test_canonical_documents_are_not_touched(document: dict[str, Any]) -> None:
    """Not even what OTLP does not know."""
    before = repr(document)

    assert not Canonical(document).changed
    assert repr(document) == before


@pytest.mark.parametrize(
    ("document", "unknown"),
    [(span(name="a"), False), (span(other=1), True), ({"resourceSpans": [], "x": None}, True)],
)
def test_unknown_keys_are_noticed(document: dict[str, Any], unknown: bool) -> None:
    """At any depth: a line without items that has some is something else than an empty envelope."""
    assert Canonical(document).unknown == unknown


@pytest.mark.parametrize(
    "number", [Decimal("1e400"), Decimal("-1e400"), 10**400, "1e999999", Decimal("1e99999999"), 2**1024]
)
def test_doubles_beyond_their_range_are_refused(number: Any) -> None:
    """They would become infinity on the way, or an error in the receiver."""
    with pytest.raises(RefusedError) as caught:
        Canonical(value("doubleValue", number))

    assert caught.value.reason == Reason.NUMBER


@pytest.mark.parametrize("number", [Decimal("0.5"), Decimal("1e21"), Decimal("1e999999999"), 10**30, "1.0", "+1"])
def test_integers_that_are_none_are_refused(number: Any) -> None:
    """Fractions, and numbers far out of range, also where making an integer of them would take all memory."""
    with pytest.raises(RefusedError) as caught:
        Canonical(span(startTimeUnixNano=number))

    assert caught.value.reason == Reason.NUMBER
    assert caught.value.where == "resourceSpans[0].scopeSpans[0].spans[0].startTimeUnixNano"


def test_every_message_of_the_schema_is_walked() -> None:
    """The exact test derives from the typed schema: each struct of it is reached from a request."""
    from agent.otlp import canonical

    messages = {kind for kind in vars(records).values() if isinstance(kind, type) and issubclass(kind, records._Wire)}
    Canonical({})

    assert set(canonical._MESSAGES) == messages - {records._Wire, records.Point, records.ExemplaryPoint}
