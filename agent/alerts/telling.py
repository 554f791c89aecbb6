"""Who must be told what now: it follows from the alerts, and from what each outlet was told before. Pure.

So nothing is queued: what could not be delivered is due again at the next try, in the words that are true then.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from agent.alerts.state import REMEMBERED, Active
from agent.config.alerts import Alert

FORGOTTEN = 86_400.0
"""Seconds after which a resolved alert is forgotten, whoever could not be told."""

Word = Literal["firing", "resolved"]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What an outlet was told of an alert."""

    open: bool = False
    """It was told that the alert fires, and not yet that it is resolved."""
    owed: bool = False
    """It was to be told that the alert fires, but could not be reached."""
    last: float | None = None
    """When it was last told anything, seconds since 1970 UTC."""


NOTHING = Told()


def due_to_people(alert: Active, told: Told, rule: Alert | None, now: float, *, silenced: bool) -> Word | None:
    """What people are to be told: each firing once, with pauses, and each end of what they were told."""
    if alert.state == "resolved":
        return "resolved" if told.open or told.owed else None
    if alert.state != "firing" or silenced or rule is None:
        return None
    # A clock that was set back must not silence anybody.
    passed = None if told.last is None or told.last > now else now - told.last
    if not told.open:
        return "firing" if passed is None or passed >= rule.cooldown else None
    return "firing" if rule.repeat and (passed is None or passed >= rule.repeat) else None


def due_to_alertmanager(alert: Active, told: Told, resend: float, now: float, *, silenced: bool) -> Word | None:
    """What an Alertmanager is to be told: everything, again and again, for it keeps nothing by itself.

    An alert that it knows is kept alive although silenced here: without that it would report a recovery.
    """
    waited = told.last is None or not 0 <= now - told.last < resend
    if alert.state == "firing":
        return "firing" if (waited if told.open else not silenced) else None
    if alert.state == "resolved" and told.last is not None and alert.resolved is not None:
        return "resolved" if told.open or (waited and now - alert.resolved < REMEMBERED) else None
    return None


def after(word: Word, now: float) -> Told:
    """What is known of an outlet that was told."""
    return Told(open=word == "firing", last=now)


def failed(word: Word, told: Told) -> Told:
    """What is known of one that could not be told."""
    return msgspec.structs.replace(told, owed=told.owed or (word == "firing" and not told.open))


def forget(alert: Active, told: Iterable[Told], now: float) -> bool:
    """True for a resolved alert that nobody needs any more."""
    if alert.state != "resolved" or alert.resolved is None:
        return False
    age = now - alert.resolved
    return age >= FORGOTTEN or (age >= REMEMBERED and not any(one.open or one.owed for one in told))
