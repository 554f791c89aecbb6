"""The directories that forwards of the kind `file` write to: each is looked after by a keeper of its own.

So what is written there is rotated, compressed and cleaned by the same engine and the same rules as what is watched.
"""

from __future__ import annotations

import anyio
import msgspec

from agent.components import Components
from agent.config import Config, Forward
from agent.duties.keeper import Keeper
from agent.kit.clock import Clock
from agent.kit.loops import Observer, Waker, repeat
from agent.metrics import Metrics
from agent.sinks.build import unusable


def configuration(config: Config, forward: Forward) -> Config:
    """What the keeper of a forward's directory is given: everything there is a stream."""
    files = msgspec.structs.replace(
        config.files, directory=forward.directory, include=("*",), recursive=True, critical_total=None
    )
    agent = msgspec.structs.replace(config.agent, state_directory="")
    rules = {"rotation": forward.rotation or config.rotation, "retention": forward.retention or config.retention}
    return msgspec.structs.replace(config, files=files, agent=agent, stream=(), forward=(), **rules)


class Outputs:
    """The keepers of all output directories."""

    def __init__(self, config: Config, clock: Clock, observer: Observer) -> None:
        self._clock = clock
        self._observer = observer
        self._keepers: list[tuple[Forward, Keeper, Waker]] = []
        for forward in config.forward:
            if forward.kind == "file":
                waker = Waker()
                keeper = Keeper(
                    configuration(config, forward), clock, Metrics(), Components(clock), wake=waker.wake,
                    config_path=f"forward {forward.name}",
                )  # fmt: skip
                keeper.name = f"output {forward.name}"
                self._keepers.append((forward, keeper, waker))

    def open(self) -> None:
        """Take every directory. Raises LockedError, and AgentError for one that cannot be used."""
        for forward, keeper, _ in self._keepers:
            try:
                keeper.open()
            except OSError as error:
                raise unusable(forward, error) from error

    async def run(self) -> None:
        """Look after them until cancelled."""
        async with anyio.create_task_group() as group:
            for _, keeper, waker in self._keepers:
                group.start_soon(self._keep, keeper, waker)

    async def _keep(self, keeper: Keeper, waker: Waker) -> None:
        limiter = anyio.CapacityLimiter(1)
        await repeat(keeper, clock=self._clock, limiter=limiter, waker=waker, observer=self._observer)

    def stop(self) -> None:
        """Ask running steps to end."""
        for _, keeper, _ in self._keepers:
            keeper.stop()

    def close(self) -> None:
        """Let go of the directories; no step may run any more."""
        for _, keeper, _ in self._keepers:
            keeper.close()
