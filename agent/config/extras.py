"""Packages that a configuration needs and that are not installed: told before the first file is due.

Destinations, alerts, notifiers and the doors tell it themselves, when they are made. Here is what is made only at work.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from agent.config.findings import Findings
from agent.config.loader import Loaded
from agent.config.reload import flat


def require(loaded: Loaded) -> None:
    """Raise ConfigError that names every key that was given a value for which the package is missing."""
    findings = Findings()
    for key in _small(loaded):
        what = 'is "small", which needs the package deflate'
        findings.add(loaded.origins[key], key, what, "pip install 'telemetry-agent[small]'")
    findings.tell()


def _small(loaded: Loaded) -> Iterator[str]:
    """Where `small` was written down and cannot be had; an entry that inherits it is not named beside the section."""
    keys = [
        key
        for key, value in flat(loaded.config)
        if value == "small" and key.endswith("rotation.level") and key in loaded.origins
    ]
    if keys and not _there("deflate"):
        yield from keys


def _there(package: str) -> bool:
    """True when it can be imported, which is more than that it lies somewhere."""
    try:
        import_module(package)
    except ImportError:
        return False
    return True
