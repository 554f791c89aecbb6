"""What a setup will do, as data: files to write, then commands to run. `--dry-run` prints what is carried out."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import dataclass

from agent.kit.disk import Directory, write_atomic
from agent.kit.errors import AgentError, printable


@dataclass(frozen=True)
class Written:
    """A file and its whole content."""

    path: str
    content: str


@dataclass(frozen=True)
class Plan:
    """Files first, in this order, then the commands; `notes` are for the operator."""

    files: tuple[Written, ...]
    commands: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()


def show(plan: Plan) -> None:
    """Print every file with its content, and every command as a shell would take it."""
    for file in plan.files:
        print(f"--- {printable(file.path)}")
        print(file.content)
    for command in plan.commands:
        print(f"$ {shlex.join(command)}")
    _tell(plan)


def carry_out(plan: Plan) -> None:
    """Write and run. Raises AgentError at the first step that fails; what was done stays, and may be done again."""
    for file in plan.files:
        _write(file)
        print(f"wrote {printable(file.path)}")
    for command in plan.commands:
        _run(command)
        print(f"ran {shlex.join(command)}")
    _tell(plan)


def _tell(plan: Plan) -> None:
    for note in plan.notes:
        print(f"note: {note}")


def _write(file: Written) -> None:
    try:
        with Directory.make(os.path.dirname(file.path)) as directory:
            name = os.path.basename(file.path)
            mode = directory.stat(name).st_mode & 0o777 if directory.exists(name) else 0o644
            write_atomic(directory, name, file.content.encode("utf-8", "surrogateescape"), mode)
    except OSError as error:
        hint = "run it as root; --dry-run shows what it would do" if isinstance(error, PermissionError) else ""
        raise AgentError(f"cannot write: {error.strerror or error}", path=file.path, hint=hint) from error


def _run(command: tuple[str, ...]) -> None:
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except OSError as error:
        hint = "is this machine run by systemd? `setup cron` needs only cron" if command[0] == "systemctl" else ""
        raise AgentError(f"cannot run {shlex.join(command)}: {error.strerror or error}", hint=hint) from error
    if done.returncode != 0:
        raise AgentError(
            f"{shlex.join(command)} failed ({done.returncode}): {printable(done.stderr.strip())}",
            hint="journalctl -u telemetry-agent tells more",
        )
