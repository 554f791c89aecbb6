"""A receiver that refuses JSON: Phoenix answers it with 415, and takes protobuf."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import peers
from tests.support.program import ROOT


@pytest.mark.peer
@pytest.mark.root
@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a network namespace")
def test_what_was_refused_as_json_is_replayed_as_protobuf(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Each record becomes a dead letter, class `unsupported`; as protobuf all arrive, those that come later too."""
    home = peers.environment(request.config, "phoenix", "arize-phoenix")
    command = ["unshare", "--net", sys.executable, "-m", "tests.peers.secluded", str(home), str(tmp_path)]
    ran = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert 0 == ran.returncode, ran.stderr[-4000:]
    told = json.loads(ran.stdout)

    assert 15 == len(told["refused"]), told
    assert {"unsupported"} == {kind for kind, _ in told["refused"]}
    assert all("415 from" in reason for _, reason in told["refused"])
    assert ([15, 0], 5, 0) == (told["replayed"], told["delivered"], told["left"])
    assert told["wanted"] >= 20
    assert [] == told["missing"]
