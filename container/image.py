"""What the image's build stage does with the sources: wheel, installation by hash, bill of materials, bytecode.

Run by the Containerfile with the tools of build.lock, below the sources. The same sources give the same files.
"""

from __future__ import annotations

import compileall
import hashlib
import py_compile
import shutil
import subprocess
from pathlib import Path

TOOLS = Path("/build/bin")
TARGET = Path("/opt/telemetry-agent")
DIST = Path("/dist")


def main() -> None:
    """Leave a complete environment in TARGET, without pip, and a CycloneDX bill of materials in it."""
    _run(TOOLS / "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", DIST, ".")
    (wheel,) = DIST.glob("*.whl")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    own = DIST / "own.txt"
    own.write_text(f"telemetry-agent @ file://{wheel} --hash=sha256:{digest}\n")
    _run(TARGET / "bin/pip", "install", "--no-deps", "--no-index", "--require-hashes", "-r", own)
    _run(TARGET / "bin/pip", "uninstall", "--yes", "pip", "setuptools")
    _list_materials()
    _tidy()


def _list_materials() -> None:
    bill = TARGET / "share/sbom/telemetry-agent.cdx.json"
    bill.parent.mkdir(parents=True)
    _run(TOOLS / "cyclonedx-py", "environment", "--output-reproducible", "--output-format", "JSON",
         "--output-file", bill, TARGET / "bin/python")  # fmt: skip


def _tidy() -> None:
    """Bytecode that holds no time, for a root that is read-only; nothing else that differs between two builds."""
    for cache in sorted(TARGET.rglob("__pycache__")):
        shutil.rmtree(cache)
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(TARGET / "lib", quiet=1, invalidation_mode=mode):
        raise SystemExit("a module does not compile")


def _run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True)


if __name__ == "__main__":
    main()
