"""The stack of compose.yaml: its files by the programs that read them, and agent and monitors for real."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent import config
from tests.places import built
from tests.places.test_dashboards import NAMES, panels
from tests.support import peers
from tests.support.program import AGENT, Program

HOME = built.ROOT / "container"
DESTINATIONS = HOME / "compose/destinations"
STACK = yaml.safe_load((HOME / "compose.yaml").read_text())
SPAN = (
    b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":'
    b'"eee19b7ec3c1b174","name":"%s","kind":1,"startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}\n'
)
QUIET = {
    # Nothing to show where nothing is wrong, no container is, or a file may be of any length.
    "Lost", "Refused files", "Failing steps", "Throttled", "Longest file",
}  # fmt: skip


def needs(tool: str, package: str) -> pytest.MarkDecorator:
    """Skip without a program of Debian."""
    return pytest.mark.skipif(not shutil.which(tool), reason=f"needs: apt-get install {package}")


# -- the files


@pytest.mark.peer
def test_compose_has_the_shape_of_its_specification(request: pytest.FixtureRequest) -> None:
    """The Compose specification's own schema accepts the file and each destination's."""
    home = peers.environment(request.config, "check-jsonschema", "check-jsonschema")
    tool, path = str(home / "bin/check-jsonschema"), str(HOME / "compose.yaml")
    command = [tool, "--builtin-schema", "vendor.compose-spec", path, *map(str, DESTINATIONS.glob("*.yaml"))]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_mounted_file_exists() -> None:
    """A path that does not exist would become an empty directory in the container."""
    mounts = [text.split(":")[0] for each in STACK["services"].values() for text in each.get("volumes", [])]

    files = [HOME / path for path in mounts if path.startswith("./")]
    assert files
    assert [] == [path for path in files if not path.exists()]
    assert {path for path in mounts if not path.startswith("./")} == set(STACK["volumes"])


@pytest.mark.parametrize("path", sorted(DESTINATIONS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_destination_fits_the_stack(path: Path) -> None:
    """The agent's file is that of the stack with one forward more, to a service that this overlay adds."""
    services = yaml.safe_load(path.read_text())["services"]
    settings = path.with_suffix(".toml")
    loaded = config.load(str(settings), environ={}).config
    (forward,) = loaded.forward
    (mount,) = services["agent"]["volumes"]
    added = {name: one for name, one in services.items() if name not in STACK["services"]}

    assert settings.read_text().startswith((HOME / "compose/agent.toml").read_text())
    assert (settings, "/etc/telemetry-agent/agent.toml:ro") == (HOME / mount.split(":")[0], mount.partition(":")[2])
    assert urllib.parse.urlsplit(forward.endpoints[0]).hostname in added
    assert all(re.search(r":\d[\w.]+$", one["image"]) for one in added.values())
    assert all(port.startswith("127.0.0.1:") for one in added.values() for port in one.get("ports", []))
    assert 1 <= sum(forward.selects(name) for name in ("traces.json", "logs.json"))


def test_only_loopback_is_published() -> None:
    """Nobody else on the network reaches a port."""
    ports = [port for each in STACK["services"].values() for port in each.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_collector_and_agent_are_the_same_user() -> None:
    """The agent may give space back in the files that the Collector writes."""
    services = STACK["services"]

    assert services["collector"]["user"] == services["agent"]["user"]
    assert services["agent"]["user"] in services["volume"]["command"]


def test_the_stacks_configurations_fit_together() -> None:
    """The agent takes what the Collector writes, Prometheus scrapes where the agent listens, Grafana finds both."""
    loaded = config.load(str(HOME / "compose/agent.toml"), environ={}).config
    collector = yaml.safe_load((HOME / "compose/collector.yaml").read_text())
    scrapes = yaml.safe_load((HOME / "compose/prometheus.yaml").read_text())["scrape_configs"]

    files = [each for name, each in collector["exporters"].items() if name.startswith("file/")]
    paths = [each["path"] for each in files]
    targets = {each["job_name"]: each["static_configs"][0]["targets"] for each in scrapes}
    assert all(loaded.files.selects(path.removeprefix(f"{loaded.files.directory}/")) for path in paths)
    assert all(each == {"path": each["path"], "append": True} for each in files)
    assert ("", 9464) == loaded.web.address
    assert ["agent:9464"] == targets["telemetry-agent"]
    assert collector["exporters"]["prometheus"]["endpoint"].endswith(targets["collector"][0].partition(":")[2])


@pytest.mark.peer
@needs("promtool", "prometheus")
def test_prometheus_reads_its_configuration(tmp_path: Path) -> None:
    """Promtool accepts the configuration with the rules it names."""
    shutil.copytree(HOME / "prometheus", tmp_path / "rules")
    shutil.copy(HOME / "compose/prometheus.yaml", tmp_path)

    built.run("promtool", "check", "config", tmp_path / "prometheus.yaml")


@pytest.mark.peer
@needs("amtool", "prometheus-alertmanager")
def test_alertmanager_reads_its_configuration() -> None:
    """Amtool accepts the configuration."""
    built.run("amtool", "check-config", HOME / "compose/alertmanager.yaml")


# -- for real: an agent on a small disk, watched by Prometheus, told on by Alertmanager


@contextlib.contextmanager
def small_disk(at: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    at.mkdir()
    built.run("mount", "-t", "tmpfs", "-o", "size=24m,mode=755", "small", at)
    try:
        yield at
    finally:
        built.run("umount", "--lazy", at)


class Monitors:
    """A Prometheus that scrapes one agent each second, and an Alertmanager."""

    def __init__(self, home: Path, agent: int) -> None:
        self.home = home
        self.agent = f"127.0.0.1:{agent}"
        self.prometheus = f"127.0.0.1:{peers.free_port()}"
        self.alertmanager = f"127.0.0.1:{peers.free_port()}"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Both programs with the project's own rules, which wait for nothing here."""
        rules = re.sub(
            r"^( +)for: .*$", r"\1for: 0s", (HOME / "prometheus/alerts.yaml").read_text(), flags=re.MULTILINE
        )
        (self.home / "alerts.yaml").write_text(rules)
        shutil.copy(HOME / "prometheus/recorded.yaml", self.home)
        settings = yaml.safe_load((HOME / "compose/prometheus.yaml").read_text())
        settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        settings["rule_files"] = [str(self.home / f"{name}.yaml") for name in ("alerts", "recorded")]
        settings["scrape_configs"] = [each for each in settings["scrape_configs"] if each["job_name"] == AGENT_JOB]
        settings["scrape_configs"][0]["static_configs"] = [{"targets": [self.agent]}]
        settings["alerting"]["alertmanagers"][0]["static_configs"] = [{"targets": [self.alertmanager]}]
        (self.home / "prometheus.yaml").write_text(yaml.safe_dump(settings))
        first = ["prometheus", f"--config.file={self.home}/prometheus.yaml", f"--storage.tsdb.path={self.home}/tsdb",
                 f"--web.listen-address={self.prometheus}"]  # fmt: skip
        second = ["prometheus-alertmanager", f"--config.file={HOME}/compose/alertmanager.yaml",
                  f"--storage.path={self.home}/am", f"--web.listen-address={self.alertmanager}",
                  "--cluster.listen-address="]  # fmt: skip
        with (
            peers.running(second, f"http://{self.alertmanager}/-/ready", self.home / "am.log"),
            peers.running(first, f"http://{self.prometheus}/-/ready", self.home / "prometheus.log"),
        ):
            yield

    def query(self, expression: str) -> list[Any]:
        """The samples that Prometheus has for an expression now."""
        text = urllib.parse.urlencode({"query": expression})
        found: list[Any] = _get(f"http://{self.prometheus}/api/v1/query?{text}")["data"]["result"]
        return found

    def alerts(self) -> set[str]:
        """The names of the alerts that reached Alertmanager and are not inhibited."""
        url = f"http://{self.alertmanager}/api/v2/alerts?inhibited=false"
        return {each["labels"]["alertname"].removeprefix("TelemetryAgent") for each in _get(url)}


AGENT_JOB = "telemetry-agent"


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - a URL of the test's own
        return json.load(answer)


@pytest.mark.peer
@pytest.mark.root
@pytest.mark.long
@pytest.mark.timeout(240)
@needs("prometheus", "prometheus")
@needs("prometheus-alertmanager", "prometheus-alertmanager")
def test_a_filling_disk_is_told_and_every_panel_has_data(tmp_path: Path) -> None:
    """While a small disk fills, the alerts of it, and no others, reach Alertmanager; the panels show numbers."""
    built.need("mount")
    settings = {"rotation.max_size": "100KB", "files.critical_total": "3MB",
                "retention.keep": "0", "retention.max_total": "100MB", "retention.max_age": "1h",
                "system.interval": "1s", "health.interval": "1s", "web.stream_series": "10"}  # fmt: skip
    port = peers.free_port()
    # The first endpoint never answers, so that there are tries that failed.
    endpoints = [f"http://127.0.0.1:{one}" for one in (peers.free_port(), port)]
    (tmp_path / "agent.toml").write_text(
        f'[[forward]]\nname = "hole"\nendpoints = {json.dumps(endpoints)}\nretry.initial = "100ms"\n'
    )
    hole = [sys.executable, "-m", "tests.bench.blackhole", str(port)]
    command = (*AGENT, "--config", str(tmp_path / "agent.toml"))
    with (
        peers.running(hole, f"http://127.0.0.1:{port}/", tmp_path / "hole.log"),
        small_disk(tmp_path / "disk") as disk,
        Program(command, disk, settings) as program,
    ):
        program.wait_ready()
        monitors = Monitors(tmp_path, program.port)
        with monitors.running():
            told = _fill(disk, monitors)
            empty = _without_data(monitors)

    assert {"DirectoryCritical", "DiskFullSoon"} <= told
    consequences = {"CheckUnhealthy", "SystemUnhealthy", "BreakerOpen", "DeliveryFailing"}
    assert set() == told - {"DirectoryCritical", "DiskFullSoon", "HostCpuBusy", "HostDiskLow", *consequences}
    assert {"CheckUnhealthy", "SystemUnhealthy"} <= told
    assert [] == empty


def _fill(disk: Path, monitors: Monitors) -> set[str]:
    """Write until alerts of the disk have arrived, or there is hardly any room."""
    told: set[str] = set()
    with (disk / "trace.json").open("ab", buffering=0) as live, (disk / "other.bin").open("ab", buffering=0) as other:
        for _ in range(60):
            live.write(SPAN % os.urandom(150_000).hex().encode())
            if shutil.disk_usage(disk).free > 6_000_000:
                other.write(bytes(300_000))
            time.sleep(0.5)
            told |= monitors.alerts()
            if {"DirectoryCritical", "DiskFullSoon"} <= told:
                break
    time.sleep(5)
    return told | monitors.alerts()


def _without_data(monitors: Monitors) -> list[str]:
    """The panels of which a query finds nothing."""
    empty = []
    for name in NAMES:
        for panel in panels(name):
            for target in panel["targets"]:
                text = target["expr"].replace("$__rate_interval", "1m").replace("$instance", monitors.agent)
                if panel["title"] not in QUIET and "container_" not in text and not monitors.query(text):
                    empty.append(f"{name}: {panel['title']}: {text}")
    return empty
