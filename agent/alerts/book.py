"""Everything known about alerts: the rules, what is active, what is silenced, and who was told what.

Invariants: one thread uses it; what `dump` gives brings back, after a restart, what fired, what was told and what is
silenced, so that nobody is told twice and everybody hears of the end. A rule that cannot be evaluated leaves its
alerts as they were, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from agent.alerts import telling
from agent.alerts.message import Message, message
from agent.alerts.outlet import Outlet, Settled
from agent.alerts.rule import Rule
from agent.alerts.state import Active, Change, Key, advance, end, key_of
from agent.alerts.telling import Told, Word
from agent.alerts.vector import EvaluationError, Vector

_MOST = 1000
"""Alerts of one rule; a rule that gives more is an error, not a flood."""


class Silence(msgspec.Struct, frozen=True):
    """A rule whose alerts are told to nobody until then, in seconds since 1970 UTC."""

    until: float
    comment: str = ""


class Saved(msgspec.Struct, frozen=True):
    """What outlives the process."""

    active: list[Active] = []
    silences: dict[str, Silence] = {}
    told: list[tuple[str, str, dict[str, str], Told]] = []
    """By outlet, rule and labels."""


class Book:
    """The state of all alerts."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self.active: dict[Key, Active] = {}
        self.silences: dict[str, Silence] = {}
        self.errors: dict[str, str] = {}
        """By rule: why it could not be evaluated."""
        self.missing: set[str] = set()
        """Metrics that rules name and that the newest scrape did not have."""
        self.resend = 60.0
        self.keep = 240.0
        """Seconds for which an Alertmanager believes what it was told."""
        self._told: dict[Key, dict[str, Told]] = {}
        """By alert, then by outlet."""
        self.dirty = False
        """True while something that outlives the process is not saved."""

    def configure(self, rules: list[Rule], resend: float, interval: float, now: float) -> list[Change]:
        """Other rules; alerts of one that is gone are over. How long an Alertmanager waits is Prometheus' own rule."""
        self.rules = rules
        self.resend, self.keep = resend, 4 * max(resend, interval)
        names = {rule.name for rule in rules}
        self.errors = {name: error for name, error in self.errors.items() if name in names}
        changes = []
        for key, alert in list(self.active.items()):
            if alert.rule not in names and alert.state != "resolved":
                ended = end(alert, now)
                self._replace(key, ended)
                changes += [Change(ended, alert.state)] if ended else []
        return changes

    def evaluate(
        self, value_of: Callable[[Rule], Vector], common: Mapping[str, str], *, now: float, elapsed: float
    ) -> list[Change]:
        """Take every rule's value; what changed."""
        changes: list[Change] = []
        for rule in self.rules:
            known = {key: alert for key, alert in self.active.items() if key[0] == rule.name}
            try:
                vector = value_of(rule)
                if len(vector) > _MOST:
                    raise EvaluationError(f"it gives {len(vector)} alerts, more than {_MOST}; aggregate them")
            except EvaluationError as error:
                self.errors[rule.name] = str(error)
                continue
            self.errors.pop(rule.name, None)
            found, changed = advance(rule, known, vector, common, now=now, elapsed=elapsed)
            for key in known.keys() - found.keys():
                del self.active[key]
            self.active |= found
            changes += changed
        self._forget(now)
        self.dirty = self.dirty or any("firing" in (change.before, change.alert.state) for change in changes)
        return changes

    def _replace(self, key: Key, alert: Active | None) -> None:
        self.dirty = True
        if alert:
            self.active[key] = alert
        else:
            self.active.pop(key, None)

    def _forget(self, now: float) -> None:
        for key, alert in list(self.active.items()):
            if telling.forget(alert, self._told.get(key, {}).values(), now):
                del self.active[key]
                self.dirty = True
        for key, told in list(self._told.items()):
            last = max((one.last or 0.0 for one in told.values()), default=0.0)
            if key not in self.active and now - last >= telling.FORGOTTEN:
                del self._told[key]
        for name, silence in list(self.silences.items()):
            if silence.until <= now:
                del self.silences[name]
                self.dirty = True

    def silence(self, name: str, until: float, comment: str) -> None:
        """Silence a rule until then; a time that has passed ends a silence."""
        self.silences[name] = Silence(until, comment)
        self.dirty = True

    # -- telling

    def due(self, outlet: Outlet, now: float) -> dict[Key, tuple[Word, Message]]:
        """What this outlet is to be told."""
        rules = {rule.name: rule.alert for rule in self.rules}
        found: dict[Key, tuple[Word, Message]] = {}
        for key, alert in self.active.items():
            if outlet.notifier not in alert.notify:
                continue
            told = self._told.get(key, {}).get(outlet.name, telling.NOTHING)
            silenced = alert.rule in self.silences and self.silences[alert.rule].until > now
            if outlet.kind == "alertmanager":
                word = telling.due_to_alertmanager(alert, told, self.resend, now, silenced=silenced)
            else:
                word = telling.due_to_people(alert, told, rules.get(alert.rule), now, silenced=silenced)
            if word:
                found[key] = (word, message(alert, word, alert.labels["severity"], self.keep, now))
        return found

    def settled(self, outlet: Outlet, settled: Settled, now: float) -> None:
        """Note how telling ended."""
        for key in settled.batch.keys:
            told = self._told.setdefault(key, {})
            old = told.get(outlet.name, telling.NOTHING)
            word = settled.batch.word
            new = telling.failed(word, old) if settled.error else telling.after(word, now)
            # An Alertmanager hears the same every minute; that is not worth a write.
            self.dirty = self.dirty or (new.open, new.owed) != (old.open, old.owed) or outlet.kind != "alertmanager"
            told[outlet.name] = new

    # -- what outlives the process

    def dump(self) -> bytes:
        """What `load` takes."""
        told = [
            (outlet, rule, dict(labels), one)
            for (rule, labels), by_outlet in self._told.items()
            for outlet, one in by_outlet.items()
        ]
        active = [alert for alert in self.active.values() if alert.state != "pending"]
        return msgspec.json.encode(Saved(active, self.silences, told))

    def load(self, content: bytes) -> None:
        """Go on where another process ended. Raises msgspec.DecodeError."""
        saved = msgspec.json.decode(content, type=Saved)
        self.active = {key_of(alert): alert for alert in saved.active}
        self.silences = dict(saved.silences)
        self._told = {}
        for outlet, rule, labels, told in saved.told:
            self._told.setdefault((rule, tuple(sorted(labels.items()))), {})[outlet] = told
