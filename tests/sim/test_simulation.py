"""S96, the whole cluster: random schedules and faults; what must hold, holds, and it recovers.

QUORATE_SIM_SEEDS=10000 runs more seeds, QUORATE_SIM_SEED=42 starts at another one; all of it, with
the story of a failure, is also `python -m tests.sim`.
"""

import os
from collections import Counter

import pytest

from node.host import Host
from tests.sim.runs import find
from tests.sim.world import SimulationFailed, run_seed, without_collector

SEED_FIRST = int(os.environ.get("QUORATE_SIM_SEED", "0"))
SEED_COUNT = int(os.environ.get("QUORATE_SIM_SEEDS", "500"))
BATCH = 25

PLANTED = {
    "ack_before_sync": 5,
    "read_without_proof": 20,
    "no_dedupe": 20,
    "node_without_a_catalog_keeps_its_watchers": 20,
}
"""Plants that fall quickly, and within how many seeds. All: `make sim-plants`."""

THIN = 150
"""A batch with fewer known operations a seed proves nothing."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(SEED_FIRST, SEED_FIRST + SEED_COUNT, BATCH))
def test_cluster_keeps_its_promises_whatever_chance_does(first: int) -> None:
    """Invariants after every event, linearizable keys, exactly once, and all well in the end."""
    total: Counter[str] = Counter()
    seeds = range(first, min(first + BATCH, SEED_FIRST + SEED_COUNT))

    with without_collector():
        for seed in seeds:
            total += run_seed(seed).counts

    assert total["known"] >= THIN * len(seeds)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("plant", PLANTED)
def test_planted_bug_is_found(plant: str) -> None:
    """A harness that finds nothing proves nothing."""
    assert find(plant, PLANTED[plant]) is not None


def test_seed_replays_exactly() -> None:
    """Same seed, same story: or a failure could not be looked at twice."""
    first, second = run_seed(3, recording=True), run_seed(3, recording=True)

    assert first.counts == second.counts
    assert first.schedule.read_story() == second.schedule.read_story()
    assert first.counts == run_seed(3).counts


def test_refusal_of_a_second_leader_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    tick = Host.tick

    def refusing(self: Host, count: int) -> None:
        for replica in self.replicas.values():
            replica.core.second_leaders_refused += 1
        tick(self, count)

    monkeypatch.setattr(Host, "tick", refusing)

    with pytest.raises(SimulationFailed, match="refuses a second leader"):
        run_seed(0)
