"""A network that loses packets: what is sent over it arrives, and nothing is taken for refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import ROOT


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a network namespace")
@pytest.mark.skipif(not shutil.which("nft"), reason="nftables is not installed")
def test_a_lossy_network_costs_time_only(tmp_path: Path) -> None:
    """Fifteen of a hundred packets lost each way, resets, a line cut for a second: every record arrives as it was."""
    command = ["unshare", "--net", sys.executable, "-m", "tests.soak.lossy", str(tmp_path)]
    ran = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert 0 == ran.returncode, ran.stderr[-4000:]
    told = json.loads(ran.stdout)

    assert (0, 0, 0, 0) == (told["lost"], told["unknown"], told["altered"], told["wrongly_refused"]), told
    assert len(told["dropped"]) == 2, told
    assert min(told["dropped"]) > 0, told
    assert [] == told["unbalanced"]
