"""`python -m tests.sim --seed N [--runs K] [--steps S] [--plant NAME]`."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter

from tests.sim.plants import PLANTS, planted
from tests.sim.world import STEPS, SimulationFailed, run_seed


def main() -> int:
    """Run seeds until one fails; print its story."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--runs", type=int, default=1, help="how many seeds")
    parser.add_argument("--steps", type=int, default=STEPS, help="events before all is healed")
    parser.add_argument("--plant", choices=sorted(PLANTS), help="a bug to plant")
    parser.add_argument("--go-on", action="store_true", help="list failing seeds, stop at none")
    arguments = parser.parse_args()
    total: Counter[str] = Counter()
    failed = []
    started = time.perf_counter()
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        try:
            with planted(arguments.plant):
                total += run_seed(seed, arguments.steps).counts
        except SimulationFailed as failure:
            if not arguments.go_on:
                cause = failure.__cause__
                print("".join(traceback.format_exception(cause)) if cause else "")
                print(failure)
                return 1
            failed.append(seed)
            print(f"seed {seed}: {failure.finding.splitlines()[0]}", flush=True)
    seconds = time.perf_counter() - started
    print(f"{arguments.runs} seeds in {seconds:.1f} s ({arguments.runs / seconds:.1f} a second)")
    print(" ".join(f"{name}={count}" for name, count in sorted(total.items())))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
