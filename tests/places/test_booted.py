"""The service in a systemd that was booted for it: set up, watched, killed, reloaded, stopped."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.places import built

AGENT = "/opt/telemetry-agent/bin/telemetry-agent"
WATCHED = "srv/otel"
LINES = 30_000
WRITER = f"""
import time
with open("/{WATCHED}/out.json", "w") as out:  # as the Collector: no append, truncated at first, held open
    for number in range({LINES}):
        out.write('{{"id": %d, "pad": "%s"}}\\n' % (number, "x" * 200))
        if number % 200 == 0:
            out.flush()
            time.sleep(0.01)
    out.flush()
    time.sleep(3)
"""

pytestmark = [pytest.mark.peer, pytest.mark.root, pytest.mark.long, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Machine:
    """A booted container without a network."""

    root: Path
    init: int

    def run(self, *command: str, check: bool = True) -> str:
        """What a command inside prints. Raises AssertionError when it fails, unless `check` is off."""
        line = ["nsenter", "--target", str(self.init), "--all", "--", *command]
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)
        if check and done.returncode != 0:
            journal = self.run("journalctl", "--no-pager", "-n", "40", check=False)
            raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}\n{journal}")
        return done.stdout

    def show(self, unit: str, key: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", "--property", key, "--value", unit).strip()

    @property
    def pid(self) -> int:
        """The agent's main process, as the machine counts; 0 when there is none."""
        return int(self.show("telemetry-agent", "MainPID"))

    def until(self, what: str, holds: Callable[[], bool], seconds: float = 30) -> None:
        """Wait until something holds."""
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, f"not {what} after {seconds} s\n{self.run('journalctl', '-n', '30')}"
            time.sleep(0.1)

    def until_another(self, pid: int) -> None:
        """Wait until systemd runs the agent as another process than `pid`."""
        self.until(
            "started again", lambda: self.pid not in (0, pid) and self.show("telemetry-agent", "SubState") == "running"
        )


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with a user `otel`, a directory of its own, and the agent set up for it."""
    built.need("systemd-nspawn", "mmdebstrap", "nsenter")
    home = tmp_path_factory.mktemp("machine")
    root = home / "root"
    built.run("cp", "-a", "--reflink=auto", built.debian(request.config), root)
    _install(request.config, root)
    built.run("chroot", root, "useradd", "--system", "--user-group", "otel")
    built.run("chroot", root, "install", "-d", "-o", "otel", "-g", "otel", "-m", "0755", f"/{WATCHED}")
    how = ["--register=no", "--keep-unit", "--private-network", "--quiet", "--console=pipe"]
    with (
        (home / "log").open("wb") as log,
        subprocess.Popen(["systemd-nspawn", "--boot", "-D", root, *how], stdin=subprocess.DEVNULL, stdout=log,
                         stderr=log) as nspawn,
    ):  # fmt: skip
        try:
            made = Machine(root, _init(nspawn.pid))
            made.until("booted", lambda: "running" in made.run("systemctl", "is-system-running", check=False), 60)
            made.run(AGENT, "setup", "systemd", "--directory", f"/{WATCHED}")
            yield made
        finally:
            nspawn.terminate()
            nspawn.wait(60)
    shutil.rmtree(home, ignore_errors=True)


def _install(config: pytest.Config, root: Path) -> None:
    shutil.copytree(built.wheels(config), root / "wheels")
    built.sources(root / "src")
    pip = ["/opt/telemetry-agent/bin/pip", "install", "--quiet", "--no-index", "--find-links=/wheels"]
    built.run("chroot", root, "python3", "-m", "venv", "/opt/telemetry-agent")
    built.run("chroot", root, *pip, "/src[small]", timeout=300)


def _init(nspawn: int) -> int:
    """The first process of the machine, a child of nspawn."""
    children = Path(f"/proc/{nspawn}/task/{nspawn}/children")
    for _ in range(100):
        found = children.read_text().split()
        if found:
            return int(found[0])
        time.sleep(0.1)
    pytest.fail("the container has no first process")


def test_setup_starts_the_agent_as_the_owner(machine: Machine) -> None:
    """After setup the unit is enabled, told that it is ready, and runs as the owner of the directory."""
    state = [machine.show("telemetry-agent", key) for key in ("ActiveState", "UnitFileState", "Type", "User")]

    assert ["active", "enabled", "notify", "otel"] == state
    assert machine.show("telemetry-agent", "StatusText")
    uid = machine.run("stat", "--format=%U", f"/proc/{machine.pid}").strip()
    assert "otel" == uid
    assert "yes" == machine.show("telemetry-agent", "PrivateUsers")
    assert "/etc/systemd/system" in machine.run("systemctl", "show", "--property=DropInPaths", "telemetry-agent")


def test_it_seals_a_foreign_writers_file(machine: Machine) -> None:
    """A service of the same user holds its file open; every line it wrote is in a segment once it let go."""
    settings = machine.root / "etc/telemetry-agent/agent.toml"
    settings.write_text(settings.read_text() + '[rotation]\nmax_size = "500KB"\n[retention]\nkeep = 100000\n')
    machine.run("systemctl", "reload", "telemetry-agent")

    machine.run("systemd-run", "--unit=writer", "--uid=otel", "--wait", "python3", "-c", WRITER)
    machine.run(AGENT, "rotate")

    segments = sorted((machine.root / WATCHED).glob("out_*.json.gz"), key=built.sealed)
    lines = b"".join(gzip.decompress(path.read_bytes()) for path in segments).splitlines()
    assert list(range(LINES)) == [json.loads(line)["id"] for line in lines]
    assert len(segments) > 3
    assert {"otel"} == set(machine.run("stat", "--format=%U", *(f"/{WATCHED}/{s.name}" for s in segments)).split())
    assert (machine.root / WATCHED / "out.json").stat().st_blocks * 512 < 100_000


def test_a_bad_reload_fails_and_changes_nothing(machine: Machine) -> None:
    """`systemctl reload` waits for the answer: a wrong configuration is a failure, and the old one stays."""
    settings = machine.root / "etc/telemetry-agent/agent.toml"
    good, before = settings.read_text(), machine.pid
    settings.write_text(good + "[web]\nlistem = ''\n")
    try:
        with pytest.raises(AssertionError, match="listem"):
            machine.run("systemctl", "reload", "telemetry-agent")
    finally:
        settings.write_text(good)
    machine.run("systemctl", "reload", "telemetry-agent")

    assert ("active", before) == (machine.show("telemetry-agent", "ActiveState"), machine.pid)


def test_it_comes_back_when_it_is_killed(machine: Machine) -> None:
    """A process that is killed is started again, and works."""
    before = machine.pid
    machine.run("kill", "-KILL", str(before))

    machine.until_another(before)
    machine.run(AGENT, "status")


def test_the_watchdog_ends_a_process_that_hangs(machine: Machine) -> None:
    """A stopped process says nothing: systemd ends it after WatchdogSec and starts another."""
    drop_in = machine.root / "etc/systemd/system/telemetry-agent.service.d/90-test.conf"
    drop_in.write_text("[Service]\nWatchdogSec=3\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "telemetry-agent")
    before = machine.pid
    time.sleep(5)
    assert before == machine.pid, "it must live while it is not stopped"

    machine.run("kill", "-STOP", str(before))
    machine.until_another(before)

    assert "Watchdog timeout" in machine.run("journalctl", "--no-pager", "-u", "telemetry-agent")


def test_the_sandbox_holds(machine: Machine) -> None:
    """The process may write its directory and no other, and has no capability."""
    status = machine.run("cat", f"/proc/{machine.pid}/status")
    mounts = machine.run("cat", f"/proc/{machine.pid}/mountinfo")

    fields = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
    assert ("0" * 16, "1", "2") == (fields["CapBnd"], fields["NoNewPrivs"], fields["Seccomp"])
    options = {line.split()[4]: line.split()[5] for line in mounts.splitlines()}
    assert options["/"].startswith("ro,")
    assert options[f"/{WATCHED}"].startswith("rw,")


def _move(machine: Machine, directory: str) -> None:
    """Set the agent up for another directory."""
    (machine.root / "etc/telemetry-agent/agent.toml").unlink()
    shutil.rmtree(machine.root / "etc/systemd/system/telemetry-agent.service.d", ignore_errors=True)
    machine.run(AGENT, "setup", "systemd", "--directory", directory)


def test_a_directory_in_a_home_is_the_only_thing_seen_of_it(machine: Machine) -> None:
    """What ProtectHome hides is bound back, also where the name has a blank, a colon and a percent sign."""
    odd = "/home/ann/to keep: 100%"
    machine.run("useradd", "--create-home", "ann")
    machine.run("install", "-d", "-o", "ann", "-g", "ann", odd)
    machine.run("install", "-o", "ann", "/dev/null", "/home/ann/secret")

    _move(machine, odd)
    machine.run("runuser", "-u", "ann", "--", "sh", "-c", f"echo '{{}}' > '{odd}/a.json'")
    machine.run(AGENT, "rotate", "a.json")

    assert "ann" == machine.show("telemetry-agent", "User")
    seen = machine.run("ls", f"/proc/{machine.pid}/root/home/ann")
    assert ["to keep: 100%"] == seen.splitlines()
    assert 1 == len(list((machine.root / odd.lstrip("/")).glob("a_*.json.gz")))


def test_files_of_many_owners_are_work_for_root(machine: Machine) -> None:
    """The unit falls back to root with four capabilities; segments belong to the owners of their live files."""
    machine.run("install", "-d", "-m", "1777", "/srv/many")
    for user in ("ann", "otel"):
        machine.run("runuser", "-u", user, "--", "sh", "-c", f"umask 077; echo '{{}}' > /srv/many/{user}.json")

    _move(machine, "/srv/many")
    machine.run(AGENT, "rotate")

    owners = {path.name.partition("_")[0]: machine.run("stat", "--format=%U %a", f"/srv/many/{path.name}").strip()
              for path in (machine.root / "srv/many").glob("*.gz")}  # fmt: skip
    assert {"ann": "ann 600", "otel": "otel 600"} == owners
    assert [0, 0] == [(machine.root / f"srv/many/{user}.json").stat().st_size for user in ("ann", "otel")]
    _move(machine, f"/{WATCHED}")


def test_it_stops_at_once_and_cleanly(machine: Machine) -> None:
    """A stop ends it with status 0, within its time, and leaves no unfinished file."""
    machine.run("systemctl", "stop", "telemetry-agent")

    assert ("inactive", "success") == tuple(machine.show("telemetry-agent", key) for key in ("ActiveState", "Result"))
    assert "0" == machine.show("telemetry-agent", "ExecMainStatus")
    assert [] == [one.name for one in (machine.root / WATCHED).iterdir() if one.suffix in (".part", ".open", ".merge")]
    machine.run(AGENT, "verify")


def test_the_classic_job_works_without_an_agent(machine: Machine) -> None:
    """With the timer, one run of the job does what is due, as the same user."""
    machine.run("systemctl", "disable", "--now", "telemetry-agent")
    machine.run(AGENT, "setup", "systemd", "--directory", f"/{WATCHED}", "--timer")
    machine.run("systemctl", "start", "telemetry-agent-cleanup.service")

    assert "active" == machine.show("telemetry-agent-cleanup.timer", "ActiveState")
    assert "success" == machine.show("telemetry-agent-cleanup.service", "Result")
    assert os.path.exists(machine.root / WATCHED / ".telemetry-agent")
