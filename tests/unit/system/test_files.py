"""Reading the kernel's files."""

from pathlib import Path

import pytest

from agent.system import files
from agent.system.files import ReadingError


def test_a_file_longer_than_one_read_comes_whole(tmp_path: Path) -> None:
    """/proc/stat of a machine with many CPUs is long."""
    text = "x" * 200_001
    (tmp_path / "f").write_text(text, "ascii")

    assert text == files.read(str(tmp_path / "f"))


def test_a_missing_file_is_no_number_and_a_wrong_one_an_error(tmp_path: Path) -> None:
    """A controller that is off has no file; a file with something else in it is not what we take it for."""
    (tmp_path / "f").write_text("many\n", "ascii")

    assert files.read_number(str(tmp_path / "g")) is None
    with pytest.raises(ReadingError, match="unexpected content"):
        files.read_number(str(tmp_path / "f"))


def test_keyed_lines_that_hold_no_number_are_left_out(tmp_path: Path) -> None:
    """A newer kernel may add what we don't know."""
    (tmp_path / "f").write_text("a 1\nb x\nc\n", "ascii")

    assert files.read_keyed(str(tmp_path / "f")) == {"a": 1.0}
