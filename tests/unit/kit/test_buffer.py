"""Lines of one buffer, which are not copied to be looked at."""

from __future__ import annotations

import pytest

from agent.kit.buffer import Lines

LINES = Lines(b"xx<1>\n<22>\n\n<4>\ny", 98, [(100, 104), (104, 109), (109, 110), (110, 114)])


def test_each_line_is_what_its_place_says() -> None:
    """Counted, one by one, from the end, and in order; behind the last one there is none."""
    assert 4 == len(LINES)
    assert [b"<1>\n", b"<22>\n", b"\n", b"<4>\n"] == list(LINES)
    assert (b"<1>\n", b"<4>\n") == (LINES[0], LINES[-1])
    assert b"\n" in LINES
    with pytest.raises(IndexError):
        LINES[4]


def test_some_lines_are_lines_of_the_same_buffer() -> None:
    """A part has the lines of its places, and a part of that too."""
    part = LINES[1:]

    assert [b"<22>\n", b"\n", b"<4>\n"] == list(part)
    assert [b"<4>\n"] == list(part[2:])
    assert [] == list(part[3:])


def test_what_is_between_a_head_and_a_tail() -> None:
    """Of every line, or of none where one has another head or tail, or is too short for both."""
    assert [b"1", b"22"] == LINES[:2].between(b"<", b">\n")
    assert LINES.between(b"<", b">\n") is None
    assert LINES[:1].between(b"<1", b"1>\n") is None
    assert LINES[:1].between(b"<", b"2>\n") is None
    assert [] == LINES[:0].between(b"<", b">\n")


def test_all_of_them_as_one_text() -> None:
    """What lies before the first and behind the last one is not in it; no lines are no text."""
    assert b"<1>\n<22>\n\n<4>\n" == LINES.text
    assert b"<22>\n\n" == LINES[1:3].text
    assert b"" == LINES[:0].text


def test_lines_from_elsewhere_are_put_behind_each_other() -> None:
    """As they are, empty ones too; none make none."""
    assert [b"a\n", b"", b"b"] == list(Lines.of([b"a\n", b"", b"b"]))
    assert b"a\nb" == Lines.of([b"a\n", b"", b"b"]).text
    assert [] == list(Lines.of([]))
