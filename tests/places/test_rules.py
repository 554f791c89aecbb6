"""The alerts: each fires where it should and is silent where it should, and leads to a page that exists."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.places import built
from tests.support import peers

HOME = built.ROOT / "container/prometheus"
FILES = [HOME / "alerts.yaml", HOME / "recorded.yaml"]
AGENT = 'job="telemetry-agent",instance="a:9464"'

needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="needs: apt-get install prometheus")


class Case(NamedTuple):
    """One alert: samples, a minute apart (promtool's notation), with which it fires and with which it does not."""

    firing: dict[str, str]
    silent: dict[str, str]
    minute: int = 60


def own(name: str, **labels: str) -> str:
    """A series of the agent."""
    pairs = "".join(f',{key}="{value}"' for key, value in labels.items())
    return f"{name}{{{AGENT}{pairs}}}"


def ours(name: str, **labels: str) -> str:
    """A series with the agent's prefix."""
    return own(f"telemetry_agent_{name}", **labels)


def one(series: str, firing: str, silent: str, minute: int = 60) -> Case:
    """The case of an alert over one series."""
    return Case({series: firing}, {series: silent}, minute)


BEATS, LATE = ours("event_loop_lag_seconds_count"), ours("event_loop_lag_seconds_bucket", le="0.5")
FREE = ours("filesystem_free_bytes")
IDLE, BUSY = own("system_cpu_seconds_total", mode="idle"), own("system_cpu_seconds_total", mode="user")
SIZE, LEFT = own("system_disk_size_bytes", mountpoint="/"), own("system_disk_available_bytes", mountpoint="/")
LONGEST, LIMIT = ours("longest_file_bytes"), ours("file_size_limit_bytes")
LAG = ours("forward_lag_seconds", forward="f")
SENT, REFUSED = (ours("forward_exports_total", forward="f", outcome=outcome) for outcome in ("success", "refused"))
TRIED = ours("forward_retries_total", forward="f", error="unavailable")
STATES = ("closed", "half-open", "open")

CASES = {
    "Down": one(own("up"), "1 0x100", "1x30 0x3 1x100"),
    "Absent": Case({'up{job="other"}': "1x100"}, {own("up"): "0x100"}),
    "Restarting": one(own("process_start_time_seconds"), "0+1x100", "1x20 2x20 3x100"),
    "LoopStuck": one(BEATS, "0+60x20 1200x80", "0+60x100"),
    "LoopSlow": Case({BEATS: "0+60x100", LATE: "0+50x100"}, {BEATS: "0+60x100", LATE: "0+59x100"}),
    "DutyFailing": one(ours("duty_failures_total", duty="keeper"), "0+1x100", "0x40 1x100"),
    "ReloadFailed": one(ours("config_last_reload_successful"), "1 0x100", "1x50 0x2 1x100"),
    "CollectorFailing": one(ours("collector_success", collector="disk"), "1 0x100", "1x40 0x5 1x100"),
    "BytesLost": one(ours("lost_bytes_total", reason="truncated"), "0x50 500x100", "7x100"),
    "FileRefused": one(ours("refused_files", reason="permission"), "1x100", "0x56 1x3 0x100"),
    "StreamFailing": one(ours("streams", state="failing"), "1x100", "0x100"),
    "SealFailures": one(ours("seal_failures_total"), "0+1x100", "3x100"),
    "ReleaseStuck": one(ours("pending_release_bytes"), "5x200", "5x120 0 5x100", 150),
    "Quarantined": one(ours("quarantined_files_total"), "0x50 1x100", "1x100"),
    "AuditUnwritten": one(ours("audit_unwritten_total"), "0x50 1x100", "1x100"),
    "DirectoryCritical": one(ours("directory_critical"), "1x100", "0x100"),
    "RotationOverdue": one(ours("overdue_streams"), "2x100", "0x40 2x8 0x100"),
    "FileSizeLimit": Case({LONGEST: "60x100", LIMIT: "100x100"}, {LONGEST: "60x100", LIMIT: "0x100"}),
    "DeliveryLagging": one(LAG, "0+60x100", "7000-60x100"),
    # Of ten tries a minute three end badly, as a refusal or as one that is tried again; then nothing is sent at all.
    "DeliveryFailing": Case(
        {SENT: "0+7x100", REFUSED: "0+1x100", TRIED: "0+2x100"}, {SENT: "0+7x20 140x80", REFUSED: "0x100"}
    ),
    "BreakerOpen": Case(
        {ours("forward_breaker_state", forward="f", state=state): f"{int(state == 'open')}x100" for state in STATES},
        {ours("forward_breaker_state", forward="f", state=state): f"{int(state == 'closed')}x100" for state in STATES},
    ),
    "UnsentNearBound": one(ours("forward_unsent_ratio", forward="f"), "0.9x100", "0.5x100"),
    "DeadLetters": one(ours("forward_dead_lettered_records_total", forward="f"), "0x50 2x100", "2x100"),
    "CheckUnhealthy": one(ours("check_status", check="memory"), "3x100", "2x100"),
    "SystemUnhealthy": one(own("system_health_status"), "3x100", "1x50 3x5 1x100"),
    # Two hours of decline that reach zero in one more, against a decline that would take a day.
    "DiskFullSoon": one(FREE, "180000000-1000000x170", "2000000000-1000000x170", 120),
    "HostCpuBusy": Case({IDLE: "0+6x100", BUSY: "0+54x100"}, {IDLE: "0+54x100", BUSY: "0+6x100"}),
    "HostDiskLow": Case({SIZE: "1000x100", LEFT: "99x100"}, {SIZE: "1000x100", LEFT: "101x100"}),
}


def alerts() -> list[dict[str, Any]]:
    """Every alert that is shipped."""
    groups = yaml.safe_load(FILES[0].read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    """What promtool says."""
    line = ["promtool", *(str(argument) for argument in arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.peer
@needs_promtool
def test_promtool_lints_the_rules() -> None:
    """The rules are right, none is doubled, and lint has nothing to say."""
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", *FILES)

    assert (0, "") == (done.returncode, done.stderr)


def test_every_alert_has_a_case() -> None:
    """No alert is shipped without being seen to fire and to be silent."""
    assert {f"TelemetryAgent{name}" for name in CASES} == {rule["alert"] for rule in alerts()}


@pytest.mark.peer
@needs_promtool
@pytest.mark.parametrize("name", CASES)
def test_alerts_fire_and_stay_silent(tmp_path: Path, name: str) -> None:
    """Evaluated by Prometheus' own engine, the alert fires over the one case and not over the other."""
    case = CASES[name]

    assert "" == _judge(tmp_path, name, case.firing, case.minute, fires=True)
    assert "" == _judge(tmp_path, name, case.silent, case.minute, fires=False)


def _judge(home: Path, name: str, series: dict[str, str], minute: int, *, fires: bool) -> str:
    """What promtool remarks when an alert is expected to fire, or not, at a minute."""
    expression = f'count(ALERTS{{alertname="TelemetryAgent{name}",alertstate="firing"}})'
    expected = [{"labels": "{}", "value": 1}] if fires else []
    inputs = [{"series": key, "values": values} for key, values in series.items()]
    asked = {"expr": expression, "eval_time": f"{minute}m", "exp_samples": expected}
    test = {"interval": "1m", "input_series": inputs, "promql_expr_test": [asked]}
    path = home / f"{fires}.yaml"
    path.write_text(yaml.safe_dump({"rule_files": [str(file) for file in FILES], "tests": [test]}))
    done = promtool("test", "rules", path)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_every_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    """A severity, a summary that names the place, a description, and a chapter of the runbook that exists."""
    file, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    titles = re.findall(r"^## (\w+)$", (built.ROOT / file).read_text(), re.MULTILINE)

    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert rule["annotations"]["description"].endswith(".")
    assert "$labels." in rule["annotations"]["summary"] or rule["expr"].startswith("absent(")
    assert anchor in [title.lower() for title in titles]


def test_the_runbook_knows_no_alert_that_is_gone() -> None:
    """Each chapter belongs to an alert."""
    titles = re.findall(r"^## (\w+)$", (HOME / "runbook.md").read_text(), re.MULTILINE)

    assert sorted(titles) == sorted(rule["alert"] for rule in alerts())


@pytest.mark.peer
def test_the_mixin_is_whole(request: pytest.FixtureRequest) -> None:
    """Jsonnet reads the mixin: the same alerts and recorded series, and both dashboards."""
    home = peers.environment(request.config, "jsonnet", "jsonnet")
    program = (
        "import _jsonnet; print(_jsonnet.evaluate_snippet('mixin.libsonnet', 'local m = import \"mixin.libsonnet\"; "
        "{a: m.prometheusAlerts, r: m.prometheusRules, d: std.objectFields(m.grafanaDashboards)}'))"
    )
    python = str(home / "bin/python")

    done = subprocess.run([python, "-c", program], cwd=HOME, capture_output=True, text=True, check=False, timeout=60)

    found = yaml.safe_load(done.stdout)
    assert [yaml.safe_load(file.read_text()) for file in FILES] == [found["a"], found["r"]], done.stderr
    assert ["telemetry-agent-fleet.json", "telemetry-agent.json"] == found["d"]
