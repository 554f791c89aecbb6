"""A real agent beside a real writer, whose system calls fail now and then: strace answers in the kernel's place."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.torture.runs import run

FAILING = {
    "fsync": "error=EIO:when=3+5",
    "syncfs": "error=EIO:when=2+4",
    "writev": "error=ENOSPC:when=9+11",
    "renameat2": "error=ENOSPC:when=2+4",
    "fallocate": "error=EIO:when=3+5",
    "ftruncate": "error=EROFS:when=1+3",
}
"""Which call fails how, the first time and then each so many calls of a thread."""
STRACE = ("strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", f"trace={','.join(FAILING)}")
MAX_SIZE = 200_000


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize("mode", ["hold", "reopen"])
def test_an_agent_whose_system_calls_fail_loses_nothing(mode: str, tmp_path: Path) -> None:
    """Case 10: it lives on, tries again, and every record is there once; it says what failed."""
    watched = tmp_path / "watched"
    watched.mkdir()
    inject = [word for call, how in FAILING.items() for word in ("-e", f"inject={call}:{how}")]
    command = (*STRACE, *inject, sys.executable, "-m", "agent", "run")
    result = run(mode, tmp_path, watched, 6, MAX_SIZE, command=command, options=("--rate", "4000"))

    assert result.verdict.good, result.report()
    assert 0 == result.ended.status, result.report()
    assert result.seals > 2, result.report()
    assert any(text in result.ended.output for text in ("No space left", "Input/output error")), result.report()
