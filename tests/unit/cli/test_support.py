"""The support bundle is whole, and no secret is in it."""

from __future__ import annotations

import json
import tarfile
import time
from pathlib import Path

import pytest

from agent.sinks.hiding import HIDDEN, Hider
from tests.support.program import AGENT, Program, free_port
from tests.unit.cli.conftest import Stage

CANARIES = [f"canary{name}4711" for name in (
    "Plain", "Env", "File", "Url", "User", "Check", "Proxy", "Hook", "Word", "Mail", "Key", "Query"
)]  # fmt: skip
WHOLE = ["versions.json", "configuration.json", "audit.jsonl", "metrics-1.txt", "in-force.json", "status.json",
         "health.json", "log.txt", "stacks.txt", "metrics-2.txt", "README.txt"]  # fmt: skip


def members(path: Path) -> dict[str, str]:
    """Every file of a bundle."""
    with tarfile.open(path) as archive:
        found = {one.name.removeprefix("telemetry-agent/"): archive.extractfile(one) for one in archive.getmembers()}
        return {name: file.read().decode() for name, file in found.items() if file}


def configuration(home: Path) -> str:
    """Secrets wherever the configuration may hold one: headers, URLs, checks, webhooks; plain and by reference."""
    plain, env, file, url, user, check, proxy, hook, word, mail, key, query = CANARIES
    (home / "token").write_text(f"{file}\n")
    port = free_port()
    return f"""
[[forward]]
name = "one"
endpoints = ["http://someone:{user}@127.0.0.1:{port}/otlp?api_key={query}"]
proxy = "http://proxy:{proxy}@127.0.0.1:{port}"
headers = {{ x-key = "{plain}", authorization = "Bearer ${{env:CANARY_TOKEN}}", x-other = "${{file:{home}/token}}" }}
[forward.retry]
initial = "100ms"
maximum = "100ms"
[forward.redact]
defaults = true
action = "hash"
hash_key = "{key}"
[[alert]]
name = "always"
when = "telemetry_agent_build_info > 0"
for = "0s"
description = "{hook} {word} {mail}"
notify = ["people", "cluster"]
[[notifier]]
name = "people"
urls = ["json://127.0.0.1:{port}/{hook}", "json://{word}:${{env:CANARY_MAIL}}@127.0.0.1:{port}"]
[[notifier]]
name = "cluster"
kind = "alertmanager"
urls = ["http://{hook}:{word}@127.0.0.1:{port}/{hook}"]
[[health.check]]
kind = "command"
name = "talkative"
command = ["sh", "-c", "echo {plain} {file} {url} {env} {mail} {hook} {word} {key}; exit 1"]
[[health.check]]
kind = "http"
name = "web"
url = "http://127.0.0.1:{port}/{url}?q=1"
headers = ["X-Token: {check}"]
"""


def test_no_planted_secret_is_in_the_bundle_of_a_running_agent(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole as it is: with log, stacks, health and configuration of an agent that knows and uses the secrets.

    Those that only the agent's environment has are hidden, too.
    """
    monkeypatch.setenv("CANARY_TOKEN", CANARIES[1])
    monkeypatch.setenv("CANARY_MAIL", CANARIES[9])
    config = tmp_path / "agent.toml"
    config.write_text(configuration(tmp_path))
    with Program((*AGENT, "--config", str(config)), stage.directory, {"health.interval": "200ms"}) as program:
        program.wait_ready()
        monkeypatch.delenv("CANARY_TOKEN")
        monkeypatch.delenv("CANARY_MAIL")
        give_up = time.monotonic() + 60
        while not all(one in program.output() for one in ("check web is", "check talkative is", "a notifier cannot")):
            assert time.monotonic() < give_up, program.output()
            time.sleep(0.05)
        told = program.output()
        code, out, err = stage.run("support", "-o", "bundle.tar.gz", "--seconds", "0", "--config", str(config))

    found = members(tmp_path / "bundle.tar.gz")
    assert (0, "") == (code, err)
    assert WHOLE == list(found)
    assert [] == [(name, one) for name, text in found.items() for one in CANARIES if one in text]
    assert 0o600 == (tmp_path / "bundle.tar.gz").stat().st_mode & 0o777
    assert CANARIES[0] in told
    assert all(HIDDEN in found[name] for name in ("configuration.json", "in-force.json", "health.json", "log.txt"))
    assert "thread web" in found["stacks.txt"]
    assert "in Heartbeat.run" in found["stacks.txt"]
    assert "telemetry-agent runs" in found["log.txt"]
    assert "telemetry_agent_build_info" in found["metrics-2.txt"]
    assert "msgspec" in json.loads(found["versions.json"])["packages"]
    assert all(name in out for name in WHOLE)


def test_without_an_agent_the_bundle_says_what_is_missing(stage: Stage, tmp_path: Path) -> None:
    """What the files alone tell, and why there is no more."""
    code, _, _ = stage.run("support", "-o", "bundle.tar.gz")

    found = members(tmp_path / "bundle.tar.gz")
    assert code == 0
    assert ["versions.json", "configuration.json", "status.json", "health.json", "README.txt"] == list(found)
    assert "No agent runs" in found["README.txt"]
    assert "audit.jsonl is missing" in found["README.txt"]


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("a s3cr3t-value b", "a (secret) b"),
        ('{"x": "s\\u00e9cret\\""}', '{"x": "(secret)"}'),
        ("Bearer word-in-it is sent", "Bearer (secret) is sent"),
        ("abc stays, as short as it is", "abc stays, as short as it is"),
        ("http://user:hunter2@host/path", "http://(secret)@host/path"),
        ("password=hunter2 seals_total 4111111111111111", "password=(secret) seals_total 4111111111111111"),
        ('rotation.max_size "50MB"', 'rotation.max_size "50MB"'),
        ("T1JJ3T3L2 says no, and so does hookt0ken", "(secret) says no, and so does (secret)"),
        ("pass4 of me at node1.example.org and localhost", "(secret) of me at node1.example.org and localhost"),
        ("of a reference: v4lue", "of a reference: (secret)"),
    ],
)
def test_secrets_are_hidden_wherever_they_stand(text: str, hidden: str) -> None:
    """As they are, escaped, by their words, and by their looks; numbers stay numbers."""
    urls = ["slack://T1JJ3T3L2/B1", "json://localhost:8080/hookt0ken", "mailto://me:pass4@node1.example.org"]
    values = ["s3cr3t-value", 'sécret"', "Scheme word-in-it", "abc", "a-${env:ONE}${env:TWO}", *urls]
    hide = Hider(values, {"ONE": "v4lue"})

    assert hidden == hide(text)
