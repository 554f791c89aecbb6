"""A check of another package, exactly as the README shows it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.readme import README

TEXT = README.read_text("utf-8")


def block(name: str) -> str:
    """The block of code below the marker `<!-- plug-in NAME -->`."""
    found = re.search(rf"<!-- plug-in {name} -->\n```\w+\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    assert found, name
    return found[1]


def judge(home: Path, most: int) -> subprocess.CompletedProcess[str]:
    """What `telemetry-agent health` says with the package installed and so many files in the spool."""
    use = block("use").replace("/var/spool/mail", str(home / "spool")).replace("most = 20", f"most = {most}")
    (home / "agent.toml").write_text(f'{use}[files]\ndirectory = "{home}/t"\n')
    command = [sys.executable, "-m", "agent", "health", "--config", str(home / "agent.toml")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(home / "site"), str(README.parent)]), "COLUMNS": "200"}
    return subprocess.run(command, cwd=home, env=environ, capture_output=True, text=True, check=False, timeout=60)


def test_the_readmes_plug_in_works(tmp_path: Path) -> None:
    """Installed as a package with its entry point, it is made with its options, judges, and refuses wrong ones."""
    site = tmp_path / "site"
    (site / "my_checks-1.0.dist-info").mkdir(parents=True)
    (site / "my_checks.py").write_text(block("module"))
    (site / "my_checks-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: my-checks\nVersion: 1.0\n")
    entry = block("entry point").replace('[project.entry-points."telemetry_agent.checks"]', "[telemetry_agent.checks]")
    (site / "my_checks-1.0.dist-info/entry_points.txt").write_text(entry.replace('"', ""))
    (tmp_path / "t").mkdir()
    (tmp_path / "spool").mkdir()
    for number in range(3):
        (tmp_path / f"spool/{number}").touch()

    assert re.search(r"outgoing_mail +healthy .*3 files wait", judge(tmp_path, 3).stdout)
    bad = judge(tmp_path, 2)
    assert 2 == bad.returncode
    assert "check outgoing_mail is unhealthy: 3 files wait; is the mailer running?" in bad.stdout
    (tmp_path / "agent.toml").write_text((tmp_path / "agent.toml").read_text().replace("most =", "moost ="))
    command = [sys.executable, "-m", "agent", "check-config", "-q", "--config", str(tmp_path / "agent.toml")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(README.parent)])}
    wrong = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert 78 == wrong.returncode
    assert "moost" in wrong.stderr
