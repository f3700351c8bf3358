"""`python -m tests.sim.plants [--runs K] [--jobs J] [--clients-only] [NAME ...]`.

Shows which seed found which plant, and by what.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.sim.plants import PLANTS
from tests.sim.runs import find

RUNS = 2_000
"""A plant must be found within so many seeds."""


def main() -> int:
    """Look for every plant; return how many were not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.plants", description=__doc__)
    parser.add_argument("names", nargs="*", help="plants; all if none is given")
    parser.add_argument("--runs", type=int, default=RUNS, help="most seeds for each")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument(
        "--clients-only", action="store_true", help="by what clients see, without the invariants"
    )
    arguments = parser.parse_args()
    missed = 0
    for name in arguments.names or PLANTS:
        started = time.perf_counter()
        found = find(name, arguments.runs, clients_only=arguments.clients_only, jobs=arguments.jobs)
        seconds = time.perf_counter() - started
        if found is None:
            missed += 1
            print(f"{name:38} NOT FOUND in {arguments.runs} seeds ({seconds:.1f} s)", flush=True)
        else:
            seed, finding = found
            line = f"{name:38} found by seed {seed:4} {seconds:6.1f} s  {finding.splitlines()[0]}"
            print(line[:180], flush=True)
    return missed


if __name__ == "__main__":
    sys.exit(main())
