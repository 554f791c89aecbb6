"""The directories the agent works in: opened once, locked where something may be changed, held until the end.

Everything below goes by these descriptors, so no rename of a directory and no link leads it elsewhere.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping

from agent.config import STATE_DIRECTORY
from agent.kit import disk, linux, log
from agent.kit.disk import Directory
from agent.kit.errors import AgentError, printable
from agent.kit.trust import user_name
from agent.streams import rights
from agent.streams.catalog import Catalog, Place

_log = log.get("engine")

_LINGER = 600.0
"""Seconds for which a directory that is no longer managed stays open: no reader of an older view takes as long."""


class ReplacedError(AgentError):
    """Another directory stands at the watched path: only a new start can take it up."""


class Grounds:
    """Opens and locks directories, and enters the managed ones into the catalogue; one thread uses it."""

    def __init__(self, catalog: Catalog, *, reading: bool) -> None:
        """With `reading` nothing is made, locked or changed."""
        self._catalog = catalog
        self._reading = reading
        self._opened: list[Directory] = []
        self._left: deque[tuple[float, Directory]] = deque()
        """Directories that are no longer managed, and since when, in that order."""
        self._limits: dict[int, int | None] = {}
        self._left_out: dict[str, str] = {}
        """Directories below that cannot be managed, each with a sentence that says why."""
        self.state: Directory | None = None
        self.quarantine: Directory | None = None

    def enter(self) -> Place:
        """Take the watched directory and the agent's own ones.

        Raises LockedError when another agent has the directory, OSError when it cannot be used.
        """
        config = self._catalog.config
        if self._reading:
            root = self._keep(Directory.open(config.files.directory))
            if os.path.isdir(config.state_path):
                self.state = self._keep(Directory.open(config.state_path))
        else:
            root = self._keep(Directory.make(config.files.directory))
            root.lock()
            self.state = self._keep(_make(root, config.agent.state_directory or STATE_DIRECTORY, 0o700))
            _check_state(self.state)
            _lock(self.state, root)  # two agents with one state would take each other's cursors for their own
            self.quarantine = self._keep(self.state.make_child("quarantine", 0o700))
        return self._place("", root)

    def leave(self) -> None:
        """Let go of everything."""
        for directory in (*reversed(self._opened), *(one for _, one in self._left)):
            directory.close()
        self._opened.clear()
        self._left.clear()

    def managed(self) -> Mapping[str, str]:
        """The managed directories: path below the root, and the path in the file system."""
        return {relative: place.home.path for relative, place in self._catalog.places.items()}

    def below(self, place: Place, name: str) -> Place | None:
        """Take a directory below; None for one that is managed already, or left out, which is told once."""
        relative = f"{place.relative}/{name}" if place.relative else name
        if relative in self._catalog.places or name.startswith(".") or self._is_archive(place, name):
            return None
        opened = len(self._opened)
        try:
            found = self._place(relative, self._open_below(place, name))
        except (OSError, AgentError) as error:
            while len(self._opened) > opened:
                self._opened.pop().close()  # with its lock, or the next look would meet it
            self._tell(relative, error)
            return None
        self._left_out.pop(relative, None)
        return found

    def give_up(self, place: Place, error: Exception) -> None:
        """What is in a directory below could not be read, and nobody reads there yet: the next look begins anew."""
        del self._catalog.places[place.relative]
        for directory in {id(one): one for one in (place.archive, place.home)}.values():
            self._opened.remove(directory)
            directory.close()
        self._tell(place.relative, error)

    def _tell(self, relative: str, error: Exception) -> None:
        text = f"{printable(relative)} is left out: {printable(str(error))}"
        if self._left_out.get(relative) != text:
            self._left_out[relative] = text
            _log.warning("a directory below is left out", directory=relative, error=error)

    def stands(self, place: Place) -> bool:
        """True while a directory below is still the one at its path."""
        parent, _, name = place.relative.rpartition("/")
        above = self._catalog.places.get(parent)
        try:
            return above is not None and _same(above.home.stat(name), place.home)
        except FileNotFoundError:
            return False

    def leave_place(self, place: Place, now: float) -> None:
        """A directory below is no longer managed. Who reads in it at this moment may finish, then it is closed."""
        del self._catalog.places[place.relative]
        for directory in {id(one): one for one in (place.home, place.archive)}.values():
            disk.unlock(directory)
            self._opened.remove(directory)
            self._left.append((now, directory))
        while self._left and now - self._left[0][0] > _LINGER:
            self._left.popleft()[1].close()

    def check_root(self) -> None:
        """Raises AgentError while the watched directory is gone, or another one stands at its path.

        What is open of it is nobody's any more: to go on would be to call every file deleted.
        """
        path = self._catalog.config.files.directory
        try:
            there = os.stat(path)
        except FileNotFoundError:
            raise AgentError(
                "the watched directory is gone", path=path, hint="put it back, or restart the agent to make a new one"
            ) from None
        if not _same(there, self._catalog.places[""].home):
            raise ReplacedError(
                "another directory stands where the watched one was",
                path=path,
                hint="restart the agent to watch that one",
            )

    def problems(self) -> Iterator[str]:
        """What an operator has to know of directories: those left out, and a state directory that was swapped."""
        yield from self._left_out.values()
        if self.state is None or self._reading:
            return
        path = self._catalog.config.state_path
        try:
            ours = _same(os.stat(path), self.state)
        except OSError:
            ours = False
        if not ours:
            yield (
                f"{printable(path)} is not the agent's state directory any more: somebody "
                "replaced it; restart the agent, or commands don't reach it"
            )

    def _keep(self, directory: Directory) -> Directory:
        self._opened.append(directory)
        return directory

    def _place(self, relative: str, home: Directory) -> Place:
        """A managed directory with its archive, both locked."""
        archive = home
        config = self._catalog.config
        target = config.rotation.archive_directory
        if target:
            path = os.path.join(config.files.directory, target, relative)
            root = self._catalog.places[""].home if relative else home
            archive = self._keep(Directory.open(path) if self._reading else _make(root, os.path.join(target, relative)))
            if not self._reading:
                _lock(archive, root, home, *([self.state] if self.state else []))
        place = Place(relative, home, archive, linux.filesystem(home.fd), self._largest(home))
        self._catalog.places[relative] = place
        return place

    def _largest(self, home: Directory) -> int | None:
        """How long a file may become in this directory: asked once of each file system, and only by who may write."""
        device = os.fstat(home.fd).st_dev
        if device not in self._limits:
            self._limits[device] = None if self._reading else disk.largest_file(home)
        return self._limits[device]

    def _is_archive(self, place: Place, name: str) -> bool:
        """True for the directory where segments go: no live files are in it."""
        root = self._catalog.places[""]
        try:
            return root.archive is not root.home and _same(place.home.stat(name), root.archive)
        except OSError:
            return False

    def _open_below(self, place: Place, name: str) -> Directory:
        """Open and lock a directory below. Raises OSError, LockedError, and AgentError where root may not work."""
        home = place.home.open_child(name)
        try:
            if not self._reading:
                rights.check_below(self._catalog.config, home)
                home.lock()
        except BaseException:
            home.close()
            raise
        return self._keep(home)


def _make(root: Directory, path: str, mode: int = 0o755) -> Directory:
    """A directory of the configuration. No link is followed below the watched directory, where others may write."""
    try:
        return Directory.make(path, mode) if os.path.isabs(path) else root.make_below(path, mode)
    except NotADirectoryError as error:
        raise AgentError(
            "a link or a file stands where a directory has to be", path=os.path.join(root.path, path),
            hint="remove it, or give the whole path of another directory in the configuration",
        ) from error  # fmt: skip


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


def _lock(directory: Directory, *held: Directory) -> None:
    """Lock a directory unless it is one of those that are locked already. Raises LockedError."""
    if not any(_same(os.fstat(directory.fd), one) for one in held):
        directory.lock()


def _same(there: os.stat_result, ours: Directory) -> bool:
    mine = os.fstat(ours.fd)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)
