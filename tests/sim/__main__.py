"""`python -m tests.sim --seed N [--runs K] [--steps S] [--plant NAME] [--jobs J]`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.sim.plants import PLANTS
from tests.sim.runs import Found, run_many
from tests.sim.world import STEPS


def main() -> int:
    """Run seeds until one fails; print its story."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--runs", type=int, default=1, help="how many seeds")
    parser.add_argument("--steps", type=int, default=STEPS, help="events before all is healed")
    parser.add_argument("--plant", choices=sorted(PLANTS), help="a bug to plant")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--go-on", action="store_true", help="list failing seeds, stop at none")
    arguments = parser.parse_args()
    total: Counter[str] = Counter()
    failures = 0
    started = time.perf_counter()
    for seed, outcome in run_many(
        range(arguments.seed, arguments.seed + arguments.runs),
        arguments.steps,
        plant=arguments.plant,
        jobs=arguments.jobs,
    ):
        if not isinstance(outcome, Found):
            total += outcome
            continue
        failures += 1
        if not arguments.go_on:
            print(outcome.trace)
            print(outcome.story)
            return 1
        print(f"seed {seed}: {outcome.finding.splitlines()[0]}", flush=True)
    seconds = time.perf_counter() - started
    print(f"{arguments.runs} seeds in {seconds:.1f} s ({arguments.runs / seconds:.1f} a second)")
    print(" ".join(f"{name}={count}" for name, count in sorted(total.items())))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
