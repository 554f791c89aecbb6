"""`--since 10m`: a span before now on the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from agent.kit.units import Duration


def span(text: str) -> Duration:
    """A duration on the command line; what is none is a usage error."""
    try:
        return Duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Since = Annotated[
    Duration | None,
    typer.Option("--since", metavar="DURATION", parser=span, help="Only what is younger than this, as in 10m or 1h."),
]
