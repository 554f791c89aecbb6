"""What must never be committed, as lines of a .gitignore."""

from __future__ import annotations

import os
from pathlib import Path

from agent.cli.setup.plan import Plan, Written
from agent.config import STATE_DIRECTORY
from agent.kit.errors import AgentError

PATTERNS = ("/telemetry/", "*.telemetry.json", "telemetry.json*", "otel-*.json", f"{STATE_DIRECTORY}/")
_TITLE = "# Telemetry, its segments and the telemetry-agent's state"


def patterns(start: str, directory: str) -> Plan:
    """Add to the .gitignore of the repository around `start` what is missing there.

    `directory`, absolute or empty, is ignored as a whole when it is inside. Raises AgentError outside a repository.
    """
    top = _repository(Path(start))
    wanted = [*PATTERNS]
    inside = os.path.relpath(directory, top) if directory else ".."
    if inside != "." and not inside.startswith(".."):
        wanted.append(f"/{_literal(inside)}/")
    path = top / ".gitignore"
    before = path.read_text("utf-8", "surrogateescape") if path.exists() else ""
    missing = [pattern for pattern in dict.fromkeys(wanted) if pattern not in before.splitlines()]
    if not missing:
        return Plan((), notes=(f"{path} has them all",))
    gap = "" if not before or before.endswith("\n") else "\n"
    between = "\n" if before else ""
    return Plan((Written(str(path), f"{before}{gap}{between}{_TITLE}\n" + "\n".join(missing) + "\n"),))


def _repository(start: Path) -> Path:
    for place in (start, *start.parents):
        if (place / ".git").exists():
            return place
    raise AgentError("no git repository here", path=str(start), hint="run it inside the repository")


def _literal(path: str) -> str:
    """A path as a pattern that matches nothing else (gitignore(5))."""
    return "".join(f"\\{c}" if c in "\\*?[" else c for c in path)
