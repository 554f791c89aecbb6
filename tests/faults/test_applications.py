"""An application that exports into a directory whose disk is really full."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from agent.sdk import Counts, ResilientSpanExporter
from tests.faults.test_filesystems import SIZES, fill, unfill
from tests.torture.mounts import mounted
from tests.unit.test_sdk import made


@pytest.mark.root
@pytest.mark.parametrize("kind", sorted(SIZES))
def test_an_export_to_a_full_disk_fails_and_leaves_no_piece(kind: str, tmp_path: Path) -> None:
    """What failed is counted; what is exported once there is room again is behind what was there before, whole."""
    with mounted(kind, tmp_path, SIZES[kind]) as mount:
        exporter = ResilientSpanExporter(directory=mount / "telemetry")
        first, large, last = made(["first"]), made(["large"] * 2_000), made(["last"])
        assert SpanExportResult.SUCCESS is exporter.export(first)
        fill(mount / "filler")
        assert SpanExportResult.FAILURE is exporter.export(large)
        unfill(mount / "filler")
        assert SpanExportResult.SUCCESS is exporter.export(last)
        assert exporter.force_flush()
        exporter.shutdown()
        lines = (mount / "telemetry/traces.json").read_bytes().splitlines(keepends=True)

        assert ["first", "last"] == [
            json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"] for line in lines
        ]
        assert Counts(written=2, failed=2_000) == exporter.counts
