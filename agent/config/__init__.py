"""The configuration: its schema, and how it comes together from file, environment and command line.

Values are typed and checked when `load` returns; nothing of it changes afterwards. Rendering is apart, in
`agent.config.render`: only commands need it.
"""

from agent.config.loader import Loaded, load, require_directory
from agent.config.match import FOREIGN_ARCHIVES
from agent.config.reload import changed
from agent.config.schema import (
    PROFILES,
    RESTART_KEYS,
    STATE_DIRECTORY,
    AgentSection,
    Config,
    Files,
    Health,
    Retention,
    Rotation,
    StreamRule,
    System,
    Web,
)

__all__ = [
    "FOREIGN_ARCHIVES",
    "PROFILES",
    "RESTART_KEYS",
    "STATE_DIRECTORY",
    "AgentSection",
    "Config",
    "Files",
    "Health",
    "Loaded",
    "Retention",
    "Rotation",
    "StreamRule",
    "System",
    "Web",
    "changed",
    "load",
    "require_directory",
]
