"""Many seeds, one after the other or in several processes."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

from tests.sim.plants import planted
from tests.sim.world import STEPS, SimulationFailed, run_seed, without_collector

SHARE = 10
"""Seeds that a process takes at a time."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a failing seed has to say, in a form that passes between processes."""

    finding: str
    story: str
    trace: str


Outcome = Counter[str] | Found
"""What happened how often; or what was found."""


def run_many(
    seeds: Sequence[int],
    steps: int,
    *,
    plant: str | None = None,
    clients_only: bool = False,
    jobs: int = 1,
) -> Iterator[tuple[int, Outcome]]:
    """Yield (seed, outcome) in order. Whoever stops listening stops the runs."""
    run = partial(_run_share, steps=steps, plant=plant, clients_only=clients_only)
    if jobs == 1:
        with without_collector():
            for seed in seeds:
                yield from run([seed])
        return
    shares = [seeds[first : first + SHARE] for first in range(0, len(seeds), SHARE)]
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        for outcomes in pool.map(run, shares):
            yield from outcomes
    finally:
        pool.shutdown(cancel_futures=True)


def _run_share(
    seeds: Sequence[int], *, steps: int, plant: str | None, clients_only: bool
) -> list[tuple[int, Outcome]]:
    outcomes: list[tuple[int, Outcome]] = []
    with planted(plant), without_collector():
        for seed in seeds:
            try:
                outcomes.append((seed, run_seed(seed, steps, clients_only=clients_only).counts))
            except SimulationFailed as failure:
                trace = "".join(traceback.format_exception(failure.__cause__))
                outcomes.append((seed, Found(failure.finding, str(failure), trace)))
    return outcomes


def find(
    plant: str, runs: int, *, clients_only: bool = False, jobs: int = 1
) -> tuple[int, str] | None:
    """Return the first seed that finds a plant, and by what."""
    for seed, outcome in run_many(
        range(runs), STEPS, plant=plant, clients_only=clients_only, jobs=jobs
    ):
        if isinstance(outcome, Found):
            return seed, outcome.finding
    return None
