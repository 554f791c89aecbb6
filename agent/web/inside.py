"""What a support bundle needs of the running process: its last log lines and where each thread and task is now.

Served on the local socket alone, by the web thread, so that it tells where a stuck main loop is stuck.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from agent.web.facts import Facts
from agent.web.messages import Inside
from agent.web.views import to_json


class Inner:
    """The handler."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    async def look(self, _: Request) -> Response:
        """Now."""
        return to_json(Inside(self._facts.log(), [*_threads(), *_tasks(self._facts.loop())]))


def _threads() -> Iterator[str]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():  # noqa: SLF001 - there is no other way to see them
        yield f"thread {names.get(ident, ident)}\n" + "".join(traceback.format_stack(frame))


def _tasks(loop: asyncio.AbstractEventLoop | None) -> Iterator[str]:
    """The tasks of the main loop, which belongs to another thread: they may move while they are looked at."""
    for task in asyncio.all_tasks(loop) if loop else ():
        lines = [f"task {task.get_name()}\n"]
        awaited: Any = task.get_coro()
        while frame := getattr(awaited, "cr_frame", None):
            code = frame.f_code
            lines.append(f'  File "{code.co_filename}", line {frame.f_lineno}, in {code.co_qualname}\n')
            awaited = awaited.cr_await
        yield "".join(lines)
