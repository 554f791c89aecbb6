"""When a cron schedule is due next, in the machine's local time.

Local time is asked of the C library (TZ, /etc/localtime), so that the zone is the one `date` and cron use. Around a
change of the clocks the rules are Debian cron's, through cronsim: a run at a fixed hour that does not exist happens
when the clocks have moved, one whose hour comes twice happens once; one with a wildcard follows the clock's face.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
"""The nicknames of crontab(5); cronsim knows none. `@reboot` is no time."""


class LocalZone(tzinfo):
    """The local time zone with its changes of offset, past and future."""

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        """Local time minus UTC at this local time; `fold` decides where a local time comes twice."""
        if dt is None:
            return None
        naive = dt.replace(tzinfo=None)
        return timedelta(seconds=round(naive.replace(tzinfo=UTC).timestamp() - naive.timestamp()))

    def dst(self, dt: datetime | None) -> timedelta | None:  # noqa: ARG002 - tzinfo's signature
        """Nobody here asks how much of the offset is daylight saving."""
        return None

    def tzname(self, dt: datetime | None) -> str | None:  # noqa: ARG002 - tzinfo's signature
        """One zone, whatever its abbreviation is at the time."""
        return "local"

    def fromutc(self, dt: datetime) -> datetime:
        """The local time at the instant that `dt` shows in UTC."""
        return datetime.fromtimestamp(dt.replace(tzinfo=UTC).timestamp()).replace(tzinfo=self)  # noqa: DTZ006 - local is meant


def next_run(schedule: str, after: float) -> float:
    """The first time later than `after` at which `schedule` is due; both are seconds since 1970 UTC.

    `schedule` is five cron fields or one of ALIASES. Raises ValueError when it is neither, or is never due.
    """
    from cronsim import CronSim, CronSimError

    expression = ALIASES.get(schedule.strip().lower(), schedule)
    if expression.startswith("@"):
        raise ValueError(f"{schedule!r} is no schedule; the aliases are {', '.join(ALIASES)}")
    if len(expression.split()) != 5:
        raise ValueError(
            f"{schedule!r} is no schedule; write five cron fields (minute hour day month weekday) or @daily"
        )
    try:
        for run in CronSim(expression, datetime.fromtimestamp(after, LocalZone())):
            # The second passage of an hour that comes twice is answered with the first one, which is over.
            if run.timestamp() > after:
                return run.timestamp()
    except CronSimError as error:
        raise ValueError(f"{schedule!r} is no schedule: {str(error).lower()}") from error
    raise ValueError(f"{schedule!r} is never due")
