"""The requests that change something: served on the local socket alone, executed by Control in a worker thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar, cast

import anyio.to_thread
import msgspec
from starlette.requests import Request
from starlette.responses import Response

from agent.control import Control
from agent.control.drills import BusyError, ImpossibleError
from agent.kit.errors import (
    AgentError,
    ConfigError,
    LockedError,
    NoAnswerError,
    RefusedError,
    StoppingError,
    UnknownError,
)
from agent.web.messages import BadRequestError, Cleanup, Failure, Reload, Rotate
from agent.web.views import to_json

_BODY_LIMIT = 4 << 20
"""Bytes of a request body: the names of some ten thousand streams."""


_STATUS: tuple[tuple[type[AgentError], int], ...] = (
    (BadRequestError, 400),
    (UnknownError, 404),
    (BusyError, 409),
    (ImpossibleError, 422),
    (ConfigError, 422),
    (LockedError, 409),
    (RefusedError, 409),
    (StoppingError, 503),
    (NoAnswerError, 504),
    (AgentError, 500),
)

Message = TypeVar("Message", bound=msgspec.Struct)
Answer = TypeVar("Answer")


class Commands:
    """The handlers of POST requests."""

    def __init__(self, control: Control, longest: float = 3600.0) -> None:
        """Nobody waits for an answer longer than `longest` seconds, whatever he asks for."""
        self._control = control
        self._longest = longest

    async def rotate(self, request: Request) -> Response:
        """Seal now."""
        wanted = await read_body(request, Rotate)
        return to_json(await call(partial(self._control.rotate, wanted.streams, timeout=self._limited(wanted.timeout))))

    async def cleanup(self, request: Request) -> Response:
        """Do, or show, everything that is due."""
        wanted = await read_body(request, Cleanup)
        return to_json(
            await call(partial(self._control.cleanup, dry_run=wanted.dry_run, timeout=self._limited(wanted.timeout)))
        )

    async def reload(self, request: Request) -> Response:
        """Read the configuration again; a rejected one is an answer with `ok` false, not an error."""
        wanted = await read_body(request, Reload)
        return to_json(await call(partial(self._control.reload, timeout=self._limited(wanted.timeout))))

    def _limited(self, timeout: float) -> float:
        return min(timeout, self._longest)


async def call(request: Callable[[], Answer]) -> Answer:
    """The answer of a request that may take its time, from a worker thread."""
    # Abandoned when the server stops: an answer that nobody waits for must not hold the process.
    return await anyio.to_thread.run_sync(request, abandon_on_cancel=True)


async def read_body(request: Request, kind: type[Message]) -> Message:
    """The request's body as a message. Raises BadRequestError."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > _BODY_LIMIT:
            raise BadRequestError(f"the request body is longer than {_BODY_LIMIT} bytes")
    try:
        return msgspec.json.decode(bytes(content) or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequestError(f"the request body is not understood: {error}") from error


async def on_error(_: Request, error: Exception) -> Response:
    """Answer an AgentError by its parts, with a status that tells whose turn it is."""
    failure = cast("AgentError", error)  # the only type this handler is registered for
    code = next(code for kind, code in _STATUS if isinstance(failure, kind))
    return to_json(Failure(failure.what, failure.path, failure.position, failure.hint), code)


async def on_error_told_to_anybody(_: Request, error: Exception) -> Response:
    """The same for whoever reaches the port: without the path and the remedy, which are the operator's."""
    failure = cast("AgentError", error)
    code = next(code for kind, code in _STATUS if isinstance(failure, kind))
    return to_json(Failure(failure.what), code)
