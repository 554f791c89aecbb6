"""The thread behind a watch."""

from __future__ import annotations

import threading
from pathlib import Path

from agent.duties.events import Watch
from agent.kit.inotify import Changes, Inotify

WRITES = 20_000


def test_a_writer_does_not_wake_the_watch_by_each_write(tmp_path: Path) -> None:
    """Its writes are gathered: otherwise each one of them would wait until the watch had been switched to and back."""
    path = tmp_path / "a.json"
    path.touch()
    told: list[Changes] = []
    heard, quiet = threading.Event(), threading.Event()

    def found(changes: Changes) -> None:
        told.append(changes)
        heard.set()

    watch = Watch(Inotify([str(tmp_path)]), found, lambda _watch, _error: quiet.set())
    with path.open("ab", buffering=0) as file:
        for _ in range(WRITES):
            file.write(b"x")
    assert heard.wait(30)
    status = Path(f"/proc/self/task/{watch.thread.native_id}/status").read_text("ascii")
    watch.stop()
    watch.thread.join(30)

    switches = int(status.partition("\nvoluntary_ctxt_switches:")[2].split("\n")[0])
    assert switches < WRITES / 20
    assert set().union(*told) == {("changed", str(path))}
    assert not quiet.is_set()
