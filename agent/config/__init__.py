"""The configuration: its schema, and how it comes together from file, environment and command line.

Values are typed and checked when `load` returns; nothing of it changes afterwards. Rendering is apart, in
`agent.config.render`: only commands need it.
"""

from agent.config.forward import Forward, SignalRule
from agent.config.loader import Loaded, load, require_directory
from agent.config.match import FOREIGN_ARCHIVES
from agent.config.reload import changed
from agent.config.rules import Retention, Rotation
from agent.config.schema import (
    PROFILES,
    RESTART_KEYS,
    STATE_DIRECTORY,
    AgentSection,
    Config,
    Files,
    Health,
    StreamRule,
    System,
    Web,
    needs_restart,
)

__all__ = [
    "FOREIGN_ARCHIVES",
    "PROFILES",
    "RESTART_KEYS",
    "STATE_DIRECTORY",
    "AgentSection",
    "Config",
    "Files",
    "Forward",
    "Health",
    "Loaded",
    "Retention",
    "Rotation",
    "SignalRule",
    "StreamRule",
    "System",
    "Web",
    "changed",
    "load",
    "needs_restart",
    "require_directory",
]
