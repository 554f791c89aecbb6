"""The log engine of one watched directory: look, decide, seal, release, retain; nothing here runs by itself.

One thread uses it at a time. The keeper drives it in a running agent, a command does so when none runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from agent.audit import Audit
from agent.config import STATE_DIRECTORY, Config
from agent.kit import disk, linux, log
from agent.kit.clock import Clock, boot_id
from agent.kit.disk import Directory
from agent.kit.errors import AgentError, RefusedError, StoppingError, printable
from agent.kit.schedule import next_run
from agent.kit.trust import user_name
from agent.metrics import Metrics
from agent.streams import hooks, names, plan, rights, shelves
from agent.streams.ages import Ages
from agent.streams.ballast import Ballast
from agent.streams.catalog import Catalog, Leftovers, Place, Stream, fill, read_archive
from agent.streams.copying import SEGMENT_LIMIT
from agent.streams.departure import Departures
from agent.streams.hints import Hint, Hints
from agent.streams.holding import Holding
from agent.streams.live import refusal
from agent.streams.member import SMALL_TARGET
from agent.streams.recognise import accept, open_live, recognise
from agent.streams.recover import Recovery
from agent.streams.release import PIECE, Releaser
from agent.streams.retain import Retainer
from agent.streams.seal import FULL, Sealed, Sealer
from agent.streams.segment import Segment
from agent.streams.survey import Looked, Survey
from agent.streams.tombs import Tombs
from agent.streams.tools import Tools

_log = log.get("engine")

SEALED_AT_ONCE = 128
"""Streams sealed with one sync: enough to share its cost, few enough for the limit of open files."""

CUT_ROUNDS = 3
"""Seals in a row before `copytruncate` truncates: each is shorter than the one before."""

IN_PLACE = ("auto", "in-place")
"""Methods that give sealed space back while the writer keeps its file open."""

AGAIN_FIRST, AGAIN_LAST = 0.25, 30.0
"""Seconds until sealing is tried again after it found nothing whole; doubled each time, up to the second."""


@dataclass(frozen=True, slots=True)
class Due:
    """A stream that has to be sealed, and why."""

    stream: Stream
    reason: str


class ReplacedError(AgentError):
    """Another directory stands at the watched path: only a new start can take it up."""


class Engine:
    """Every stream below one directory."""

    def __init__(self, config: Config, clock: Clock, metrics: Metrics, breathe: Callable[[], None]) -> None:
        self.config = config
        self._clock = clock
        self._metrics = metrics
        self._breathe = breathe
        self.catalog = Catalog(config)
        self._opened: list[Directory] = []
        self._releasing: dict[Stream, None] = {}
        self._limits: dict[int, int | None] = {}
        self._left_out: dict[str, str] = {}
        """Directories below that cannot be managed, each with a sentence that says why."""
        self._stuck: set[Stream] = set()
        """Streams whose last release failed: they wait for the next step, but ask for none."""
        self.resting: dict[Stream, None] = {}
        """Streams that may be set back to size 0, in the order in which they came to rest."""
        self.reading = False
        """True when nothing may be changed."""
        self.holding = Holding((), None)
        """What consumers have not delivered yet, which retention leaves alone."""
        self.changed: Callable[[Stream], None] | None = None
        """Who is told of each stream whose positions moved, and so has live files looked into before they are due."""
        self.cramped = False
        """True once something failed for want of room, until somebody who can make some has seen it."""
        self.ballast: Ballast | None = None
        self.state: Directory | None = None
        self.quarantine: Directory | None = None

    @property
    def swept(self) -> bool:
        """True once everything was looked at."""
        return self.survey.swept

    # -- start and stop

    def open(self) -> None:
        """Take the locks, read what is there, bring it into order.

        Raises LockedError when another agent has the directory, OSError when it cannot be used.
        """
        try:
            self._open_all()
        except BaseException:
            self._let_go()
            raise

    def _open_all(self) -> None:
        root = self._keep(Directory.make(self.config.files.directory))
        root.lock()
        self.state = self._keep(self._make(root, self.config.agent.state_directory or STATE_DIRECTORY, 0o700))
        _check_state(self.state)
        self.quarantine = self._keep(self.state.make_child("quarantine", 0o700))
        self._begin(root, Audit(self.state, self._clock), Hints(self.state), Hints(self.state).load())

    def peek(self) -> None:
        """Read what is there and change nothing, beside a running agent or without one.

        Raises FileNotFoundError when there is no such directory.
        """
        self.reading = True
        root = self._keep(Directory.open(self.config.files.directory))
        hints = {}
        if os.path.isdir(self.config.state_path):
            self.state = self._keep(Directory.open(self.config.state_path))
            hints = Hints(self.state).load()
        self._begin(root, Audit(None, self._clock), Hints(None), hints)

    def _begin(self, root: Directory, audit: Audit, hints: Hints, known: dict[str, Hint]) -> None:
        self.audit, self.hints = audit, hints
        self.tools = Tools(self._clock, audit, self._metrics, hints, boot_id(), self._breathe, self._tell_changed)
        self.ages = Ages(self._clock, self.tools.boot, self.state)
        self.holding = Holding(self.config.forward, self.state)
        self.survey = Survey(self.tools, self.catalog, self.config.files)
        self.sealer = Sealer(self.tools)
        self.releaser = Releaser(self.tools, self.sealer)
        self.retainer = Retainer(self.tools)
        self.tombs = Tombs(self.tools)
        self.departures = Departures(self.tools, self.sealer, self.tombs)
        self._recovery = Recovery(self.tools, self.catalog, self.quarantine, known)
        place = self._place("", root)
        if self.state and not self.reading:
            self.ballast = Ballast(self.state, place.archive)
        self._load(place)

    def _tell_changed(self, stream: Stream) -> None:
        if self.changed:
            self.changed(stream)

    def close(self) -> None:
        """Remember where every stream stands, and let go of everything."""
        if not self.reading:
            for stream in self.catalog.all():
                self.tools.remember(stream)
            self.hints.compact()
        self.hints.close()
        self.audit.close()
        self._let_go()

    def _let_go(self) -> None:
        for directory in reversed(self._opened):
            directory.close()
        self._opened.clear()

    def _keep(self, directory: Directory) -> Directory:
        self._opened.append(directory)
        return directory

    def _make(self, root: Directory, path: str, mode: int = 0o755) -> Directory:
        """A directory of the configuration. No link is followed below the watched directory, where others may write."""
        try:
            return Directory.make(path, mode) if os.path.isabs(path) else root.make_below(path, mode)
        except NotADirectoryError as error:
            raise AgentError(
                "a link or a file stands where a directory has to be", path=os.path.join(root.path, path),
                hint="remove it, or give the whole path of another directory in the configuration",
            ) from error  # fmt: skip

    def _place(self, relative: str, home: Directory) -> Place:
        """A managed directory with its archive, both locked."""
        archive = home
        target = self.config.rotation.archive_directory
        if target:
            path = os.path.join(self.config.files.directory, target, relative)
            root = self.catalog.places[""].home if relative else home
            archive = self._keep(
                Directory.open(path) if self.reading else self._make(root, os.path.join(target, relative))
            )
            if not self.reading:
                archive.lock()
        place = Place(relative, home, archive, linux.filesystem(home.fd), self._largest(home))
        self.catalog.places[relative] = place
        return place

    def _largest(self, home: Directory) -> int | None:
        """How long a file may become in this directory: asked once of each file system, and only by who may write."""
        device = os.fstat(home.fd).st_dev
        if device not in self._limits:
            self._limits[device] = None if self.reading else disk.largest_file(home)
        return self._limits[device]

    def _load(self, place: Place) -> None:
        """Read a place's archive and deal with what a crash left."""
        segments, left = read_archive(place)
        fill(self.catalog, place, segments)
        self.ages.witness(segments)
        for name, error in left.damaged:
            self.audit.write("error", reason="damaged segment", path=os.path.join(place.archive.path, name))
            _log.warning("a segment cannot be read", error=error)
        if self.reading:
            self._recovery.peek_all(place, left)
        else:
            self._recovery.parts(place, left)
        for hint in self._recovery.hints.values():
            leaf = hint.stream.rpartition("/")[2]
            if place.stream_name(leaf) == hint.stream and hint.stream not in self.catalog.streams:
                self.catalog.stream(place, leaf, hint.id)
        for stream in self.catalog.all():
            if stream.place is place:
                self._recovery.restore(stream)
                if stream.pending:
                    self._releasing[stream] = None
        if not self.reading:
            self._publish_found(place)

    def _publish_found(self, place: Place) -> None:
        """Open parts that nobody goes on with: capture is off, or their stream has ended."""
        found = [one for one in self.catalog.all() if one.place is place and one.open_part]
        orphans = set(self.catalog.orphans)
        for outcome in self.sealer.seal([(one, "recovered") for one in found if _idle_part(one) or one in orphans]):
            if outcome.error is not None:
                self._failed(outcome.stream, outcome.error)

    def open_part(self, stream: Stream) -> Segment | None:
        """What another process captured of the stream since its last rotation; None where there is nothing."""
        return self._recovery.peek(stream.place, names.open_name(stream.leaf), stream)

    # -- look

    def check_root(self) -> None:
        """Raises AgentError while the watched directory is gone, or another one stands at its path.

        What is open of it is nobody's any more: to go on would be to call every file deleted.
        """
        path = self.config.files.directory
        ours = os.fstat(self.catalog.places[""].home.fd)
        try:
            there = os.stat(path)
        except FileNotFoundError:
            raise AgentError(
                "the watched directory is gone", path=path, hint="put it back, or restart the agent to make a new one"
            ) from None
        if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            raise ReplacedError(
                "another directory stands where the watched one was",
                path=path,
                hint="restart the agent to watch that one",
            )

    def problems(self) -> Iterator[str]:
        """What an operator has to know of directories: those left out, and a state directory that was swapped."""
        yield from self._left_out.values()
        if self.state is not None and not self.reading:
            ours = os.fstat(self.state.fd)
            try:
                there = os.stat(self.config.state_path)
            except OSError:
                there = None
            if there is None or (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
                yield (
                    f"{printable(self.config.state_path)} is not the agent's state directory any more: somebody "
                    "replaced it; restart the agent, or commands don't reach it"
                )

    def look(self, relative: str, leaves: Iterable[str] | None) -> Looked:
        """Look at files of a managed directory, or at all of it, and recognise what is no longer what it was."""
        place = self.catalog.places.get(relative)
        if place is None:
            return Looked()
        looked = self.survey.list(place) if leaves is None else self.survey.names(place, leaves)
        for stream in looked.suspects:
            self._examine(stream)
        if self.changed:
            for stream in (*looked.touched, *looked.suspects):
                self.acquaint(stream)
                self.changed(stream)
        if self.config.files.recursive and leaves is None:
            self._descend(place, looked.directories)
        if leaves is None and relative == "":
            self.survey.swept = True
        return looked

    def _descend(self, place: Place, names: Iterable[str]) -> None:
        for name in names:
            relative = f"{place.relative}/{name}" if place.relative else name
            if relative in self.catalog.places or name.startswith("."):
                continue
            try:
                home = self._below(place, name)
            except (OSError, AgentError) as error:
                text = f"{printable(relative)} is left out: {printable(str(error))}"
                if self._left_out.get(relative) != text:
                    self._left_out[relative] = text
                    _log.warning("a directory below is left out", directory=relative, error=error)
                continue
            self._left_out.pop(relative, None)
            self._load(self._place(relative, home))
            self.look(relative, None)

    def _below(self, place: Place, name: str) -> Directory:
        """Open and lock a directory below. Raises OSError, LockedError, and AgentError where root may not work."""
        home = place.home.open_child(name)
        try:
            if not self.reading:
                rights.check_below(self.config, home)
                home.lock()
        except BaseException:
            home.close()
            raise
        return self._keep(home)

    def _examine(self, stream: Stream) -> None:
        """Another file stands at the path, or none, or it shrank: find out what became of the old one."""
        life = stream.incarnation
        if life is None:
            return
        try:
            with open_live(stream) as live:
                recognise(self.tools, stream, live)
                stream.facts.size = live.size()
        except FileNotFoundError:
            self.departures.gone(stream)
        except BlockingIOError:
            return
        except (OSError, RefusedError) as error:
            self._failed(stream, error)

    def acquaint(self, stream: Stream) -> None:
        """Get to know a live file before somebody reads it: its incarnation, and that it is a line log."""
        if stream.refused or stream.departed or (stream.incarnation is not None and stream.accepted):
            return
        try:
            with open_live(stream) as live:
                recognise(self.tools, stream, live)
                first = live.first_byte(stream.incarnation.sealed) if stream.incarnation else None
                if first is not None:
                    stream.accepted = accept(stream, live, first)
        except (FileNotFoundError, BlockingIOError):
            return
        except (OSError, AgentError) as error:
            self._failed(stream, error)

    # -- decide

    def due(self, streams: Iterable[Stream]) -> tuple[list[Due], dict[Stream, plan.Due]]:
        """Which of these streams have to be sealed now, and what is known about the others' time."""
        now, wall = self._clock.monotonic(), self._clock.now()
        ready: list[Due] = []
        later: dict[Stream, plan.Due] = {}
        for stream in streams:
            if stream.departed:
                ready.append(Due(stream, "rename"))
                continue
            part = stream.open_part
            if part and now >= stream.not_before and (stream.refused or not stream.continues(part)):
                ready.append(Due(stream, "incarnation"))
                continue
            if not stream.facts.there or self._refused(stream):
                continue
            if now < stream.not_before:
                later[stream] = plan.Due(None, stream.not_before)
                continue
            verdict = plan.due(growth(stream), stream.rotation, now, wall)
            if verdict.reason == "size" and not self._confirm(stream):
                rules = msgspec.structs.replace(stream.rotation, max_size=None)
                verdict = plan.due(growth(stream), rules, now, wall)
            capture = self._capture_at(stream, now)
            if verdict.reason:
                ready.append(Due(stream, verdict.reason))
            elif _idle_part(stream):
                ready.append(Due(stream, "request"))
            elif capture is not None and capture <= now:
                ready.append(Due(stream, "capture"))
            elif capture is not None and (verdict.at is None or capture < verdict.at):
                later[stream] = plan.Due(None, capture)
            else:
                later[stream] = verdict
        return ready, later

    def _capture_at(self, stream: Stream, now: float) -> float | None:
        facts, (last, size) = stream.facts, stream.captured
        fresh = stream.live_bytes > 0 and facts.size != size
        return plan.capture(stream.rotation, now, last, fresh=fresh, quiet=now - facts.grew)

    def _confirm(self, stream: Stream) -> bool:
        """Preallocated and sparse files are smaller than they look: ask the file itself (attack M4)."""
        life, limit = stream.incarnation, stream.rotation.max_size
        if life is None or limit is None or stream.facts.allocated >= min(limit, stream.live_bytes):
            return True
        captured = stream.rotating_bytes - stream.live_bytes
        try:
            with open_live(stream) as live:
                return captured + live.live_bytes(life.sealed) >= limit
        except (OSError, RefusedError):
            return True

    def _refused(self, stream: Stream) -> bool:
        if stream.refused is not None:
            return True
        method = stream.rotation.method
        if method in IN_PLACE and stream.place.filesystem not in linux.LOCAL:
            self._refuse(stream, refusal("filesystem", stream.place.home.path, stream.place.filesystem))
            return True
        return False

    # -- act

    def seal(self, due: list[Due]) -> list[Sealed]:
        """Seal these streams, in batches that share their syncs."""
        outcomes: list[Sealed] = []
        for at in range(0, len(due), SEALED_AT_ONCE):
            self._breathe()
            some = due[at : at + SEALED_AT_ONCE]
            captured = self._with_room(self.sealer.capture([item.stream for item in some if item.reason == "capture"]))
            for outcome in captured:
                self._captured(outcome)
            ready = [item for item in some if item.reason != "capture" and self._prepared(item, outcomes)]
            ended = [
                one.stream for one in captured if (part := one.stream.open_part) and not one.stream.continues(part)
            ]
            ready += [Due(stream, "incarnation") for stream in ended]
            batch = self._with_room(self.sealer.seal([(item.stream, item.reason) for item in ready]))
            for outcome in batch:
                self._concluded(outcome)
            for outcome in self.sealer.capture(ended):
                self._captured(outcome)
            outcomes += captured + batch
        return outcomes

    def _with_room(self, outcomes: list[Sealed]) -> list[Sealed]:
        """The outcomes, after what failed for want of room was sealed little by little."""
        if not any(map(_full, outcomes)):
            return outcomes
        self.cramped = True
        if self.ballast and self.ballast.drop():
            self.audit.write("ballast", reason="the disk is full")
            _log.warning("the disk is full: sealing goes on in the room that was kept back")
        return [self._little_by_little(one) if _full(one) else one for one in outcomes]

    def keep_room(self) -> None:
        """Have the ballast ready for a full disk."""
        if self.ballast:
            limits = (self.config.retention.max_total, self.config.files.critical_total)
            self.ballast.renew(min((one for one in limits if one is not None), default=None))

    def _little_by_little(self, failed: Sealed) -> Sealed:
        """Capture and release small pieces, each of which frees more than it takes; then what was asked for."""
        stream, most = failed.stream, SMALL_TARGET
        while stream.rotation.method in IN_PLACE and most <= SEGMENT_LIMIT:
            self._breathe()
            one = self.sealer.capture([stream], most)[0]
            if one.error is not None:
                return one if failed.reason == "capture" else Sealed(stream, failed.reason, error=one.error)
            if one.bytes:
                failed.bytes += one.bytes
                self._releasing[stream] = None
                self.release(paced=False)
            if most >= stream.live_bytes:
                break
            most *= 2
        if failed.reason == "capture":
            return Sealed(stream, "capture", bytes=failed.bytes)
        return self.sealer.seal([(stream, failed.reason)])[0]

    def _captured(self, outcome: Sealed) -> None:
        """Nothing whole is no failure: the next look at a changed file tries again."""
        stream, facts = outcome.stream, outcome.stream.facts
        if outcome.error is not None:
            self._put_off(stream)
            self._failed(stream, outcome.error)
        elif outcome.bytes:
            facts.since, facts.since_wall = None, 0.0
            stream.fruitless = 0
            if stream.rotation.method in IN_PLACE:
                self._releasing[stream] = None
            if stream not in self._stuck:
                self._over(stream)

    def _prepared(self, item: Due, outcomes: list[Sealed]) -> bool:
        """Do what comes before a seal: the hook, and where the method is `rename`, moving the file aside."""
        stream = item.stream
        if stream.departed:
            return True
        try:
            hooks.before(self.tools, stream, item.reason)
            if stream.rotation.method == "rename" and stream.rotating_bytes > 0:
                self.departures.rename_away(stream)
        except (OSError, AgentError) as error:
            outcomes.append(Sealed(stream, item.reason, error=error))
            self._concluded(outcomes[-1])
            return False
        return True

    def _emptied(self, stream: Stream, reason: str) -> bool:
        """True where space does not come back by holes: by removing the renamed file, or by truncation."""
        if stream.rotation.method == "copytruncate" and not stream.departed:
            # What came while the first seal was made is sealed too, so that little is left to lose.
            for _ in range(CUT_ROUNDS):
                if not self.sealer.seal([(stream, reason)])[0].segment:
                    break
            self.releaser.cut(stream)
            return True
        return stream.rotation.method == "rename"

    def _concluded(self, outcome: Sealed) -> None:
        stream, facts = outcome.stream, outcome.stream.facts
        now = self._clock.monotonic()
        if outcome.segment is not None:
            facts.since, facts.since_wall = None, 0.0
            stream.not_before, stream.fruitless = 0.0, 0
            if not self._emptied(stream, outcome.reason):
                (self._releasing if stream.pending else self.resting)[stream] = None
        else:
            # Nothing whole yet, or not possible now.
            self._put_off(stream)
            self.resting[stream] = None
        if outcome.error is not None:
            self._failed(stream, outcome.error)
            if isinstance(outcome.error, FileExistsError):
                self._unblock(stream)
            return
        if stream not in self._stuck:
            self._over(stream)
        if stream.rotation.schedule:
            facts.scheduled = next_run(stream.rotation.schedule, self._clock.now())
        if outcome.segment is not None:
            hooks.after(self.tools, stream, outcome.reason, outcome.segment.name)
        if stream.departed and not outcome.more:
            if outcome.segment is not None:
                facts.grew = now
            try:
                self.departures.finish(stream)
            except StoppingError:
                raise
            except (OSError, AgentError) as error:
                self._failed(stream, error)

    def _put_off(self, stream: Stream) -> None:
        """Ask again, ever later."""
        stream.not_before = self._clock.monotonic() + min(AGAIN_LAST, AGAIN_FIRST * 2.0 ** min(stream.fruitless, 16))
        stream.fruitless += 1

    def _unblock(self, stream: Stream) -> None:
        """A part that could not be removed when its seal failed is in the way: deal with it as at a start."""
        before = len(stream.segments)
        try:
            there = [name for name in names.hidden_names(stream.leaf) if stream.place.archive.exists(name)]
            self._recovery.parts(stream.place, Leftovers(there))
        except OSError as error:
            self._failed(stream, error)
        if len(stream.segments) > before:
            self._recovery.restore(stream)
            self._releasing[stream] = None

    def release(self, *, paced: bool = True) -> tuple[int, bool]:
        """Give back a piece of each stream, or without `paced` everything.

        Returns the most bytes that one stream gave back, and whether more is pending. A stream whose writer fills
        faster than the pace empties is released at once: space goes before smoothness.
        """
        most = 0
        for stream in list(self._releasing):
            self._breathe()
            if stream.refused:
                continue
            try:
                most = max(most, self.releaser.release(stream, self._budget(stream) if paced else sys.maxsize))
            except BlockingIOError:
                continue
            except FileNotFoundError:
                self._examine(stream)
            except StoppingError:
                raise
            except (OSError, AgentError) as error:
                self._failed(stream, error)
                self._stuck.add(stream)
            else:
                if stream in self._stuck:
                    self._stuck.discard(stream)
                    self._over(stream)
            if not stream.pending:
                del self._releasing[stream]
                self._stuck.discard(stream)
                self.resting[stream] = None
        return most, any(not one.refused and one not in self._stuck for one in self._releasing)

    def _budget(self, stream: Stream) -> int:
        backlog = sum(one.source.length for one in stream.pending)
        return PIECE if backlog <= 2 * max(PIECE, stream.rotation.max_size or 0) else backlog

    def reset(self, most: int = 200) -> int:
        """Set back to size 0 what rests and nobody has open, `most` files at a time; how many files were."""
        count = 0
        for stream in list(self.resting)[:most]:
            self._breathe()
            del self.resting[stream]
            try:
                count += self.releaser.reset(stream)
            except (BlockingIOError, FileNotFoundError):
                continue
            except StoppingError:
                raise
            except (OSError, AgentError) as error:
                self._failed(stream, error)
        return count

    def bury(self) -> list[Stream]:
        """Put into tombs what has long been empty and unopened, where that is asked for; the streams of those files."""
        buried = []
        for stream in filter(self.tombs.due, list(self.catalog.streams.values())):
            self._breathe()
            try:
                if self.tombs.bury(stream):
                    buried.append(stream)
            except (BlockingIOError, FileNotFoundError, FileExistsError):
                continue
            except StoppingError:
                raise
            except (OSError, AgentError) as error:
                self._failed(stream, error)
        return buried

    def _failed(self, stream: Stream, error: Exception) -> None:
        """Tell of a failure once, until it is another one; the data stays where it is."""
        if isinstance(error, BlockingIOError):
            return
        if isinstance(error, RefusedError):
            self._refuse(stream, error)
            return
        text = printable(str(error))
        if stream.failure != text:
            stream.failure = text
            self.audit.write("error", stream=stream.name, reason=text)
            _log.error("a stream cannot be sealed; its data stays in the live file", stream=stream.name, error=error)

    def _over(self, stream: Stream) -> None:
        """Tell, once, that a failure is over."""
        if stream.failure:
            self.audit.write("recovered", stream=stream.name, reason=stream.failure)
            _log.info("a stream is sealed again", stream=stream.name)
            stream.failure = ""

    def _refuse(self, stream: Stream, error: RefusedError) -> None:
        stream.refused = error
        self.audit.write("refuse", stream=stream.name, reason=error.reason, why=printable(str(error)))
        _log.warning("a file is refused", stream=stream.name, reason=error.reason, hint=error.hint)

    # -- retain

    def plan_retention(self, total: int) -> list[tuple[Stream, plan.Retire]]:
        """What retention would delete now; `total` is what the directory takes on disk."""
        if not self.reading:
            self.ages.keep_time()
        return shelves.plan_retention(self.catalog, self.config, self.ages, self.holding, total)

    def retain(self, items: Iterable[tuple[Stream, plan.Retire]]) -> int:
        """Carry out a plan; the bytes of disk that came free."""
        freed = 0
        for stream, item in items:
            self._breathe()
            try:
                freed += self.retainer.carry_out(stream, item)
                self.ages.forget(stream.id.hex(), item.segment.name)
            except StoppingError:
                raise
            except (OSError, AgentError) as error:
                self._failed(stream, error)
                if isinstance(error, FileExistsError):
                    self._unblock(stream)
        self.catalog.orphans = [stream for stream in self.catalog.orphans if stream.segments]
        for name, stream in list(self.catalog.streams.items()) if self.survey.swept else ():
            if not (stream.segments or stream.facts.there or stream.pending or stream.departed):
                del self.catalog.streams[name]
                self.hints.forget(stream.id.hex())
                self.holding.forget(stream.id.hex())
        return freed

    def configure(self, config: Config) -> None:
        """Take new rules into force; what only a start can change stays."""
        self.config = config
        self.catalog.configure(config)
        self.survey.files = config.files
        for stream in self.catalog.all():
            stream.refused = None
            stream.facts.scheduled = None


def _check_state(state: Directory) -> None:
    """The state directory is nobody else's, and nobody else writes there (attack M6). Raises AgentError."""
    info = os.fstat(state.fd)
    if os.geteuid() not in (0, info.st_uid):
        raise AgentError(
            f"the state directory belongs to {user_name(info.st_uid)}", path=state.path,
            hint="remove it, or give it to the agent's user",
        )  # fmt: skip
    if info.st_mode & 0o022:
        os.fchmod(state.fd, info.st_mode & 0o7755)


def growth(stream: Stream) -> plan.Growth:
    """What rotation's rules ask about: live bytes together with those that were captured since the last rotation."""
    facts = stream.facts
    since = facts.since if stream.part_since is None else stream.part_since
    return plan.Growth(stream.rotating_bytes, facts.rate, since, facts.scheduled)


def _full(outcome: Sealed) -> bool:
    """True where there was no room."""
    return isinstance(outcome.error, OSError) and outcome.error.errno in FULL


def _idle_part(stream: Stream) -> bool:
    """True for an open part that is not gone on with."""
    return stream.open_part is not None and stream.rotation.capture is None


def managed(engine: Engine) -> Mapping[str, str]:
    """The managed directories: path below the root, and the path in the file system."""
    return {relative: place.home.path for relative, place in engine.catalog.places.items()}
