"""What the loops do, told to metrics, components and whoever started the agent."""

from __future__ import annotations

from collections.abc import Callable

from agent.components import Components
from agent.kit.errors import AgentError
from agent.metrics import Metrics


class StepObserver:
    """Hears of each step of each duty; `told` is called after one that succeeded."""

    def __init__(self, metrics: Metrics, components: Components, told: Callable[[], None]) -> None:
        self._metrics = metrics
        self._components = components
        self._told = told

    def stepped(self, name: str, seconds: float) -> None:
        """A step succeeded."""
        self._metrics.duty_steps.labels(name).inc()
        self._metrics.duty_step_seconds.labels(name).inc(seconds)
        self._components.succeeded(name)
        self._told()

    def failed(self, name: str, error: Exception, failures: int, retry: float) -> None:
        """A step failed."""
        self._metrics.duty_failures.labels(name).inc()
        hint = error.hint if isinstance(error, AgentError) else ""
        self._components.report(name, "degraded", f"{error} ({failures} in a row, next try in {retry:g} s)", hint)

    def recovered(self, name: str, failures: int) -> None:
        """A step succeeded after failures."""
        self._components.report(name, "ok", f"works again after {failures} failures")
