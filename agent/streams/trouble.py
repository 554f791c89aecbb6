"""What goes wrong beside any one stream: told once, until it is over, and once more then."""

from __future__ import annotations

from dataclasses import dataclass

from agent.audit import Audit
from agent.kit import log
from agent.kit.errors import printable

_log = log.get("engine")


@dataclass(slots=True)
class Trouble:
    """One kind of it. `what` says what is wrong and what follows from it, `over` that it is so no longer."""

    what: str
    over: str
    why: str = ""
    """The error with which it began; empty while there is none."""

    def begins(self, audit: Audit, error: OSError) -> None:
        """Something failed."""
        if not self.why:
            self.why = printable(str(error))
            audit.write("error", reason=self.what, why=self.why)
            _log.error(self.what, error=error)

    def ends(self, audit: Audit) -> None:
        """Nothing that failed is left to be done."""
        if self.why:
            audit.write("recovered", reason=self.over, why=self.why)
            _log.info(self.over)
            self.why = ""
