"""An agent for the demo that answers on its socket and seals nothing: `MODE --config FILE`.

`idle` leaves the file alone, `lossy` truncates it when it is stopped, `broken` does not start.
"""

from __future__ import annotations

import signal
import sys
import tomllib
from pathlib import Path
from types import FrameType

from tests.unit.cli.conftest import FakeControl, serve


def main() -> int:
    """Behave as `sys.argv` says until SIGTERM."""
    mode, _, config = sys.argv[1:]
    if mode == "broken":
        print("the disk is on fire", file=sys.stderr)
        return 3
    directory = Path(tomllib.loads(Path(config).read_text("utf-8"))["files"]["directory"])

    def stop(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        with serve(directory / ".telemetry-agent", FakeControl()):
            while True:
                signal.pause()
    except KeyboardInterrupt:
        if mode == "lossy":
            (directory / "traces.json").write_bytes(b"")
    return 0


if __name__ == "__main__":
    sys.exit(main())
