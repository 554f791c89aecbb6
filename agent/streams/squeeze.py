"""Sealing on a full disk: in the room that was kept back, by pieces each of which frees more than it takes."""

from __future__ import annotations

from dataclasses import dataclass

from agent.kit import log
from agent.streams.ballast import Ballast
from agent.streams.catalog import Catalog
from agent.streams.copying import SEGMENT_LIMIT
from agent.streams.dues import IN_PLACE
from agent.streams.member import SMALL_TARGET
from agent.streams.outcome import Sealed
from agent.streams.rounds import Rounds
from agent.streams.seal import Sealer
from agent.streams.tools import Tools

_log = log.get("engine")


@dataclass(slots=True)
class Squeeze:
    """Tries once more what failed for want of room; one thread uses it."""

    tools: Tools
    catalog: Catalog
    sealer: Sealer
    rounds: Rounds
    ballast: Ballast | None
    cramped: bool = False
    """True once something failed for want of room, until somebody who can make some has seen it."""

    def keep_room(self) -> None:
        """Have the ballast ready for a full disk."""
        if self.ballast:
            config = self.catalog.config
            limits = (config.retention.max_total, config.files.critical_total)
            self.ballast.renew(min((one for one in limits if one is not None), default=None))

    def again(self, outcomes: list[Sealed]) -> list[Sealed]:
        """The outcomes, after what failed for want of room was sealed little by little."""
        if not any(one.full for one in outcomes):
            return outcomes
        self.cramped = True
        if self.ballast and self.ballast.drop():
            self.tools.audit.write("ballast", reason="the disk is full")
            _log.warning("the disk is full: sealing goes on in the room that was kept back")
        return [self._little_by_little(one) if one.full else one for one in outcomes]

    def _little_by_little(self, failed: Sealed) -> Sealed:
        """Capture and release small pieces, each of which frees more than it takes; then what was asked for."""
        stream, most = failed.stream, SMALL_TARGET
        while stream.rotation.method in IN_PLACE and most <= SEGMENT_LIMIT:
            self.tools.breathe()
            one = self.sealer.capture([stream], most)[0]
            if one.error is not None:
                return one if failed.reason == "capture" else Sealed(stream, failed.reason, error=one.error)
            if one.bytes:
                failed.bytes += one.bytes
                self.rounds.add(stream)
                self.rounds.release(paced=False)
            if most >= stream.live_bytes:
                break
            most *= 2
        if failed.reason == "capture":
            return Sealed(stream, "capture", bytes=failed.bytes)
        return self.sealer.seal([(stream, failed.reason)])[0]
