"""The mount table."""

import pytest

from agent.system import mounts


def test_a_line_has_optional_fields_and_escapes() -> None:
    """Any number of them may stand before the dash; blanks in paths are octal."""
    (found,) = mounts.parse("36 35 98:0 /sub /mnt/a\\040b rw shared:1 master:2 - xfs /dev/d\\134e rw,x=1\n")

    expected = mounts.Mount("36", "98:0", "/sub", "/mnt/a b", "xfs", "/dev/d\\e", frozenset({"rw", "x=1"}))
    assert expected == found


def test_a_source_may_be_empty() -> None:
    """Some file systems are mounted with no name at all."""
    (found,) = mounts.parse("36 35 0:98 / /x rw - tmpfs  rw\n")

    assert found.source == ""


def test_a_line_without_its_second_half_is_an_error() -> None:
    """Then it is not mountinfo."""
    with pytest.raises(ValueError, match="no ` - `"):
        mounts.parse("/dev/sda1 / ext4 rw 0 0\n")
