"""From the configuration to sinks: endpoints, differences by signal, secrets."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from agent.config import Forward, SignalRule
from agent.kit.clock import SystemClock
from agent.kit.errors import AgentError, ConfigError
from agent.sinks.base import Sink
from agent.sinks.build import build
from agent.sinks.secrets import resolve
from agent.streams.batch import Batch
from tests.support.hostile import Hostile
from tests.support.sinks import deliver

pytestmark = pytest.mark.anyio

SPAN = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{}]}]}]}\n'
LOG = b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}]}\n'


async def send_both(sink: Sink) -> None:
    """A batch of traces and one of logs."""
    await deliver(sink, Batch("a", "a", 0, 1, (SPAN,), "traces"))
    await deliver(sink, Batch("a", "a", 0, 1, (LOG,), "logs"))
    await sink.aclose()


async def test_headers_hold_secrets_from_variables_and_files(server: Hostile, tmp_path: Path) -> None:
    """And nothing of them shows."""
    (tmp_path / "token").write_text("s3cret\n")
    headers = {"authorization": f"Bearer ${{file:{tmp_path}/token}}", "x-tenant": "${env:TENANT}-1"}
    (sink,) = build(Forward(name="a", endpoints=(server.url,), headers=headers), SystemClock(), {"TENANT": "blue"})
    assert "s3cret" not in repr(sink)
    await send_both(sink)

    assert {("Bearer s3cret", "blue-1")} == {
        (heard.headers["authorization"], heard.headers["x-tenant"]) for heard in server.heard
    }


async def test_a_signal_may_differ(server: Hostile) -> None:
    """Its endpoint is used as it is; headers add up; the others are as in the forward."""
    rule = SignalRule(endpoint=f"{server.url}/other", compression="none", headers={"b": "2"})
    forward = Forward(name="a", endpoints=(f"{server.url}/base",), headers={"a": "1"}, logs=rule)
    (sink,) = build(forward, SystemClock(), {})
    await send_both(sink)

    assert ["/base/v1/traces", "/other"] == [heard.path for heard in server.heard]
    assert ["gzip", None] == [heard.headers.get("content-encoding") for heard in server.heard]
    assert [("1", None), ("1", "2")] == [(heard.headers["a"], heard.headers.get("b")) for heard in server.heard]
    assert {"resourceLogs"} == set(json.loads(server.heard[1].raw))


def test_where_each_signal_goes_is_told() -> None:
    """Not the base URL alone, where nothing of a signal with an endpoint of its own is sent; one place is told once."""
    rule = SignalRule(endpoint="http://me:secret@t:1/v1/traces?key=secret")
    (sink,) = build(Forward(name="a", endpoints=("http://c:2",), traces=rule), SystemClock(), {})
    (alike,) = build(
        Forward(name="a", endpoints=("http://c:2",), logs=SignalRule(compression="none")), SystemClock(), {}
    )

    assert "http://t:1/v1/traces (traces), http://c:2 (logs, metrics)" == sink.destination
    assert "http://c:2" == alike.destination


async def test_credentials_in_an_endpoint_are_authentication(server: Hostile) -> None:
    """They may come from a variable, too."""
    url = server.url.replace("http://", "http://me:${env:PASSWORD}@")
    (sink,) = build(Forward(name="a", endpoints=(url,)), SystemClock(), {"PASSWORD": "x"})
    await send_both(sink)

    assert "Basic " + base64.b64encode(b"me:x").decode() == server.heard[0].headers["authorization"]
    assert "me" not in sink.destination


@pytest.mark.parametrize("text", ["${env:NOT_THERE}", "${file:/not/there}"])
def test_a_secret_that_is_not_there_is_a_configuration_error(text: str) -> None:
    """It names the variable or the file."""
    with pytest.raises(ConfigError, match=r"NOT_THERE|/not/there"):
        resolve(text, {})


async def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """With its forward, and with what to do: a start tells it to whoever configured it."""
    (tmp_path / "file").write_bytes(b"")
    path = f"{tmp_path}/file/below"
    with pytest.raises(AgentError, match="forward out: its directory cannot be made") as caught:
        build(Forward(name="out", kind="file", directory=path), SystemClock(), {})

    assert path == caught.value.path
    assert "forward.directory" in caught.value.hint
