"""An agent for rehearsals that is one loop: `MODE --config FILE` sends each line of the live file to the endpoint.

`good` tries until it is taken, `drops` leaves every 20th line out, `doubles` sends it twice, `invents` sends one that
nobody wrote. It answers on its socket as if it had one forward without lag.
"""

from __future__ import annotations

import signal
import sys
import time
import tomllib
import urllib.request
from pathlib import Path

import msgspec

from agent.control import ForwardStatus
from tests.unit.cli.conftest import FakeControl, serve
from tests.unit.cli.samples import STATUS

_TEXTS = ("name", "kind", "destination", "breaker")
FORWARD = msgspec.convert(
    {one.name: "" if one.name in _TEXTS else 0 for one in msgspec.structs.fields(ForwardStatus) if one.required},
    ForwardStatus,
)


def send(url: str, line: bytes) -> None:
    """Post a line until it is taken."""
    request = urllib.request.Request(f"{url}/v1/traces", line, {"Content-Type": "application/json"})  # noqa: S310 - ours
    while True:
        try:
            urllib.request.urlopen(request, timeout=5).close()  # noqa: S310 - as above
        except OSError:
            time.sleep(0.02)
        else:
            return


def carry(mode: str, live: Path, url: str) -> None:
    """Send lines for ever."""
    while not live.exists():
        time.sleep(0.01)
    with live.open("rb") as file:
        number = 0
        while True:
            place = file.tell()
            line = file.readline()
            if not line.endswith(b"\n"):
                file.seek(place)
                time.sleep(0.01)
                continue
            number += 1
            if number % 20 or mode != "drops":
                send(url, line)
            if number % 20 == 0 and mode == "doubles":
                send(url, line)
            if number == 1 and mode == "invents":
                send(url, line.replace(b'{"intValue":"0"}', b'{"intValue":"999999"}'))


def main() -> None:
    """Behave as `sys.argv` says until SIGTERM."""
    mode, _, config = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = tomllib.loads(Path(config).read_text("utf-8"))
    directory = Path(settings["files"]["directory"])
    status = msgspec.structs.replace(STATUS, forwards=[FORWARD])
    with serve(directory / ".telemetry-agent", FakeControl({"status": status})):
        carry(mode, directory / "traces.json", settings["forward"][0]["endpoints"][0])


if __name__ == "__main__":
    main()
