"""Delivery over a network that loses, resets and stalls, in a network namespace of its own.

`unshare --net python -m tests.soak.lossy DIR` prints what the oracle found, as JSON. Packets to the receiver are
dropped and reset by nftables: the netem of tc, which would be the usual tool, is not in every kernel.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.soak.chaos import LEAF, Stage
from tests.support.hostile import serving

RECORDS = 300
RULES = """
table inet bad {{
  chain in {{
    type filter hook input priority 0;
    tcp dport {port} numgen random mod 100 < 15 counter drop
    tcp sport {port} numgen random mod 100 < 15 counter drop
    tcp dport {port} numgen random mod 100 < 3 reject with tcp reset
  }}
}}
"""
DEAD = "table inet dead {{ chain in {{ type filter hook input priority -1; tcp dport {port} drop; }}; }}"


def nft(rules: str) -> None:
    """Load rules into this namespace."""
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def dropped() -> list[int]:
    """Packets each rule has dropped so far."""
    told = subprocess.run(["nft", "list", "table", "inet", "bad"], check=True, capture_output=True, text=True).stdout
    return [int(count) for count in re.findall(r"counter packets (\d+)", told)]


def main(home: Path) -> None:
    """Write for some seconds, cut the line for a while in between, and wait until all has arrived."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with serving() as server:
        port = server.url.rpartition(":")[2]
        stage = Stage(home, 1, {"good": server})
        stage.start()
        nft(RULES.format(port=port))
        with (stage.watched / LEAF).open("ab", buffering=0) as file:
            while stage.produced < RECORDS:
                if stage.produced == RECORDS // 3:
                    nft(DEAD.format(port=port))
                if stage.produced == RECORDS * 2 // 3:
                    nft("delete table inet dead")
                stage.append(file.write)
                time.sleep(0.01)
        until = time.monotonic() + 80
        while not stage.settled() and time.monotonic() < until:
            time.sleep(0.1)
        stage.end(signal.SIGTERM)
    found = stage.outcomes()["good"]
    dead = {number for number in found.produced if number % 97 == 13}
    told = {
        "report": found.report(), "lost": len(found.lost), "unknown": len(found.unknown), "altered": len(found.altered),
        "wrongly_refused": len(found.refused - dead), "dropped": dropped(), "unbalanced": stage.unbalanced,
    }  # fmt: skip
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
