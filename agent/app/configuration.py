"""The configuration in force, and how another one takes its place while the agent runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from zlib import crc32

from agent.config import Config, Loaded, changed, extras, needs_restart
from agent.control import Reloaded
from agent.kit import log
from agent.kit.clock import Clock
from agent.kit.errors import AgentError
from agent.kit.notify import Notifier
from agent.metrics import Metrics
from agent.web.messages import ConfigKey

_log = log.get("agent")


@dataclass
class Configuration:
    """What is in force, and who takes part when that changes."""

    loaded: Loaded
    metrics: Metrics
    clock: Clock
    notifier: Notifier
    prepare: list[Callable[[Config], Callable[[], None]]] = field(default_factory=list)
    """Each makes what a configuration asks for, or raises AgentError, and gives what takes it into force."""

    def again(self) -> tuple[Config, Reloaded]:
        """Read the same sources once more; a bad file keeps what is in force and says why."""
        self.notifier.reloading()
        try:
            return self._again()
        finally:
            self.notifier.reloaded()

    def _again(self) -> tuple[Config, Reloaded]:
        old = self.loaded
        self.metrics.config_reloads.inc()
        try:
            new = old.again(os.environ)
            extras.require(new)
            prepared = [prepare(new.config) for prepare in self.prepare]
        except AgentError as error:
            self.metrics.config_reload_failures.inc()
            self.metrics.config_last_reload_successful.set(0)
            _log.error("the new configuration is wrong, the old one stays in force", error=error)
            return old.config, Reloaded(ok=False, message=str(error))
        keys = changed(old.config, new.config)
        restart = [key for key in keys if needs_restart(key)]
        self.loaded = new
        for take_into_force in prepared:
            take_into_force()
        self.accepted()
        _log.info("configuration read again", changed=keys, restart_needed=restart)
        return new.config, Reloaded(ok=True, changed=keys, restart_needed=restart)

    def accepted(self) -> None:
        """Tell the metrics that a configuration is in force."""
        self.metrics.config_last_reload_successful.set(1)
        self.metrics.config_last_reload_success_timestamp_seconds.set(self.clock.now())
        self.metrics.config_hash.set(_hash(self.loaded.config))

    def shown(self) -> list[ConfigKey]:
        """Every key with its value and where that is from, secrets hidden."""
        from agent.config.render import effective

        return [ConfigKey(*row) for row in effective(self.loaded)]

    def without_secrets(self, lines: Iterable[str]) -> list[str]:
        """The lines, with nothing in them that the configuration keeps secret."""
        from agent.config.secrets import secret_texts
        from agent.sinks.hiding import Hider

        hide = Hider(secret_texts(self.loaded.config), os.environ)
        return [hide(line) for line in lines]


def _hash(config: Config) -> int:
    """A number that differs between configurations, the same in every process."""
    return crc32(repr(config).encode())
