"""Errors say what, where and what to do; names print harmlessly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.kit.errors import AgentError, ConfigError, LockedError, RefusedError, every, printable


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (AgentError("it broke"), "it broke"),
        (AgentError("it broke", path="/a\nb"), "it broke, path /a\\nb"),
        (AgentError("it broke", path="/a", position=0), "it broke, path /a, position 0"),
        (AgentError("it broke", hint="mend it"), "it broke; mend it"),
        (ConfigError("no", path="f", hint="yes"), "no, path f; yes"),
        (LockedError("taken", path="d", pid=7, hint="wait"), "taken, path d; wait"),
    ],
)
def test_an_error_reads_as_a_sentence(error: AgentError, text: str) -> None:
    """What, path, position, hint, in this order; what is not known is left out."""
    assert text == str(error)


def test_a_lock_knows_its_holder() -> None:
    """The pid, where it is known."""
    assert (7, None) == (LockedError("x", pid=7).pid, LockedError("x").pid)
    assert "" == RefusedError("x").reason


def test_everything_that_cannot_be_made_is_told_in_one_error() -> None:
    """The first finding with the others, also those that a finding brought along; without any, what was made."""

    def wrong(what: str) -> str:
        raise ConfigError(what, hint="mend it")

    with pytest.raises(ConfigError) as caught:
        every([lambda: wrong("a"), lambda: "made", lambda: str(every([lambda: wrong("b"), lambda: wrong("c")]))])

    assert "a; mend it\nb; mend it\nc; mend it" == str(caught.value)
    assert ["made", "too"] == every([lambda: "made", lambda: "too"])


@given(st.text() | st.binary(max_size=50))
def test_printable_names_have_no_control_characters(name: str | bytes) -> None:
    """No log line, label or terminal can be forged by a file's name, and UTF-8 can carry it."""
    shown = printable(name)

    assert shown.isprintable()
    shown.encode("utf-8")


def test_ordinary_names_stay() -> None:
    """Also those with accents."""
    assert "télé.json" == printable("télé.json") == printable("télé.json".encode())
    assert "a\\x1b[31m\\n\\udcff" == printable(b"a\x1b[31m\n\xff")
