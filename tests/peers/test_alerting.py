"""Alerts of a running agent at the real Alertmanager and at a webhook, and its web configuration before promtool."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.config import Web
from agent.web import doors
from tests.support.certificates import Authority
from tests.support.hook import Hook, listening
from tests.support.peers import free_port, running
from tests.support.program import AGENT, Program

pytestmark = pytest.mark.peer

HASH = "$2b$04$sbDcMbhslwmIcqgPoCK4AOyuvqYXrY6khjQVtIBe2OhNkJn7d2KU."


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A webhook."""
    with listening() as found:
        yield found


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[str]:
    """The address of a running Alertmanager."""
    program = shutil.which("prometheus-alertmanager")
    assert program
    (tmp_path / "am.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    url = f"http://127.0.0.1:{free_port()}"
    command = [program, f"--config.file={tmp_path}/am.yml", f"--storage.path={tmp_path}/am",
               f"--web.listen-address={url.removeprefix('http://')}", "--cluster.listen-address="]  # fmt: skip
    with running(command, f"{url}/-/ready", tmp_path / "am.log"):
        yield url


def fetch(url: str) -> Any:
    """A JSON answer."""
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - a URL of the test's own
        return json.load(answer)


def wait(what: Callable[[], bool], program: Program) -> None:
    """Until it is so."""
    deadline = time.monotonic() + 60
    while not what():
        program.check_alive()
        assert time.monotonic() < deadline, program.output()
        time.sleep(0.1)


def test_an_alert_arrives_and_ends_at_alertmanager_and_webhook(tmp_path: Path, alertmanager: str, hook: Hook) -> None:
    """From the threshold to the recovery; in between it is kept alive by what is sent again."""
    data, config = tmp_path / "data", tmp_path / "agent.toml"
    data.mkdir()
    config.write_text(
        f"""
[alerts]
interval = "1s"
resend = "1s"
[[alert]]
name = "many"
when = 'telemetry_agent_streams{{state="ok"}} > 1'
for = "1s"
severity = "critical"
description = "{{{{ value }}}} files are {{{{ labels.state }}}}"
notify = ["cluster", "hook"]
[[notifier]]
name = "cluster"
kind = "alertmanager"
urls = ["{alertmanager}"]
[[notifier]]
name = "hook"
urls = ["json://{hook.address}/secret-of-the-hook"]
"""
    )
    (data / "a.json").write_text('{"a":1}\n')
    command = [*AGENT, "--config", str(config)]
    with Program(command, data, {"files.scan_interval": "200ms"}) as program:
        program.wait_ready()
        (data / "b.json").write_text('{"a":1}\n')
        wait(lambda: bool(fetch(f"{alertmanager}/api/v2/alerts")), program)
        (first,) = fetch(f"{alertmanager}/api/v2/alerts")
        wait(lambda: fetch(f"{alertmanager}/api/v2/alerts")[0]["updatedAt"] > first["updatedAt"], program)
        (again,) = fetch(f"{alertmanager}/api/v2/alerts")
        wait(lambda: len(hook.received) == 1, program)
        (data / "b.json").unlink()
        wait(lambda: not fetch(f"{alertmanager}/api/v2/alerts?active=true"), program)
        wait(lambda: len(hook.received) == 2, program)
        output = program.output()

    assert first["labels"].items() >= {"alertname": "many", "severity": "critical", "state": "ok"}.items()
    assert first["annotations"] == {"description": "2 files are ok", "value": "2"}
    assert first["status"]["state"] == "active"
    assert again["fingerprint"] == first["fingerprint"]
    assert again["startsAt"] == first["startsAt"]
    assert again["endsAt"] > first["endsAt"]
    assert [body["title"] for _, body in hook.received] == ["FIRING: many", "RESOLVED: many"]
    assert "secret-of-the-hook" not in output + config.name


GOOD = {
    "empty": "",
    "users": f"basic_auth_users:\n  alice: {HASH}\n",
    "headers": "http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n",
    "tls": "",
    "clients": "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n",
    "suites": "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n  min_version: TLS12\n  max_version: TLS13\n"
    "  prefer_server_cipher_suites: true\n",
}
BAD = {
    "typo": "tls_server_confg: {}\n",
    "no key": "tls_server_config: {cert_file: server.pem}\n",
    "no file": "tls_server_config: {cert_file: none.pem, key_file: none.key}\n",
    "mode": "tls_server_config: {cert_file: server.pem, key_file: server.key, client_auth_type: Sometimes}\n",
    "header": "http_server_config: {headers: {Server: x}}\n",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with certificates."""
    made = Authority(tmp_path_factory.mktemp("web"))
    made.sign("server", "IP:127.0.0.1")
    return made.home


def promtool(path: Path) -> int:
    """The exit status of its judgement."""
    command = ["promtool", "check", "web-config", str(path)]
    return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode


@pytest.mark.parametrize("name", GOOD)
def test_promtool_accepts_what_we_accept(home: Path, name: str) -> None:
    """The same file guards an exporter."""
    path = home / "good.yml"
    tls = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n" if name in list(GOOD)[3:] else ""
    path.write_text(tls + GOOD[name])

    doors.read(Web(config_file=str(path)))
    assert promtool(path) == 0


@pytest.mark.parametrize("name", BAD)
def test_promtool_refuses_what_we_refuse(home: Path, name: str) -> None:
    """For the keys that both know."""
    from agent.kit.errors import ConfigError

    path = home / "bad.yml"
    path.write_text(BAD[name])

    with pytest.raises(ConfigError):
        doors.read(Web(config_file=str(path)))
    assert promtool(path) != 0
