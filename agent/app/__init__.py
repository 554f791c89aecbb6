"""The running agent: everything is made and wired here, and nowhere else."""

from agent.app.wiring import run

__all__ = ["run"]
