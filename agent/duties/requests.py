"""Requests from other threads to a duty: queued, carried out within its step, answered through a future."""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar

from agent.kit.errors import NoAnswerError, StoppingError

Answer = TypeVar("Answer")


class Requests:
    """A queue of calls that one thread carries out for others."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._queue: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._wake = wake
        self._closed = False

    def ask(self, call: Callable[[], Answer], timeout: float) -> Answer:
        """Have `call` run by the owning thread and wait for its answer; raises what it raises.

        Raises NoAnswerError when there is none within `timeout` seconds, StoppingError when there will be none.
        """
        if self._closed:
            raise _stopping()
        future: Future[Answer] = Future()
        self._queue.put((call, future))
        self._wake()
        try:
            return future.result(timeout)
        except FutureTimeout:
            raise NoAnswerError(
                f"no answer within {timeout:g} s; the agent is busy, the request may still be carried out",
                hint="look at `telemetry-agent status` and the log",
            ) from None

    def tell(self, call: Callable[[], object]) -> None:
        """Have `call` run by the owning thread; nobody waits for it or hears of its failure. From any thread."""
        if not self._closed:
            self._queue.put((call, Future()))
            self._wake()

    def serve(self) -> int:
        """Carry out what is queued; how many calls that were. Only the owning thread calls this."""
        count = 0
        while True:
            try:
                call, future = self._queue.get_nowait()
            except queue.Empty:
                return count
            count += 1
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 - whoever asked gets it, whatever it is
                future.set_exception(error)

    def close(self) -> None:
        """Answer no more; whoever waits gets an error."""
        self._closed = True
        while not self._queue.empty():
            _, future = self._queue.get_nowait()
            future.set_exception(_stopping())


def _stopping() -> StoppingError:
    return StoppingError("the agent is stopping", hint="try again when it runs")
