"""An OTLP/gRPC server that does what it is told: any code, any details, any answer, slowly.

Each call is answered with the next of the answers it was given, and with the last one for ever after. What came in is
kept as protobuf, read by the official classes.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc

from agent.otlp.protobuf import _request


@dataclass(frozen=True)
class Say:
    """One answer; OK is the empty message."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""
    body: bytes = b""
    trailing: tuple[tuple[str, str | bytes], ...] = ()
    stall: bool = False
    """Say nothing until the test ends."""


@dataclass(frozen=True)
class Heard:
    """One call."""

    method: str
    metadata: dict[str, str]
    body: bytes
    peer: str

    def message(self) -> Any:
        """The request, decoded."""
        signal = next(one for one in ("traces", "logs", "metrics") if one[:-1] in self.method.lower())
        return _request(signal).FromString(self.body)


class Obedient(grpc.GenericRpcHandler):
    """The book of answers and calls."""

    def __init__(self) -> None:
        self.url = ""
        self.answers = [Say()]
        self.heard: list[Heard] = []
        self.released = threading.Event()
        self._lock = threading.Lock()

    def will(self, *answers: Say) -> None:
        """What to answer from now on."""
        self.answers = list(answers)

    def service(self, call_details: grpc.HandlerCallDetails) -> Any:
        """Every method is ours."""
        return grpc.unary_unary_rpc_method_handler(self._handler(call_details.method))

    def _handler(self, method: str) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        def answer(body: bytes, context: grpc.ServicerContext) -> bytes:
            metadata = {str(key): str(value) for key, value in context.invocation_metadata()}
            with self._lock:
                self.heard.append(Heard(method, metadata, body, context.peer()))
                say = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if say.stall:
                self.released.wait(30)
            context.set_trailing_metadata(say.trailing)
            if say.code is not grpc.StatusCode.OK:
                context.abort(say.code, say.details)
            return say.body

        return answer


@contextlib.contextmanager
def serving(
    credentials: grpc.ServerCredentials | None = None, *, address: str = "127.0.0.1:0", limit: int = 4 << 20
) -> Iterator[Obedient]:
    """Serve on a free port of 127.0.0.1, with TLS where credentials are given; `limit`: bytes of a message."""
    book = Obedient()
    options = [("grpc.max_receive_message_length", limit), ("grpc.so_reuseport", 0)]
    with ThreadPoolExecutor(8) as pool:
        server = grpc.server(pool, handlers=(book,), options=options)
        port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        book.url = f"{'https' if credentials else 'http'}://127.0.0.1:{port}"
        server.start()
        try:
            yield book
        finally:
            book.released.set()
            server.stop(0).wait(10)
