"""What the tests of places are made of: wheels whose hashes are in the locks, a small Debian, a copy of the sources.

Everything is made once and kept below pytest's cache; what cannot be made is a skip that names the command.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support import peers

ROOT = Path(__file__).parents[2]
PLATFORMS = {"amd64": "x86_64", "arm64": "aarch64"}


def need(*tools: str) -> None:
    """Skip without root or one of the tools."""
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        pytest.skip(f"needs: {', '.join(missing)}; apt-get install mmdebstrap systemd-container buildah podman runc")
    if os.geteuid() != 0:
        pytest.skip("needs root")


def wheels(config: pytest.Config, architecture: str = "amd64") -> Path:
    """A directory with the wheel of every line of both locks, each of a hash that the lock has."""
    home = _home(config) / f"wheels-{architecture}"
    machine = PLATFORMS[architecture]
    locks = [ROOT / "container/requirements.lock", ROOT / "container/build.lock"]
    if (home / "ready").exists() and all(lock.stat().st_mtime < (home / "ready").stat().st_mtime for lock in locks):
        return home
    shutil.rmtree(home, ignore_errors=True)
    for lock in locks:
        command: list[str | Path] = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--require-hashes", "--only-binary=:all:", f"--platform=manylinux2014_{machine}",
                   f"--platform=manylinux_2_28_{machine}", "--python-version=3.11", "-r", lock, "-d", home]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        if "No matching distribution" in done.stderr or "DO NOT MATCH" in done.stderr:
            pytest.fail(f"{lock.name} cannot be installed on {architecture}: {done.stderr[-2000:]}")
        if done.returncode != 0:
            pytest.skip(f"needs the package index: {done.stderr[-300:]}")
    (home / "ready").touch()
    return home


def debian(config: pytest.Config) -> Path:
    """The root of a Debian with systemd and Python, for containers to boot and images to begin with."""
    home = _home(config) / "debian"
    if (home / "ready").exists():
        return home / "root"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    include = "--include=systemd,systemd-sysv,dbus,python3,python3-venv,procps"
    try:
        run("mmdebstrap", "--quiet", "--variant=minbase", include, "bookworm", home / "root", timeout=600)
    except subprocess.SubprocessError as error:
        pytest.skip(f"needs a Debian mirror: {error}")
    (home / "ready").touch()
    return home / "root"


def sources(target: Path) -> Path:
    """A copy of what an image is built of."""
    target.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, target)
    for name in ("agent", "systemd", "container"):
        shutil.copytree(ROOT / name, target / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def sealed(segment: Path) -> list[int]:
    """The order of segments of one stream: day, time, and number within a second."""
    return [int(number) for number in re.findall(r"\d+", segment.name)]


def run(*command: object, timeout: float = 120) -> str:
    """Standard output of a program that succeeds. Raises CalledProcessError with what it said."""
    line: Sequence[str] = [str(part) for part in command]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=timeout)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(line)}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def _home(config: pytest.Config) -> Path:
    assert config.cache is not None
    home = Path(config.cache.mkdir("places"))
    home.mkdir(exist_ok=True)
    return home


def checkov(config: pytest.Config, directory: Path, framework: str) -> dict[str, list[dict[str, object]]]:
    """The results of checkov over a directory, without a network: it would ask its maker for guidelines."""
    home = peers.environment(config, "checkov", "checkov")
    if os.geteuid() != 0:
        pytest.skip("needs root, for a namespace without a network")
    command = ["unshare", "--net", home / "bin/checkov", "--framework", framework, "--directory", directory]
    command += ["--skip-download", "--output", "json", "--soft-fail"]
    results: dict[str, list[dict[str, object]]] = json.loads(run(*command))["results"]
    return results
