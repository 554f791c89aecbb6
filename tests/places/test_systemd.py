"""The units as systemd's own tools judge them. The bars: anchored at what hardened units of others reach."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli.setup import place, units

UNITS = units.SHIPPED
BARS = {"": 1.0, "remote-scraping": 1.0, "processes": 1.1, "group": 1.1, "root": 1.9}
"""Highest exposure of the service alone and with each drop-in; systemd calls up to 1.0 `SAFE`, up to 4.9 `OK`."""

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs: apt-get install systemd"),
]


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What systemd-analyze says."""
    command = ["systemd-analyze", "--no-pager", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def installed(home: Path, *, drop_in: str = "", timer: bool = False, uid: int = 1234, groups: bool = False) -> Path:
    """A directory of units as `setup systemd` writes them, with a program that exists."""
    found = place.Place("/srv/otel", ("/srv/otel",), uid, 4321, "", configured=True, groups=groups)
    plan = units.installation(found, root=str(home), timer=timer, extra=(drop_in,) if drop_in else ())
    for file in plan.files:
        path = Path(file.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content.replace(units.executable(), sys.executable))
    return home / "etc/systemd/system"


def exposure(unit: Path) -> float:
    """The score of a unit with its drop-ins: 0 is closed, 10 is open."""
    told = analyze("security", "--offline=yes", str(unit))
    assert told.stderr == ""
    last = told.stdout.strip().splitlines()[-1]
    return float(last.partition(": ")[2].split()[0])


@pytest.mark.parametrize("name", BARS)
def test_exposure_stays_below_its_bar(tmp_path: Path, name: str) -> None:
    """The service as shipped, alone and with each shipped drop-in, is as closed as the bar says."""
    unit = shutil.copy(UNITS / "telemetry-agent.service", tmp_path)
    if name:
        (tmp_path / "telemetry-agent.service.d").mkdir()
        shutil.copy(UNITS / f"drop-ins/{name}.conf", tmp_path / "telemetry-agent.service.d")

    assert exposure(Path(unit)) <= BARS[name]


def test_every_drop_in_has_a_bar() -> None:
    """No drop-in is shipped without a score."""
    assert {path.stem for path in (UNITS / "drop-ins").iterdir()} == set(BARS) - {""}


def test_an_open_unit_is_above_the_bar(tmp_path: Path) -> None:
    """The score means something: without the sandbox it is far above."""
    unit = tmp_path / "telemetry-agent.service"
    lines = (UNITS / unit.name).read_text().splitlines()
    unit.write_text("\n".join(line for line in lines if not line.startswith(("Protect", "Private", "Restrict"))))

    assert exposure(unit) > 3


@pytest.mark.parametrize("timer", [False, True])
@pytest.mark.parametrize("uid", [1234, 0])
def test_what_setup_writes_is_accepted_silently(tmp_path: Path, timer: bool, uid: int) -> None:
    """There is nothing to remark in the units with the drop-in of a place: a key it ignores is a remark."""
    home = installed(tmp_path, timer=timer, uid=uid)

    for unit in home.glob("*.*"):
        if unit.is_file():
            told = analyze("verify", str(unit))
            assert (0, "") == (told.returncode, told.stderr)


@pytest.mark.parametrize("name", sorted(set(BARS) - {""}))
def test_every_drop_in_is_accepted_silently(tmp_path: Path, name: str) -> None:
    """Each shipped drop-in on top of the one of a place."""
    home = installed(tmp_path, drop_in=name)

    told = analyze("verify", str(home / "telemetry-agent.service"))

    assert (0, "") == (told.returncode, told.stderr)


def test_verify_would_notice_an_unknown_key(tmp_path: Path) -> None:
    """The check can fail: systemd ignores what it does not know, says so, and exits with 0."""
    home = installed(tmp_path)
    unit = home / "telemetry-agent.service"
    unit.write_text(unit.read_text().replace("Type=notify", "Type=notify\nBogus=1"))

    assert "Unknown key" in analyze("verify", str(unit)).stderr


def test_the_owners_unit_is_as_closed_as_it_can_be(tmp_path: Path) -> None:
    """Working in somebody's directory costs nothing of the sandbox."""
    assert exposure(installed(tmp_path) / "telemetry-agent.service") <= 1.0


def test_files_of_several_groups_cost_the_user_namespace(tmp_path: Path) -> None:
    """The namespace would know one group: without it, the score is 0.2 higher."""
    assert exposure(installed(tmp_path, groups=True) / "telemetry-agent.service") <= 1.1


def test_the_job_has_no_network(tmp_path: Path) -> None:
    """The periodic job needs nobody's network and is closed accordingly."""
    assert exposure(installed(tmp_path, timer=True) / "telemetry-agent-cleanup.service") <= 0.5


def test_metrics_of_the_machine_stay_readable() -> None:
    """ProcSubset=pid would take /proc/meminfo, /proc/stat and /proc/pressure away."""
    for unit in UNITS.glob("*.service"):
        assert not any(line.startswith("ProcSubset") for line in unit.read_text().splitlines())


@pytest.mark.parametrize(("tool", "file"), [("sysusers", "systemd-sysusers"), ("tmpfiles", "systemd-tmpfiles")])
def test_users_and_directories_are_made(tmp_path: Path, tool: str, file: str) -> None:
    """systemd-sysusers and systemd-tmpfiles take the files and make the shared group's directory."""
    if not shutil.which(file):
        pytest.skip("needs: apt-get install systemd")
    for kind in ("sysusers", "tmpfiles"):
        target = tmp_path / f"usr/lib/{kind}.d/telemetry-agent.conf"
        target.parent.mkdir(parents=True)
        shutil.copy(UNITS / f"telemetry-agent.{kind}", target)
    (tmp_path / "etc").mkdir()
    steps = ["systemd-sysusers"] if tool == "sysusers" else ["systemd-sysusers", "systemd-tmpfiles"]

    for step in steps:
        command = [step, f"--root={tmp_path}", *(["--create"] if step.endswith("files") else [])]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr

    assert "telemetry-agent:" in (tmp_path / "etc/passwd").read_text()
    assert (tmp_path / "var/lib/telemetry").exists() == (tool == "tmpfiles")
