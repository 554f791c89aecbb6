"""Rotation: what comes before a seal, the seal, and what follows from it, for every stream that is due.

Before it: the hook, and where the method is `rename`, moving the file aside. After it: space goes back by rounds of
release, or at once where the method is not in place; a failure is told and tried again later.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.kit.errors import AgentError
from agent.kit.schedule import next_run
from agent.streams import hooks
from agent.streams.catalog import Stream
from agent.streams.departure import Departures
from agent.streams.dues import IN_PLACE, Due, barred
from agent.streams.failures import failed, over, put_off
from agent.streams.load import Loader
from agent.streams.outcome import Sealed
from agent.streams.release import Releaser
from agent.streams.rounds import Rounds
from agent.streams.seal import Sealer
from agent.streams.squeeze import Squeeze
from agent.streams.tools import Tools

SEALED_AT_ONCE = 128
"""Streams sealed with one sync: enough to share its cost, few enough for the limit of open files."""

CUT_ROUNDS = 3
"""Seals in a row before `copytruncate` truncates: each is shorter than the one before."""


@dataclass(slots=True)
class Rotator:
    """Seals what is due; one thread uses it."""

    tools: Tools
    sealer: Sealer
    squeeze: Squeeze
    rounds: Rounds
    releaser: Releaser
    departures: Departures
    loader: Loader

    def seal(self, due: list[Due]) -> list[Sealed]:
        """Seal these streams, in batches that share their syncs."""
        outcomes: list[Sealed] = []
        for at in range(0, len(due), SEALED_AT_ONCE):
            self.tools.breathe()
            outcomes += self._seal_batch(due[at : at + SEALED_AT_ONCE])
        return outcomes

    def _seal_batch(self, due: list[Due]) -> list[Sealed]:
        captured = self.squeeze.again(self.sealer.capture([one.stream for one in due if one.reason == "capture"]))
        for outcome in captured:
            self._captured(outcome)
        ended = [one.stream for one in captured if (part := one.stream.open_part) and not one.stream.continues(part)]
        failures: list[Sealed] = []
        ready = [one for one in due if one.reason != "capture" and self._prepared(one, failures)]
        batch = [(one.stream, one.reason) for one in ready] + [(stream, "incarnation") for stream in ended]
        sealed = self.squeeze.again(self.sealer.seal(batch))
        for outcome in sealed:
            self._concluded(outcome)
        for outcome in self.sealer.capture(ended):
            self._captured(outcome)
        return failures + captured + sealed

    def _captured(self, outcome: Sealed) -> None:
        """Nothing whole is no failure: the next look at a changed file tries again."""
        stream, facts = outcome.stream, outcome.stream.facts
        if outcome.error is not None:
            put_off(self.tools, stream)
            failed(self.tools, stream, outcome.error)
        elif outcome.bytes:
            facts.since, facts.since_wall = None, 0.0
            stream.fruitless = 0
            if stream.rotation.method in IN_PLACE:
                self.rounds.add(stream)
            self._over(stream)

    def _prepared(self, item: Due, failures: list[Sealed]) -> bool:
        """Do what comes before a seal: the hook, and where the method is `rename`, moving the file aside."""
        stream = item.stream
        if stream.departed:
            return True
        try:
            if (why := barred(self.tools, stream)) and not stream.open_part:
                raise why
            hooks.before(self.tools, stream, item.reason)
            if stream.rotation.method != "rename" or stream.rotating_bytes <= 0 or self.departures.rename_away(stream):
                return True
            failures.append(Sealed(stream, item.reason))
        except (OSError, AgentError) as error:
            failures.append(Sealed(stream, item.reason, error=error))
        self._concluded(failures[-1])
        return False

    def _concluded(self, outcome: Sealed) -> None:
        stream, facts, emptied = outcome.stream, outcome.stream.facts, True
        if outcome.segment is not None:
            facts.since, facts.since_wall = None, 0.0
            stream.not_before, stream.fruitless = 0.0, 0
            emptied = self._emptied(outcome)
        else:
            # Nothing whole yet, or not possible now.
            put_off(self.tools, stream)
            self.rounds.resting[stream] = None
        if outcome.error is not None:
            failed(self.tools, stream, outcome.error)
            if isinstance(outcome.error, FileExistsError):
                self.loader.unblock(stream)
            return
        if emptied:
            self._over(stream)
        if stream.rotation.schedule:
            facts.scheduled = next_run(stream.rotation.schedule, self.tools.clock.now())
        if outcome.segment is not None:
            hooks.after(self.tools, stream, outcome.reason, outcome.segment.name)
        if stream.departed and not outcome.more:
            self._finish(stream, grew=outcome.segment is not None)

    def _emptied(self, outcome: Sealed) -> bool:
        """Let space come back: by holes, by removing the renamed file, or by truncation. False where that failed."""
        stream = outcome.stream
        if stream.rotation.method == "copytruncate" and not stream.departed:
            try:
                self._cut(outcome)
            except (OSError, AgentError) as error:
                failed(self.tools, stream, error)
                return isinstance(error, BlockingIOError)  # to be busy is no failure
        elif stream.rotation.method != "rename":
            self.rounds.add(stream)
        return True

    def _cut(self, outcome: Sealed) -> None:
        """Truncate once all that can be sealed is: what a seal left, at its limit or by a failure, would be lost."""
        for _ in range(CUT_ROUNDS):
            # What came while the one before was made is sealed too, so that little is left to lose.
            outcome = self.sealer.seal([(outcome.stream, outcome.reason)])[0]
            if outcome.segment is None:
                break
        if outcome.error is not None:
            raise outcome.error
        if not outcome.more:
            self.releaser.cut(outcome.stream)

    def _over(self, stream: Stream) -> None:
        """A seal that works ends a failure, but for one of its release."""
        if stream not in self.rounds.stuck:
            over(self.tools, stream)

    def _finish(self, stream: Stream, *, grew: bool) -> None:
        if grew:
            stream.facts.grew = self.tools.clock.monotonic()
        try:
            self.departures.finish(stream)
        except (OSError, AgentError) as error:
            failed(self.tools, stream, error)
