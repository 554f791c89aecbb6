"""When to look at what: the pure half of the watcher, a state machine over injected times.

Invariants: whatever happens between two looks leads to another look, by an event, by a timer, or at the latest by
the sweep. An event alone leads to one look; only growth makes a name hot. A name whose looks find no growth is
looked at ever less often while its events go on, and never later than REST_LONGEST after one: our own releases
(punch, truncate) make events too and must not keep the agent busy (attack M3). Work by timers is bounded by
its measured cost, not by the number of files.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

GROWING = 0.25
"""Seconds between two looks at the hot names, all of them together."""
GROWING_LONGEST = 5.0
GROWING_SHARE = 0.02
"""Part of a core that looks at hot names may cost: very many of them are looked at less often."""
LISTING = 1.0
"""Seconds between two listings of the directories that no watch covers, all of them together."""
LISTING_SHARE = 0.005
"""Part of a core that listings may cost."""
SOONEST = 0.005
"""Seconds after which a name that is about to come due is looked at, at the earliest."""
WARM = 0.5
"""Two growths that lie closer together than this make a name hot; a slower writer's events cost less than a timer."""
QUIET = 5.0
"""Seconds without growth after which a name is no longer hot."""
REST_FIRST = 0.5
REST_LONGEST = 4.0
"""Seconds for which a name rests after a look without growth; they double while its events go on."""
FORGET = 60.0
"""Seconds after which an old rest or growth no longer matters."""


@dataclass(frozen=True, slots=True)
class Look:
    """Something to look at: `names` in a managed directory ("" is the root), or all of it where they are None."""

    directory: str
    names: frozenset[str] | None


class Beat:
    """A common rhythm for many looks: `shortest` seconds, or more where they cost more than `share` of a core."""

    def __init__(self, shortest: float, longest: float, share: float) -> None:
        self.at = float("-inf")
        self._shortest = shortest
        self._longest = longest
        self._share = share
        self._began = 0.0
        self._spent = 0.0

    def begin(self, now: float) -> None:
        """The looks of this beat are handed out now."""
        self._began, self._spent = now, 0.0
        self.at = now + self._shortest

    def spend(self, seconds: float) -> None:
        """One of its looks took that long."""
        self._spent += seconds
        self.at = self._began + min(self._longest, max(self._shortest, self._spent / self._share))


@dataclass(slots=True)
class _Rest:
    """A name that did not grow is left alone `until` then, for `pause` seconds."""

    until: float
    pause: float


@dataclass(slots=True)
class _Place:
    """One managed directory."""

    whole: float | None
    """When it is listed out of turn."""
    covered: bool = False
    """An open watch tells of its events."""
    listable: float = float("-inf")
    """Events may ask for a listing from then on; the last one is paid for."""
    hot: dict[str, float] = field(default_factory=dict)
    """Hot names and when each last grew."""
    grown: dict[str, float] = field(default_factory=dict)
    """Names that are not hot (yet) and when each last grew."""
    asked: dict[str, float] = field(default_factory=dict)
    """Names to look at, and when."""
    rests: dict[str, _Rest] = field(default_factory=dict)

    @property
    def timed(self) -> bool:
        """No events (alone) can be relied on: it is listed by timer."""
        return bool(self.hot) or not self.covered

    def take(self, now: float, *, growing: bool) -> frozenset[str]:
        """The names to look at now; what was asked for is done with."""
        names = {name for name, at in self.asked.items() if at <= now}
        for name in names:
            del self.asked[name]
        return frozenset(names.union(self.hot) if growing else names)

    def cool(self, now: float, names: Iterable[str]) -> None:
        """These names did not grow."""
        for name in names:
            if name in self.hot:
                if now - self.hot[name] >= QUIET:
                    del self.hot[name]
            else:
                self.rest(name, now)

    def rest(self, name: str, now: float) -> None:
        """Leave a name alone: longer than last time if that was lately."""
        last = self.rests.get(name)
        lately = last is not None and now < last.until + FORGET
        pause = min(REST_LONGEST, last.pause * 2) if last and lately else REST_FIRST
        self.rests[name] = _Rest(now + pause, pause)

    def warm(self, name: str, now: float) -> None:
        """A name grew: hot at once where only timers see it, else when it grew just before as well."""
        self.rests.pop(name, None)
        last = self.grown.pop(name, None)
        if name in self.hot or not self.covered or (last is not None and now - last < WARM):
            self.hot[name] = now
        else:
            self.grown[name] = now

    def forget(self, now: float) -> None:
        """Drop what no longer matters, so that names that come and go leave nothing behind."""
        self.grown = {name: at for name, at in self.grown.items() if now - at < WARM}
        self.rests = {name: rest for name, rest in self.rests.items() if now < rest.until + FORGET}


class Cadence:
    """Decides which looks are due when. Times are monotonic seconds; not thread-safe, its owner locks."""

    def __init__(self, scan_interval: float) -> None:
        self.rescans = 0
        """Listings handed out so far."""
        self._interval = scan_interval
        self._sweep = float("-inf")
        self._listing = Beat(min(LISTING, scan_interval), scan_interval, LISTING_SHARE)
        self._growing = Beat(GROWING, GROWING_LONGEST, GROWING_SHARE)
        self._places: dict[str, _Place] = {}

    def manage(self, directories: Collection[str], now: float) -> None:
        """These directories are watched from now on; each new one is listed at once."""
        self._places = {name: self._places.get(name) or _Place(whole=now) for name in directories}

    def cover(self, directories: Collection[str], now: float) -> None:
        """An open watch covers exactly these; what it newly covers is swept now, after it was armed."""
        for name, place in self._places.items():
            if name in directories and not place.covered:
                place.whole = now
            place.covered = name in directories

    @property
    def timed(self) -> bool:
        """True while a timer looks anywhere, because a file is hot or no watch covers its directory."""
        return any(place.timed for place in self._places.values())

    def quiet(self) -> frozenset[str]:
        """The directories without a hot name: a watch on them costs little."""
        return frozenset(name for name, place in self._places.items() if not place.hot)

    def events(self, directory: str, names: Iterable[str], now: float) -> bool:
        """Something happened to these names; True when that asks for looks which were not asked for before."""
        place = self._places.get(directory)
        if place is None:
            return False
        news = [name for name in names if name not in place.hot and name not in place.asked]
        for name in news:
            rest = place.rests.get(name)
            place.asked[name] = max(now, rest.until) if rest else now
        return bool(news)

    def stir(self, directory: str, now: float) -> bool:
        """Something happened that only a listing shows; True as for `events`."""
        place = self._places.get(directory)
        if place is None or place.whole is not None:
            return False
        place.whole = max(now, place.listable)
        return True

    def due(self, now: float) -> list[Look]:
        """The looks to take now; each is handed out once."""
        sweep, listing, growing = self._sweep <= now, self._listing.at <= now, self._growing.at <= now
        if sweep:
            self._sweep = now + self._interval
        if listing:
            self._listing.begin(now)
        if growing:
            self._growing.begin(now)
        looks = []
        for name, place in self._places.items():
            asked = place.whole is not None and place.whole <= now
            found = place.take(now, growing=growing)
            if sweep or asked or (listing and place.timed):
                place.whole = None
                self.rescans += 1
                looks.append(Look(name, None))
            elif found:
                looks.append(Look(name, found))
        return looks

    def next_time(self) -> float | None:
        """When something is due next, unless an event or a report comes before; None with nothing to watch."""
        times = [self._sweep] if self._places else []
        for place in self._places.values():
            times.extend(place.asked.values())
            if place.whole is not None:
                times.append(place.whole)
            if place.timed:
                times.append(self._listing.at)
            if place.hot:
                times.append(self._growing.at)
        return min(times, default=None)

    def report(
        self, look: Look, grew: Collection[str], seconds: float, now: float, soon: Mapping[str, float] | None = None
    ) -> None:
        """Take in what a look found: see `Watcher.report`."""
        place = self._places.get(look.directory)
        if place is None:
            return
        self._pay(place, look, seconds, now)
        place.cool(now, (place.hot.keys() if look.names is None else look.names) - set(grew))
        for name in grew:
            place.warm(name, now)
            after = (soon or {}).get(name, GROWING_LONGEST)
            if after < GROWING_LONGEST:
                place.asked[name] = now + max(SOONEST, after)
        if look.names is None:
            place.forget(now)

    def _pay(self, place: _Place, look: Look, seconds: float, now: float) -> None:
        if look.names is None:
            place.listable = now + seconds / LISTING_SHARE
            if place.timed:
                self._listing.spend(seconds)
        elif place.hot:
            self._growing.spend(seconds)
