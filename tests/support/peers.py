"""Real programs from a package registry, each in a virtual environment of its own below pytest's cache.

Nothing of theirs comes into the project's environment. What cannot be installed is a skip that names the command.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest


def environment(config: pytest.Config, name: str, *arguments: str) -> Path:
    """The environment `name` with `pip install arguments`, made once; skips the test where that fails."""
    assert config.cache is not None
    home = Path(config.cache.mkdir("peers")) / name
    ready = home / "ready"
    if ready.exists():
        return home
    shutil.rmtree(home, ignore_errors=True)
    pip = [str(home / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    try:
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True, capture_output=True, timeout=100)
        subprocess.run(pip, check=True, capture_output=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"needs: pip install {' '.join(arguments)} ({type(error).__name__})")
    ready.touch()
    return home


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextlib.contextmanager
def running(command: Sequence[str], url: str, log: Path, seconds: float = 30) -> Iterator[None]:
    """The program, from its first answer (of any status) at `url` on; ended afterwards. Its output goes to `log`."""
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            _await_answer(process, url, log, time.monotonic() + seconds)
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _await_answer(process: subprocess.Popen[bytes], url: str, log: Path, until: float) -> None:
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2).close()  # noqa: S310 - a URL of the test's own
        except urllib.error.HTTPError as error:
            error.close()
        except OSError:
            time.sleep(0.05)
            continue
        return
    pytest.fail(f"{process.args!r} did not answer: {log.read_text('utf-8', 'replace')[-2_000:]}")
