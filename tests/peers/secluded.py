"""A Phoenix in a network namespace of its own, and an agent's duties beside it.

`unshare --net python -m tests.peers.secluded ENVIRONMENT DIR` prints what was seen, as JSON. Its gRPC port listens on
every address, so it runs where there is none but the loopback's.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Literal

from agent.config import Forward
from agent.otlp.generate import Generator
from tests.support import peers
from tests.support.yard import Yard, letters, settled, small

URL = "http://127.0.0.1:16006"
RECORDS = 20


def yard(watched: Path, encoding: Literal["json", "protobuf"]) -> Yard:
    """One life of an agent that delivers there."""
    return Yard(watched, Forward(name="out", endpoints=(URL,), encoding=encoding, batch=small()))


def stored(wanted: set[str], seconds: float = 60) -> set[str]:
    """The ids of the spans that it has, as soon as all that are wanted are among them."""
    until = time.monotonic() + seconds
    while True:
        with urllib.request.urlopen(f"{URL}/v1/projects/default/spans?limit=1000", timeout=30) as answer:  # noqa: S310 - our own URL
            found = {one["context"]["span_id"] for one in json.load(answer)["data"]}
        if wanted <= found or time.monotonic() > until:
            return found
        time.sleep(0.5)


def deliver(watched: Path) -> dict[str, object]:
    """Records go out as JSON, are refused, and are replayed as protobuf; then more come."""
    make = Generator(1).trace_line
    lines = [make() for _ in range(RECORDS)]
    with yard(watched, "json") as first:
        first.write(b"".join(lines[:-5]))
        first.run(settled(first, RECORDS - 5))
    refused = letters(watched)
    with yard(watched, "protobuf") as second:
        replayed = second.forwards.replay_letters("out", [])
    with yard(watched, "protobuf") as third:
        third.write(b"".join(lines[-5:]))
        third.run(settled(third, 5))
        delivered = third.status().delivered
    wanted = set(re.findall(r'"spanId":"([0-9a-f]{16})"', b"".join(lines).decode()))
    return {
        "refused": [[one["kind"], one["reason"]] for one in refused], "replayed": [replayed.sent, replayed.kept],
        "delivered": delivered, "left": len(letters(watched)), "wanted": len(wanted),
        "missing": sorted(wanted - stored(wanted)),
    }  # fmt: skip


def main(home: Path, place: Path) -> None:
    """Start it, and let the agent deliver."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    settings = {"WORKING_DIR": place, "HOST": "127.0.0.1", "PORT": 16006, "TELEMETRY_ENABLED": "false"}
    command = [
        "env",
        *(f"PHOENIX_{key}={value}" for key, value in settings.items()),
        str(home / "bin/phoenix"),
        "serve",
    ]
    watched = place / "watched"
    watched.mkdir()
    with peers.running(command, f"{URL}/healthz", place / "log", seconds=400):
        sys.stdout.write(json.dumps(deliver(watched)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
