"""The HTTP server: one thread with an event loop of its own, so that a stuck main loop is still told about.

Invariants: nothing here is awaited by, or awaits, the main loop; an idle server does not wake up; the thread is gone
after `stop`, or is a daemon that cannot hold the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from agent.components import Components
from agent.config import Web
from agent.control import Alerting, Control, Delivery
from agent.kit.clock import Clock
from agent.kit.disk import Directory
from agent.kit.errors import AgentError
from agent.metrics import Metrics
from agent.web import routes, sockets
from agent.web.commands import Commands
from agent.web.doors import Doors, Handshakes, handshakes, is_known
from agent.web.facts import Facts
from agent.web.inside import Inner
from agent.web.messages import SOCKET
from agent.web.probes import Probes
from agent.web.views import Views

_LONGEST = 25.0
"""Seconds that a command by TCP may wait; less than `Hurried` gives a connection."""
_HANDSHAKE = 5.0
"""Seconds for a TLS handshake."""
_START_LIMIT = 10.0
"""Seconds for a loop to come up over sockets that are bound already."""


class Addresses(NamedTuple):
    """Where the server listens."""

    tcp: str
    """`HOST:PORT`, empty when there is none."""
    local: str
    """Path of the local socket, for people; it may be too long to connect to."""


class WebServer:
    """Serves the pages on TCP and, with the commands, on the local socket of the state directory.

    `heartbeat`, `ready` and `deadline` (seconds) are those of `Probes`; `listen` is `HOST:PORT`, empty for no TCP.
    The state directory is locked by us and stays open as long as this lives.
    """

    def __init__(
        self, control: Control, metrics: Metrics, components: Components, clock: Clock, *, listen: str,
        state: Directory, heartbeat: Callable[[], float], ready: Callable[[], bool], deadline: float = 10.0,
        service_version: str = "", facts: Facts | None = None, delivery: Delivery | None = None,
        alerting: Alerting | None = None, doors: Doors | None = None,
    ) -> None:  # fmt: skip
        facts = facts or Facts()
        probes = Probes(components, clock, heartbeat=heartbeat, ready=ready, deadline=deadline, facts=facts)
        self._doors = doors or Doors(Web(), clock)
        pages = routes.readable(Views(control, metrics, probes, service_version, facts, self._doors, clock))
        pages += routes.practising(facts.drills, control, probes)
        self._metrics = metrics
        admin = routes.changing(Commands(control, _LONGEST), "/api/v1")
        self._public = routes.application(
            [*pages, *admin], metrics, clock, doors=self._doors, admin=[route.path for route in admin]
        )
        private = [
            *routes.changing(Commands(control)), *routes.telling(Inner(facts)),
            *routes.delivering(delivery), *routes.alerting(alerting),
        ]  # fmt: skip
        self._local = routes.application([*pages, *private], metrics, clock)
        self._components = components
        self._listen = listen
        self._state = state
        self._servers: list[Server] = []
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> Addresses:
        """Bind, then serve from a thread of its own; returns when requests are answered.

        Raises AgentError when an address cannot be had; nothing is left behind then.
        """
        public = sockets.listen_tcp(self._listen) if self._listen else None
        try:
            local = sockets.listen_local(self._state)
        except AgentError:
            if public:
                public.close()
            raise
        self._servers = [Server(self._local, local, H11Protocol, connections=64)]
        if public:
            public.refused = self._metrics.http_refused.labels("connections").inc
            protocol = partial(Hurried, self._doors, self._metrics)
            tls = handshakes(self._doors)
            self._servers.append(Server(self._public, public, protocol, connections=sockets.CONNECTIONS, tls=tls))
        addresses = Addresses(sockets.address_of(public) if public else "", os.path.join(self._state.path, SOCKET))
        up: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(up,), name="web", daemon=True)
        self._thread.start()
        up.result(_START_LIMIT)
        self._components.report("web", "ok")
        self._doors.told = self._tell
        return addresses

    def stop(self, timeout: float = 5.0) -> bool:
        """Finish the requests being answered, then close; True when all was done within `timeout` seconds."""
        if self._thread is None or self._loop is None:
            return True
        for server in self._servers:
            # uvicorn takes whole seconds, and needs a moment of its own before and after.
            server.config.timeout_graceful_shutdown = max(0, int(timeout - 0.5))
        with contextlib.suppress(RuntimeError):  # the loop is closed: the thread failed before, and said so
            self._loop.call_soon_threadsafe(self._leave)
        self._thread.join(timeout)
        self._state.remove(SOCKET)
        stopped = not self._thread.is_alive()
        self._components.report("web", "stopped" if stopped else "failed", "" if stopped else "did not stop in time")
        return stopped

    def _tell(self, problem: str) -> None:
        hint = "what the files of [web] said before stays in force"
        self._components.report("web", "degraded" if problem else "ok", problem, hint if problem else "")

    def _leave(self) -> None:
        for server in self._servers:
            server.leave.set()

    def _run(self, up: Future[None]) -> None:
        try:
            asyncio.run(self._serve(up))
        except Exception as error:
            self._components.report("web", "failed", f"the server ended: {error}", "restart the agent")
            if up.done():
                raise
            up.set_exception(error)
        finally:
            for server in self._servers:
                server.socket.close()

    async def _serve(self, up: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            for server in self._servers:
                group.create_task(server.serve([server.socket]))
            for server in self._servers:
                await server.running.wait()
            up.set_result(None)


class Server(uvicorn.Server):
    """A uvicorn server over one socket that waits for an event, where uvicorn wakes up ten times a second."""

    def __init__(
        self, app: ASGIApp, opened: socket.socket, protocol: Callable[..., asyncio.Protocol], *, connections: int,
        tls: Handshakes | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            uvicorn.Config(
                app,
                http=H11Protocol,
                ws="none",
                loop="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                log_level="error",  # its warnings are about what clients send: not for them to fill our log
                access_log=False,
                workers=1,
                proxy_headers=False,
                server_header=False,
                date_header=False,  # uvicorn's comes from the tick that we leave out
                limit_concurrency=connections,
                # Scrape intervals are multiples of 5 s: one that equals this would meet a closing connection.
                timeout_keep_alive=7,
                h11_max_incomplete_event_size=16 << 10,
            )
        )
        self.socket = opened
        self._protocol = protocol
        self._tls = tls
        self.running = asyncio.Event()
        self.leave = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - as in uvicorn
        """As uvicorn's for an opened socket, with a limit on handshakes and protocols that know more."""

        def make() -> asyncio.Protocol:
            return self._protocol(config=self.config, server_state=self.server_state, app_state={})

        limit = None if self._tls is None else _HANDSHAKE
        server = await asyncio.get_running_loop().create_server(
            make, sock=self.socket, ssl=self._tls, ssl_handshake_timeout=limit, backlog=16
        )
        self.servers = [server]
        self.started = True

    async def main_loop(self) -> None:
        """Wait to be told to leave."""
        self.running.set()
        await self.leave.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, and cut off who did not take his answer in time."""
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)


class Hurried(H11Protocol):
    """HTTP/1.1 that ends a connection whose next request is not asked and answered within a time.

    uvicorn has no limit of its own for a head that never ends or an answer that is never read; some hundred such
    clients would take every place, and the prober of /livez would find none.
    """

    limit = 30.0
    """Seconds, longer than any sensible scrape timeout."""

    _deadline: asyncio.TimerHandle | None = None

    def __init__(self, doors: Doors, metrics: Metrics, **options: Any) -> None:
        super().__init__(**options)
        self._doors = doors
        self._metrics = metrics

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Start the first request's time, for a client whose certificate has a name that is let in."""
        super().connection_made(transport)
        self._restart()
        tls = self._doors.rules().file.tls_server_config
        if tls and not is_known(transport.get_extra_info("peercert"), tls.client_allowed_sans):
            self._metrics.http_refused.labels("client_name").inc()
            transport.abort()

    def on_response_complete(self) -> None:
        """Start the next request's time."""
        super().on_response_complete()
        self._restart()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the time."""
        if self._deadline:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _restart(self) -> None:
        if self._deadline:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(self.limit, self.transport.abort)
