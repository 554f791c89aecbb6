"""Case 20: file names that command a terminal, break a line or are no text, through everything that a person sees."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from tests.support.program import AGENT, KEEP_ALL, ROOT, Program

LIMIT = 60.0
NAMES = (
    b"new\nline.json", b"per%cent%s.json", b"-rf.json", b"\xff\xfe.json", b"\x1b[31mred\x1b]0;title\x07.json",
    b"bell\x07.json", b"back\x08\x08.json", b"return\r.json", b"nel\xc2\x85.json", b"bidi\xe2\x80\xaeno.json",
    b"quote\"'`$(x).json", b" space .json", b"l" * 250 + b".json", b"{a}[b]*?.json", b"tab\t.json",
)  # fmt: skip
RAW = (b"\x1b", b"\x07", b"\x08", b"\r", b"\xff", b"\xc2\x85", b"\xe2\x80\xae", b"\t")
"""Bytes of those names that a terminal or a parser takes for something else."""


def shown(path: Path, *words: str) -> bytes:
    """What a command prints."""
    line = [*AGENT[:-1], *words, "-d", str(path)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, check=False, env={**os.environ, "COLUMNS": "2000"})
    assert done.returncode in (0, 1), done.stderr
    return done.stdout + done.stderr


def test_no_name_is_ever_raw(tmp_path: Path) -> None:
    """Case 20: each is sealed; log lines, metrics, status, audit and findings show it escaped, one line a thing."""
    home = os.fsencode(tmp_path)
    for name in NAMES:
        with open(os.path.join(home, name), "wb") as file:
            file.write(b'{"n":1}\n' * 1000)
        os.symlink(b"/etc/passwd", os.path.join(home, b"link-" + name[-200:]))
    settings = {**KEEP_ALL, "rotation.max_size": "1KB", "web.stream_series": "100", "agent.log_format": "console"}
    with Program(AGENT, tmp_path, settings) as program:
        program.wait_ready()
        end = time.monotonic() + LIMIT
        metrics = b""
        while sum(name.endswith(b".gz") for name in os.listdir(home)) < len(NAMES) or metrics.count(
            b"\ntelemetry_agent_stream_live_bytes{"
        ) < len(NAMES):
            program.check_alive()
            assert time.monotonic() < end, program.output()
            time.sleep(0.1)
            metrics = program.get("/metrics")[1].encode()
        outputs = {
            "metrics": metrics,
            "health": program.get("/health?verbose")[1].encode(),
            "api": program.get("/api/v1/status")[1].encode(),
            **{words: shown(tmp_path, *words.split()) for words in ("status", "audit")},
        }
        outputs["log"] = program.stop().output.encode()
    outputs["verify"] = shown(tmp_path, "verify")

    assert {} == {what: [raw for raw in RAW if raw in text] for what, text in outputs.items() if _has_raw(text)}
    assert len(NAMES) == metrics.count(b"\ntelemetry_agent_stream_live_bytes{")
    assert b"per%cent%s.json" in outputs["status"]
    assert b"\\x1b[31mred" in outputs["status"]
    assert b"new\\nline.json" in outputs["log"]
    assert b"No findings" in outputs["verify"]


def _has_raw(text: bytes) -> bool:
    return any(raw in text for raw in RAW)
