"""Action lists of so many seeds: `python -m tests.model FIRST COUNT [--shrink]`.

Prints each seed whose list ended wrong, shrunk where that is asked for, and how often the agent was killed where.
Several processes share a long run by ranges of their own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.model.sequences import MEMORY, Tally, fails, make, shrink


def main() -> int:
    """Run them; 1 when one ended wrong."""
    parser = argparse.ArgumentParser(prog="tests.model", description=__doc__)
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--shrink", action="store_true")
    options = parser.parse_args()
    tally, wrong = Tally(), 0
    with tempfile.TemporaryDirectory(dir=MEMORY) as home:
        for seed in range(options.first, options.first + options.count):
            if found := fails(make(seed), Path(home), tally):
                wrong += 1
                shown = shrink(make(seed), Path(home)) if options.shrink else ""
                sys.stdout.write(f"seed {seed}: {'; '.join(found)} {shown}\n")
                sys.stdout.flush()
    last = options.first + options.count - 1
    sys.stdout.write(f"seeds {options.first} to {last}: {wrong} ended wrong; {tally.report()}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
