"""Which files are streams, and which are some other tool's archive."""

from __future__ import annotations

import pytest

from agent.config import Files
from agent.config.match import matches


@pytest.mark.parametrize(
    "path",
    [
        "telemetry.json",
        "traces.jsonl",
        "metrics.ndjson",
        "app.log",
        "sub/traces.json",
        "app-1.2.json",
        "collector-0.110.2.json",
        "svc-1a2b3c4d.json",
        "app-2024-10-22.log",
        "build-12345.json",
        "run-123456789.json",
        "a b.json",
        "\udcff.json",
        "line\nbreak.log",
    ],
)
def test_live_file_is_a_stream_by_default(path: str) -> None:
    """The usual names of telemetry files, with versions, dates and ids in them."""
    assert Files().selects(path)


@pytest.mark.parametrize(
    ("path", "tool"),
    [
        ("telemetry-2024-10-22T16-30-00.000.json", "lumberjack"),
        ("telemetry-2024-10-22T16-30-00.000.json.gz", "lumberjack"),
        ("telemetry-2024-10-22T16-30-00.000-size.json", "timberjack"),
        ("telemetry-2024-10-22T16-30-00.000-time.json", "timberjack"),
        ("telemetry.json-2024-10-22T16-30-00.000-size", "timberjack"),
        ("sub/telemetry-2024-10-22T16-30-00.000.json", "lumberjack"),
        ("app.log-20241022", "logrotate dateext"),
        ("app.log-2024102216", "logrotate dateext hourly"),
        ("app.log-1729614600", "logrotate dateformat -%s"),
        ("app-20241022.log", "logrotate dateext, extension"),
        ("app-2024102216.log", "logrotate dateext, extension"),
        ("app.log-20241022.gz", "logrotate dateext, compress"),
        ("app.log.1", "logrotate"),
        ("app.log.12", "logrotate"),
        ("app.log.2.gz", "logrotate compress"),
        ("app.1.log", "logrotate extension"),
        ("app.12.log", "logrotate extension"),
        ("app.log.bz2", "bzip2"),
        ("app.log.xz", "xz"),
        ("app.json.zst", "zstd"),
    ],
)
def test_archive_of_another_tool_is_left_alone(path: str, tool: str) -> None:
    """Also where `include` was widened to everything."""
    assert not Files(include=("*",)).selects(path), tool


@pytest.mark.parametrize(
    "path",
    [
        "telemetry_20241022_163000.json.gz",
        "telemetry_20241022_163000_2.json.gz",
        ".telemetry.json.part",
        ".telemetry-agent/audit.jsonl",
        "sub/.telemetry-agent/audit.jsonl",
        ".telemetry.json",
    ],
)
def test_own_segments_parts_and_state_are_no_streams(path: str) -> None:
    """Whatever patterns are configured to include."""
    assert not Files(include=("*",)).selects(path)


def test_hidden_file_is_no_stream_whatever_the_patterns() -> None:
    """The rule that protects parts and state is no default that a list of patterns would replace."""
    assert not Files(include=(".*", ".x/*"), exclude=()).selects(".x/audit.jsonl")


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("traces*.json", "traces-1.json", True),
        ("traces*.json", "sub/traces-1.json", True),
        ("sub/*.json", "sub/a.json", True),
        ("sub/*.json", "sub/deep/a.json", True),
        ("sub/*.json", "other/sub/a.json", False),
        ("*.json", "a.JSON", False),
        ("?.json", "ab.json", False),
    ],
)
def test_pattern_with_a_slash_is_about_the_path(pattern: str, path: str, expected: bool) -> None:
    """One without is about the file's name, in whatever directory."""
    assert expected is matches((pattern,), path)


def test_no_pattern_matches_nothing() -> None:
    """An empty list of exclusions excludes nothing."""
    assert not matches((), "a.json")
    assert Files(exclude=()).selects("app-20241022.log")
