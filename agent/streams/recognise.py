"""Is the file at a stream's path still the one we knew? If not, a new incarnation begins, and what it cost is counted.

Every step that opens a live file asks here first, so no step acts on a file it only believes to know.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

from agent.kit.clock import booted_at
from agent.kit.disk import Directory
from agent.kit.errors import RefusedError
from agent.streams.catalog import Stream
from agent.streams.incarnation import Incarnation, Verdict, judge, kept_prefix, rewritten
from agent.streams.live import Live, refusal
from agent.streams.position import Identity
from agent.streams.tools import Tools

_FIRST_LINE = 1 << 20
_SAMPLE = 1 << 16
_MANY_RUNS = 4
JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")

_LOSS = {
    "shrunk": "truncated",
    "guard": "truncated",
    "refilled": "truncated",
    "other_file": "replaced",
    "copytruncate": "copytruncate",
}


def open_live(stream: Stream, *, update: bool = False) -> Live:
    """Open the file the stream is in now: at its path, or where its writer renamed it to."""
    return Live.open(stream.place.home, stream.departed or stream.leaf, update=update)


def recognise(tools: Tools, stream: Stream, live: Live) -> Verdict:
    """Make `stream.incarnation` describe `live`; says what was found, "same" when nothing changed.

    "other_file" with `stream.departed` set afterwards means: another file stands at the path, the old one was
    found under another name and has to be finished first; `live` is not it.
    """
    life = stream.incarnation
    size = live.size()
    if life is None:
        _copy_up(tools, stream, live)
        stream.incarnation = Incarnation(live.identity, base=stream.end, largest=size)
        tools.remember(stream)
        tools.changed(stream)
        return "same"
    verdict = judge(life, live, stream.sealed_bytes, 0 if life.clean else stream.kept_from)
    if verdict == "same":
        if life.identity.birth is None:
            _copy_up(tools, stream, live)
            life.identity = live.identity
        _shrink_within(tools, stream, life, size)
        life.largest = max(life.largest, size)
        life.known = max(life.known, size)
        _measure_hollow(life, live)
        return "same"
    if verdict == "other_file" and stream.departed is None and _find_departed(stream, life):
        return verdict
    if verdict == "guard" and rewritten(life, live):
        stream.rewrites += 1
        if stream.rewrites > 1:
            raise refusal("rewritten", f"{stream.place.home.path}/{live.name}")
    # Only power loss brings a file back that is shorter and still the same: what was sealed in this boot tells that
    # there was none.
    kept = 0
    in_this_boot = bool(stream.segments) and stream.segments[-1].boot == tools.boot != ""
    if verdict != "other_file" and life.guard_may_be_gone and not in_this_boot:
        untouched = live.changed() < booted_at()
        kept = kept_prefix(live, min(size, life.sealed), stream.sealed_bytes, untouched=untouched)
    begin(tools, stream, live.identity, verdict, size, kept, live)
    return verdict


def _copy_up(tools: Tools, stream: Stream, live: Live) -> None:
    """Let a file of an image's layer become what it will be: its birth time is another one behind the first opening.

    On overlayfs whoever opens such a file for writing makes a copy of it, and releasing does; it is the same file, and
    were it taken for another one it would be sealed twice. `live` stays open, so what it tells then is about that file.
    """
    if tools.reading or stream.place.filesystem != "overlay" or live.identity.birth is None:
        return
    with suppress(OSError, RefusedError), open_live(stream, update=True):  # releasing says what is wrong
        live.identity = live.identify()


def _measure_hollow(life: Incarnation, live: Live) -> None:
    """Find the NULs with which a file begins when it was emptied under a writer that kept its offset."""
    if life.sealed == 0 < life.base:
        first = live.first_byte(0)
        life.hollow = live.size() if first is None else first


def begin(
    tools: Tools, stream: Stream, identity: Identity, why: str, size: int = 0, kept: int = 0, live: Live | None = None
) -> None:  # fmt: skip
    """Start the stream's next incarnation; whatever of the old one is in no segment is lost, and counted.

    The first `kept` bytes are still those of the old one and lie in segments: S begins behind them. What of `live`
    was never written is remembered with the new life, or its end would count it as lost. A renamed file that was
    emptied is still the one to finish first. Raises OSError where `live` cannot be read: nothing is changed then.
    """
    life = stream.incarnation
    after = _next(stream, identity, size, kept, live)
    stream.pending = ()
    stream.accepted = False
    stream.refused = None
    if life is None or not life.identity.same_file(identity):
        stream.departed, stream.successors = None, ()
    stream.synced = 0
    stream.captured = (stream.captured[0], -1)  # nothing of the new life was, whatever its size is
    stream.facts.nul_since = None
    stream.incarnation = after
    # Remembered before it is told: after a crash in between a loss is told never, rather than twice.
    tools.remember(stream)
    lost = life.unsealed(shrunk=why not in ("guard", "refilled")) if life else 0
    if life and lost:
        reason = _LOSS.get(why, "deleted")
        tools.lost(stream, reason, lost, positions=[life.position, life.end], why=why)
    tools.audit.write("incarnation", stream=stream.name, reason=why, base=after.base, inode=identity.inode)
    tools.changed(stream)


def _next(stream: Stream, identity: Identity, size: int, kept: int, live: Live | None) -> Incarnation:
    """The life that `begin` starts."""
    life = stream.incarnation
    if life is None:
        return Incarnation(identity, base=stream.end, largest=size)
    after = life.next(identity)
    after.largest, after.base, after.sealed = size, after.base - kept, kept
    if live is not None:
        _measure_hollow(after, live)
    return after


def accept(stream: Stream, live: Live, first: int) -> bool:
    """Is this a line log? Asked once an incarnation, at its first byte. False: too early to tell.

    Raises RefusedError for length-prefixed or otherwise binary files (attack C9) and for JSON documents.
    """
    life = stream.incarnation
    if stream.accepted or life is None or life.sealed:
        stream.accepted = True
        return True
    path = f"{stream.place.home.path}/{live.name}"
    stream.accepted = is_log(stream.leaf, live, first, path, behind=bool(first or life.base))
    return stream.accepted


def is_log(leaf: str, live: Live, first: int, path: str, *, behind: bool) -> bool:
    """As `accept`, of any open file that is, or was, called `leaf`; `behind` a gap or a life before, or not."""
    sample = live.read(first, _SAMPLE)
    named_json = leaf.endswith(JSON_SUFFIXES)
    if _many_runs(sample) or (_length_prefixed(live) and not (named_json and _json_line(sample))):
        raise refusal("not_a_log", path)
    if named_json:
        end = _blank(sample).find(b"\n")
        if end < 0 and len(sample) == _SAMPLE:
            sample = live.read(first, _FIRST_LINE)
            end = _blank(sample).find(b"\n")
        if end < 0:
            return len(sample) >= _FIRST_LINE
        sample = _blank(sample)
        if not _json_value(sample[:end]):
            if not behind:
                raise refusal("not_json_lines", path)
            # Behind a gap or a truncation the first line may be the end of one: the next has to be whole.
            after = sample[end + 1 :].partition(b"\n")
            if after[1] and not _json_value(after[0]):
                raise refusal("not_json_lines", path)
            return bool(after[1])
    return True


def _blank(sample: bytes) -> bytes:
    """Without a byte order mark and blank lines, which tell nothing."""
    return sample.removeprefix(BOM_UTF8).lstrip(b"\r\n\t ")


def _json_value(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except msgspec.MsgspecError:
        return False
    except RecursionError:
        # Too deep to be looked through. A document over several lines does not open so many brackets in its first.
        return True
    return True


def _json_line(sample: bytes) -> bool:
    """True when the first line is one whole object or array: NULs before it are those of a writer's kept offset."""
    line, ended, _ = sample.partition(b"\n")
    return ended != b"" and line[:1] in (b"{", b"[") and _json_value(line)


def _length_prefixed(live: Live) -> bool:
    """True when the file begins with NULs that somebody wrote, and goes on within a length's four bytes."""
    head = live.read(0, 5)
    return head[:1] == b"\0" and live.data_from(0) == 0 and head.strip(b"\0") != b""


def _many_runs(sample: bytes) -> bool:
    """True for many runs of NULs between data."""
    return sum(map(bool, sample.strip(b"\0").split(b"\0"))) > _MANY_RUNS


def _shrink_within(tools: Tools, stream: Stream, life: Incarnation, size: int) -> None:
    """A file cut above S keeps its life, but the positions that were seen are used up."""
    gone = life.largest - size
    if gone > 0:
        end, hollow = life.end, min(life.hollow, life.largest)
        # The next byte's position must lie behind every position used so far.
        life.base += gone
        life.skipped += gone
        life.largest = life.known = size
        lost = gone - max(0, hollow - size)
        life.hollow = min(hollow, size)  # before it is noted: a killed agent measures no more
        tools.remember(stream)
        tools.lost(stream, "truncated", lost, positions=[end - lost, end], why="shrunk")
        tools.changed(stream)


def _find_departed(stream: Stream, life: Incarnation) -> bool:
    name = find_inode(stream.place.home, life.identity)
    if name is None or name == stream.leaf:
        return False
    stream.departed = name
    return True


Inodes = Mapping[int, Sequence[str]]
"""The names of regular files by inode."""


def inodes(directory: Directory, wanted: int | None = None) -> Inodes:
    """The files in a directory now: all, or those with one inode."""
    found: dict[int, list[str]] = {}
    with directory.entries() as entries:
        for entry in entries:
            if wanted in (None, entry.inode()) and entry.is_file(follow_symlinks=False):
                found.setdefault(entry.inode(), []).append(entry.name)
    return found


def find_inode(directory: Directory, identity: Identity, there: Inodes | None = None) -> str | None:
    """The name under which a file is in a directory now, or was when somebody looked at all that is `there`."""
    listed, moved = inodes(directory, identity.inode) if there is None else there, False
    for name in listed.get(identity.inode, ()):
        try:
            with Live.open(directory, name) as live:
                if identity.same_file(live.identity):
                    return name
                moved = moved or live.identity.inode != identity.inode
        except FileNotFoundError:
            moved = True
        except (OSError, RefusedError):
            continue
    return find_inode(directory, identity) if moved and there is not None else None
