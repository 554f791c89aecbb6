"""`python -m agent.rehearsal.leash MODULE ARGUMENT...`: run a module that ends when whoever started it is gone.

The starter holds the other end of standard input and never writes. Its end, however sudden, closes it: so nothing that
was started for a rehearsal is left behind.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading


def _watch() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


def main() -> None:
    """Run the module as the main program."""
    threading.Thread(target=_watch, name="leash", daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
