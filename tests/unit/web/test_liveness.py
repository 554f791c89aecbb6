"""The liveness table, with the running agent: what must never restart it, and the one thing that must."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.test_filesystems import fill
from tests.support.hostile import Hostile, Say
from tests.support.program import AGENT, ROOT, Program, free_port
from tests.support.stuck import COMMAND
from tests.torture.mounts import mounted

_SPAN = (
    '{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":'
    '"eee19b7ec3c1b174","name":"a","kind":1,"startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}\n'
)
_PROMPT = {"health.interval": "200ms"}
_OFTEN = (
    "import sys; from agent import cli; from agent.duties import backlog; backlog.EVERY = 0.1; sys.exit(cli.main())"
)
_LOOKING_OFTEN = (sys.executable, "-c", _OFTEN, "run")
"""The agent, but that it looks more often whether too much waits."""


def wait_for(found: Callable[[], bool], program: Program, limit: float = 30) -> None:
    """Ask again until it is so."""
    give_up = time.monotonic() + limit
    while not found():
        assert time.monotonic() < give_up, program.output()
        time.sleep(0.05)


def issues(program: Program) -> str:
    """What /health complains of."""
    return " ".join(json.loads(program.get("/health")[1])["issues"])


def removed(directory: Path) -> bool:
    """Deleted, with what the agent may write into it at the same moment."""
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


def test_a_directory_that_is_gone_is_told_and_leaves_the_agent_alive(tmp_path: Path) -> None:
    """/health says so with 503; /livez, /readyz and /startupz stay at 200."""
    directory = tmp_path / "telemetry"
    directory.mkdir()
    with Program(AGENT, directory, _PROMPT) as program:
        program.wait_ready()
        wait_for(lambda: removed(directory), program)
        wait_for(lambda: "telemetry_directory is unhealthy" in issues(program), program)

        assert 503 == program.get("/health")[0]
        assert [200] * 3 == [program.get(path)[0] for path in ("/livez", "/readyz", "/startupz")]


@pytest.mark.root
def test_a_disk_that_is_full_is_told_and_leaves_the_agent_alive(tmp_path: Path) -> None:
    """Not one byte is left on a real file system; with room again, all is well again."""
    with mounted("tmpfs", tmp_path, 4 << 20) as disk, Program(AGENT, disk / "t", _PROMPT) as program:
        program.wait_ready()
        fill(disk / "filler")
        wait_for(lambda: "disk_space is unhealthy" in issues(program), program)
        wait_for(lambda: "no byte is free" in program.get("/api/v1/status")[1], program)

        assert [200] * 3 == [program.get(path)[0] for path in ("/livez", "/readyz", "/startupz")]
        assert 503 == program.get("/health")[0]
        assert "disk_space_health_status 3.0" in program.get("/metrics")[1]
        assert "system_health_status 3.0" in program.get("/metrics")[1]

        (disk / "filler").unlink()
        wait_for(lambda: program.get("/health")[0] == 200, program)


def test_a_destination_that_is_down_is_told_and_leaves_the_agent_alive(tmp_path: Path) -> None:
    """Nobody listens where records are sent to: they wait on disk, and /health says so with 200."""
    config = tmp_path / "agent.toml"
    config.write_text(
        f'[[forward]]\nname = "nowhere"\nendpoints = ["http://127.0.0.1:{free_port()}"]\n'
        '[forward.retry]\ninitial = "100ms"\nmaximum = "100ms"\n',
        "utf-8",
    )
    with Program((*AGENT, "--config", str(config)), tmp_path / "t", _PROMPT) as program:
        program.wait_ready()
        (tmp_path / "t/a.json").write_text(_SPAN, "utf-8")
        wait_for(lambda: "nowhere" in issues(program), program)

        assert [200] * 4 == [program.get(path)[0] for path in ("/livez", "/readyz", "/startupz", "/health")]
        assert "degraded" == json.loads(program.get("/health")[1])["status"]


def test_a_backlog_beyond_its_bound_is_told_and_leaves_the_agent_alive(tmp_path: Path, server: Hostile) -> None:
    """503 and exit code 2 while nothing is taken and nothing may be deleted, then 200 by itself; logged once each."""
    server.will(Say(503))
    config = tmp_path / "agent.toml"
    config.write_text(
        f'[[forward]]\nname = "out"\nendpoints = ["{server.url}"]\n[forward.unsent]\nmax_bytes = "1kB"\n'
        '[forward.retry]\ninitial = "50ms"\nmaximum = "50ms"\n[forward.breaker]\nrecovery = "50ms"\n',
        "utf-8",
    )
    asked = (sys.executable, "-m", "agent", "--directory", str(tmp_path / "t"), "--config", str(config))
    with Program((*_LOOKING_OFTEN, "--config", str(config)), tmp_path / "t", _PROMPT) as program:
        program.wait_ready()
        (tmp_path / "t/a.json").write_text(_SPAN * 10, "utf-8")
        wait_for(lambda: program.get("/health")[0] == 503, program)
        assert "forward out is failed: a.json: 1.9 kB wait, unsent.max_bytes is 1kB" in issues(program)
        assert "look at the destination, raise the bound in [forward.unsent], or let the oldest go" in issues(program)
        assert [200] * 3 == [program.get(path)[0] for path in ("/livez", "/readyz", "/startupz")]
        judged = subprocess.run([*asked, "health"], capture_output=True, text=True, check=False, cwd=ROOT)
        assert (2, "CRITICAL") == (judged.returncode, judged.stdout.partition(":")[0])
        wait_for(lambda: '"state":"failed"' in program.get("/api/v1/status")[1], program, limit=45)
        told = subprocess.run([*asked, "status"], capture_output=True, text=True, check=True, cwd=ROOT)
        assert "forward out is failed since" in told.stdout

        server.will(Say())
        wait_for(lambda: program.get("/health")[0] == 200, program)
        wait_for(lambda: "forward out" not in issues(program), program)

        assert 1 == program.output().count("more waits than [forward.unsent] allows")
        assert 1 == program.output().count("within the bounds of [forward.unsent] again")


def test_a_bad_reload_keeps_the_old_checks_and_leaves_the_agent_alive(tmp_path: Path) -> None:
    """A good one brings new checks into force."""
    config = tmp_path / "agent.toml"
    config.write_text("", "utf-8")
    with Program((*AGENT, "--config", str(config)), tmp_path / "t", _PROMPT) as program:
        program.wait_ready()
        config.write_text('[[health.check]]\nkind = "tcp"\nname = "x"\naddress = "nowhere"\n', "utf-8")
        os.kill(program.pid, signal.SIGHUP)
        failed = "telemetry_agent_config_last_reload_successful 0.0"
        wait_for(lambda: failed in program.get("/metrics")[1], program)
        assert [200] * 4 == [program.get(path)[0] for path in ("/livez", "/readyz", "/startupz", "/health")]

        config.write_text('[[health.check]]\nkind = "dns"\nname = "x"\nhostname = "127.0.0.1"\n', "utf-8")
        os.kill(program.pid, signal.SIGHUP)
        wait_for(lambda: 'check_status{check="x"} 1.0' in program.get("/metrics")[1], program)
        assert "telemetry_agent_config_last_reload_successful 1.0" in program.get("/metrics")[1]


def test_a_reload_changes_what_is_logged(tmp_path: Path) -> None:
    """From the moment on in which it is read; and the configuration that was good before is good again."""
    config = tmp_path / "agent.toml"
    config.write_text('[agent]\nlog_level = "error"\n', "utf-8")
    with Program((*AGENT, "--config", str(config)), tmp_path / "t", _PROMPT) as program:
        program.wait_ready()
        config.write_text('[agent]\nlog_level = "info"\n', "utf-8")
        os.kill(program.pid, signal.SIGHUP)
        wait_for(lambda: "configuration read again" in program.output(), program)
        config.write_text('[agent]\nlog_level = "loud"\n', "utf-8")
        os.kill(program.pid, signal.SIGHUP)
        wait_for(lambda: "last_reload_successful 0.0" in program.get("/metrics")[1], program)
        config.write_text('[agent]\nlog_level = "error"\n', "utf-8")
        os.kill(program.pid, signal.SIGHUP)
        wait_for(lambda: "last_reload_successful 1.0" in program.get("/metrics")[1], program)

        assert "telemetry-agent runs" not in program.output()
        assert "telemetry_agent_config_reloads_total 3.0" in program.get("/metrics")[1]
        assert "telemetry_agent_config_reload_failures_total 1.0" in program.get("/metrics")[1]


def test_after_many_reloads_at_once_the_last_configuration_is_in_force(tmp_path: Path) -> None:
    """However the signals meet, what is written last is read last."""
    config = tmp_path / "agent.toml"
    config.write_text("", "utf-8")
    with Program((*AGENT, "--config", str(config)), tmp_path / "t", _PROMPT) as program:
        program.wait_ready()
        for number in range(1, 51):
            (tmp_path / "next").write_text(f'[rotation]\nmax_size = "{number}MB"\n', "utf-8")
            (tmp_path / "next").rename(config)
            os.kill(program.pid, signal.SIGHUP)
        wait_for(lambda: '{"key":"rotation.max_size","value":"\\"50MB\\""' in program.get("/api/v1/config")[1], program)

        assert "last_reload_successful 1.0" in program.get("/metrics")[1]
        assert 200 == program.get("/livez")[0]


def test_a_blocked_main_loop_is_dead_within_the_deadline(tmp_path: Path) -> None:
    """/livez says 503 from a thread of its own, and so does /health; startup is long over."""
    with Program(COMMAND, tmp_path / "t", {}) as program:
        program.wait_ready()
        assert 200 == program.get("/livez")[0]
        os.kill(program.pid, signal.SIGUSR2)
        wait_for(lambda: program.get("/livez")[0] == 503, program, limit=15)

        assert 503 == program.get("/health")[0]
        assert 200 == program.get("/startupz")[0]
        program.stop(signal.SIGKILL)


def test_the_service_manager_hears_the_life_of_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """READY after the first sweep, signs of life in half the watchdog's time, RELOADING and READY, STOPPING once."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        heard: list[str] = []

        def hear(word: str) -> None:
            while word not in heard:
                heard.extend(manager.recv(4096).decode().split("\n"))

        with Program(AGENT, tmp_path / "t", {}) as program:
            hear("READY=1")
            assert 200 == program.get("/readyz")[0]
            assert any(one.startswith("STATUS=") and str(tmp_path / "t") in one for one in heard)
            hear("WATCHDOG=1")
            heard.clear()
            os.kill(program.pid, signal.SIGHUP)
            hear("RELOADING=1")
            hear("READY=1")
            assert any(one.startswith("MONOTONIC_USEC=") for one in heard)
            heard.clear()
            program.stop()
            hear("STOPPING=1")
        assert 1 == heard.count("STOPPING=1")
