"""The requests about delivery: served on the local socket alone, executed in a worker thread."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from agent.control import Delivery
from agent.web.commands import call, read_body
from agent.web.messages import DropLetters, ReplayLetters, ResetCursor
from agent.web.views import to_json


class Deliveries:
    """The handlers."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    async def cursors(self, _: Request) -> Response:
        """Where each consumer stands."""
        return to_json(await call(self._delivery.cursors))

    async def reset(self, request: Request) -> Response:
        """Make a consumer go on from elsewhere."""
        wanted = await read_body(request, ResetCursor)
        act = partial(
            self._delivery.reset_cursor, wanted.consumer, wanted.streams, position=wanted.position, time=wanted.time,
            timeout=wanted.timeout,
        )  # fmt: skip
        return to_json(await call(act))

    async def drop(self, request: Request) -> Response:
        """Delete dead letters."""
        wanted = await read_body(request, DropLetters)
        return to_json(await call(partial(self._delivery.drop_letters, wanted.consumer, wanted.ids)))

    async def replay(self, request: Request) -> Response:
        """Send dead letters again."""
        wanted = await read_body(request, ReplayLetters)
        act = partial(self._delivery.replay_letters, wanted.consumer, wanted.ids, timeout=wanted.timeout)
        return to_json(await call(act))
