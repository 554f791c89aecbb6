"""What one pass over all collectors found. A value: a scrape reads it and nothing changes it."""

from __future__ import annotations

import msgspec

from agent.system.family import Family
from agent.system.reading import Scope


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How one collector fared."""

    name: str
    scope: Scope
    ok: bool
    seconds: float
    """Its run time; for one that hangs, how long it has been running."""
    source: str = ""
    error: str = ""
    families: tuple[Family, ...] = ()


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The newest numbers. A collector that failed has none here: old ones are never shown as new."""

    at: float | None = None
    """Wall time of the pass; None before the first."""
    families: tuple[Family, ...] = ()
    reports: tuple[Report, ...] = ()

    def value(self, name: str, *labels: str) -> float | None:
        """The sample of family `name` with these label values; None where there is none."""
        for family in self.families:
            if family.name == name:
                return next((value for values, value in family.samples if values == labels), None)
        return None

    def sources(self) -> dict[str, dict[str, str]]:
        """For each collector its scope (host or container) and which source it used, or what is wrong; JSON-ready."""
        return {
            report.name: {"scope": report.scope, "source": report.source, "error": report.error}
            for report in self.reports
        }
