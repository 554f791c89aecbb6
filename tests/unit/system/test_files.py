"""Reading the kernel's files."""

from pathlib import Path

from agent.system import files


def test_a_file_longer_than_one_read_comes_whole(tmp_path: Path) -> None:
    """/proc/stat of a machine with many CPUs is long."""
    text = "x" * 200_001
    (tmp_path / "f").write_text(text, "ascii")

    assert text == files.read(str(tmp_path / "f"))


def test_numbers_that_are_none_are_none(tmp_path: Path) -> None:
    """`max`, and no file at all."""
    (tmp_path / "f").write_text("max\n", "ascii")

    assert files.read_number(str(tmp_path / "f")) is None
    assert files.read_number(str(tmp_path / "g")) is None


def test_keyed_lines_that_hold_no_number_are_left_out(tmp_path: Path) -> None:
    """A newer kernel may add what we don't know."""
    (tmp_path / "f").write_text("a 1\nb x\nc\n", "ascii")

    assert files.read_keyed(str(tmp_path / "f")) == {"a": 1.0}
