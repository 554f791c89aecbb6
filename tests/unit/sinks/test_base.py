"""The words in which sinks answer."""

import pytest

from agent.sinks.base import ErrorClass, Reject, Retry, TooLarge


def test_every_class_is_named_once_and_short() -> None:
    """The names go into metrics: unique, lower case, no spaces."""
    names = [kind.value for kind in ErrorClass]

    assert len(names) == len(set(names))
    assert all(name == name.lower() and name.replace("_", "").isalnum() for name in names)


def test_four_statuses_are_transient_and_no_other() -> None:
    """OTLP/HTTP, Retryable Response Codes: 429, 502, 503, 504."""
    transient = [status for status in range(300, 600) if ErrorClass.of_status(status).transient]

    assert transient == [429, 502, 503, 504]


def test_connection_failures_are_transient() -> None:
    """Whatever happens before an answer is there may pass; nothing that an operator has to mend in the data may."""
    transient = {kind.value for kind in ErrorClass if kind.transient}

    assert transient == {
        *("timeout", "connect", "dns", "tls", "disconnected", "proxy", "throttled", "unavailable", "io"),
    }


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Retry("503 from here", ErrorClass.UNAVAILABLE, after=7), "503 from here"),
        (Reject("404 from here", ErrorClass.NOT_FOUND, hint="look there"), "404 from here; look there"),
        (TooLarge("413 from here"), "413 from here"),
    ],
)
def test_an_answer_reads_as_a_sentence(error: Retry | Reject, text: str) -> None:
    """What happened, and the hint after it."""
    assert str(error) == text
