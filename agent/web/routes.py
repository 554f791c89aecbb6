"""Which path is answered by whom, on TCP and on the local socket."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp

from agent.control import Alerting, Control, Delivery
from agent.control.drills import Drills
from agent.kit.clock import Clock
from agent.kit.errors import AgentError
from agent.metrics import Metrics
from agent.web.alerting import Alerts
from agent.web.commands import Commands, on_error, on_error_told_to_anybody
from agent.web.deliveries import Deliveries
from agent.web.doors import Doors
from agent.web.guard import Guarded
from agent.web.inside import Inner
from agent.web.observe import Observed
from agent.web.probes import Probes
from agent.web.views import Views


def readable(views: Views) -> list[Route]:
    """What anybody who reaches the port may see."""
    return [
        Route("/", views.page),
        Route("/metrics", views.metrics),
        Route("/livez", views.livez),
        Route("/readyz", views.readyz),
        Route("/startupz", views.startupz),
        Route("/health", views.health),
        Route("/api/v1/status", views.status),
        Route("/api/v1/streams", views.streams),
        Route("/api/v1/segments", views.segments),
        Route("/api/v1/checks", views.checks),
        Route("/api/v1/alerts", views.alerts),
        Route("/api/v1/config", views.config),
        Route("/openapi.json", views.description),
    ]


def changing(commands: Commands, prefix: str = "") -> list[Route]:
    """What only the owner of the state directory may ask for, or below `prefix` the bearer of the admin token."""
    return [
        Route(f"{prefix}/rotate", commands.rotate, methods=["POST"]),
        Route(f"{prefix}/cleanup", commands.cleanup, methods=["POST"]),
        Route(f"{prefix}/reload", commands.reload, methods=["POST"]),
    ]


def telling(inner: Inner) -> list[Route]:
    """What a support bundle is made of; for the owner of the state directory."""
    return [Route("/inside", inner.look)]


def delivering(delivery: Delivery | None) -> list[Route]:
    """What may be asked about delivery, where there is any; for the owner of the state directory too."""
    if delivery is None:
        return []
    asked = Deliveries(delivery)
    return [
        Route("/cursors", asked.cursors),
        Route("/cursors/reset", asked.reset, methods=["POST"]),
        Route("/dead-letters/drop", asked.drop, methods=["POST"]),
        Route("/dead-letters/replay", asked.replay, methods=["POST"]),
    ]


def alerting(asked: Alerting | None) -> list[Route]:
    """What may be done about alerts, for the owner of the state directory."""
    if asked is None:
        return []
    alerts = Alerts(asked)
    return [
        Route("/alerts/test", alerts.test, methods=["POST"]),
        Route("/alerts/silence", alerts.silence, methods=["POST"]),
    ]


def practising(drills: Drills | None, control: Control, probes: Probes) -> list[Route]:
    """The pages for tests, where the configuration has them."""
    if drills is None:
        return []
    from agent.web.rehearsals import Rehearsals

    tests = Rehearsals(drills, control, probes)
    return [
        Route("/telemetry-test/health", tests.health),
        Route("/telemetry-test/metrics", tests.metrics),
        Route("/telemetry-test/tests", tests.all),
        Route("/telemetry-test/test/start", tests.start, methods=["POST"]),
        Route("/telemetry-test/test/{test_id}", tests.one),
        Route("/telemetry-test/generate-loads", tests.generate, methods=["POST"]),
        Route("/telemetry-test/simulate/collector-failure", tests.fail_collector, methods=["POST"]),
    ]


def application(
    routes: list[Route], metrics: Metrics, clock: Clock, *, doors: Doors | None = None, admin: Sequence[str] = ()
) -> ASGIApp:
    """The application that serves `routes`; by `doors` where it is for anybody, `admin` being paths for few."""
    app = Starlette(routes=routes, exception_handlers={AgentError: on_error_told_to_anybody if doors else on_error})
    app.router.redirect_slashes = False  # a redirect would repeat the Host header that a client made up
    guarded = Guarded(app, doors, admin, clock, metrics) if doors else app
    return Observed(guarded, metrics, clock, [route.path for route in routes])
