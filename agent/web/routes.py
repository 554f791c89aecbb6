"""Which path is answered by whom, on TCP and on the local socket."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp

from agent.control import Alerting, Delivery
from agent.kit.clock import Clock
from agent.kit.errors import AgentError
from agent.metrics import Metrics
from agent.web.alerting import Alerts
from agent.web.commands import Commands, on_error
from agent.web.deliveries import Deliveries
from agent.web.observe import Observed
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


def changing(commands: Commands) -> list[Route]:
    """What only the owner of the state directory may ask for."""
    return [
        Route("/rotate", commands.rotate, methods=["POST"]),
        Route("/cleanup", commands.cleanup, methods=["POST"]),
        Route("/reload", commands.reload, methods=["POST"]),
    ]


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


def application(routes: list[Route], metrics: Metrics, clock: Clock) -> ASGIApp:
    """The application that serves `routes`."""
    app = Starlette(routes=routes, exception_handlers={AgentError: on_error})
    app.router.redirect_slashes = False  # a redirect would repeat the Host header that a client made up
    return Observed(app, metrics, clock, [route.path for route in routes])
