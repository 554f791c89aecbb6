"""Pressure stall information."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.system import files, pressure
from agent.system.files import ReadingError
from agent.system.pressure import PressureCollector, Stall


def test_totals_are_microseconds() -> None:
    """Averages are percent."""
    found = pressure.parse("some avg10=1.50 avg60=0.40 avg300=0.10 total=3000000\n")

    assert {"some": Stall(1.5, 0.4, 0.1, 3.0)} == found


def test_the_machine_has_no_stalled_cpu(tree: Callable[[str], Path]) -> None:
    """At system level `full` is undefined for cpu; newer kernels print zeros for compatibility (psi.rst)."""
    found = pressure.host(f"{tree('v2')}/proc")

    assert list(found["cpu"]) == ["some"]
    assert list(found["memory"]) == ["some", "full"]
    assert list(found["irq"]) == ["full"]


def test_a_kernel_without_pressure_is_no_failure(tree: Callable[[str], Path]) -> None:
    """There is nothing to repair, so nothing to alert on; the source says why there are no numbers."""
    reading = PressureCollector(f"{tree('plain')}/proc").collect()

    assert reading.families == ()
    assert reading.source.startswith("none:")


def test_pressure_switched_off_at_boot_is_no_failure(
    tree: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With psi=0 the files are there, and reading them fails with EOPNOTSUPP."""

    def read(path: str) -> str:
        raise OSError(95, "Operation not supported", path)

    monkeypatch.setattr(files, "read", read)

    assert PressureCollector(f"{tree('v2')}/proc").collect().families == ()


def test_unknown_content_is_an_error(tree: Callable[[str], Path]) -> None:
    """Rather than a zero."""
    root = tree("v2")
    (root / "proc" / "pressure" / "io").write_text("some avg10=x\n", "ascii")

    with pytest.raises(ReadingError, match="pressure/io"):
        PressureCollector(f"{root}/proc").collect()
