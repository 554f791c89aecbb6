"""The agent with one fault built in: at SIGUSR2 its main loop is blocked for two minutes.

A handler of Python's runs in the main thread, between two steps of its event loop, and so holds the loop up.
"""

from __future__ import annotations

import signal
import sys
import time

from agent.cli import main

COMMAND = (sys.executable, "-m", "tests.support.stuck", "run")

if __name__ == "__main__":
    signal.signal(signal.SIGUSR2, lambda *_: time.sleep(120))
    sys.exit(main())
