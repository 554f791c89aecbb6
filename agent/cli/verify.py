"""`verify`: whether everything that was sealed is still there and whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from agent.cli import FAILED
from agent.cli.options import AsJson, ConfigFile, Overrides, WatchedDirectory, load_managed
from agent.cli.output import print_json, screen
from agent.kit.errors import printable
from agent.kit.words import count

if TYPE_CHECKING:
    from agent.streams.verify import Finding


def verify(
    context: typer.Context,
    config: ConfigFile = None,
    overrides: Overrides = None,
    directory: WatchedDirectory = None,
    json: AsJson = False,
) -> None:
    """Check every segment's checksums, the chain of positions, and the state files; change nothing.

    Needs no lock and works beside the running agent. Exits with 1 on any finding.

    Example: telemetry-agent verify --directory /var/lib/telemetry
    """
    from agent.cli import reach

    managed = load_managed(context, config, overrides, directory).config
    findings = reach.findings(managed)
    if json:
        print_json(findings)
    else:
        _show(findings, managed.files.directory)
    if findings:
        raise typer.Exit(FAILED)


def _show(findings: list[Finding], directory: str) -> None:
    console = screen()
    if not findings:
        console.print(f"No findings: segments, positions and state files of {printable(directory)} are whole.")
        return
    for finding in findings:
        console.print(f"{finding.severity}: {finding.what}", style="red")
        where = [printable(part) for part in (finding.path, finding.stream) if part]
        if finding.position is not None:
            where.append(f"position {finding.position}")
        console.print(f"  where: {', '.join(where)}")
        if finding.hint:
            console.print(f"   hint: {finding.hint}")
    console.print(f"{count(len(findings), 'finding')}.", style="bold")
