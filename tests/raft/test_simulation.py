"""S96, the core's part: random schedules, faults and crashes; what must hold, holds.

QUORATE_RAFT_SEEDS=10000 runs more seeds, QUORATE_RAFT_SEED=42 starts at another one.
"""

import os

import pytest

from tests.raft.simulation import run_seed

SEED_FIRST = int(os.environ.get("QUORATE_RAFT_SEED", "0"))
SEED_COUNT = int(os.environ.get("QUORATE_RAFT_SEEDS", "200"))
BATCH = 20


@pytest.mark.parametrize("first", range(SEED_FIRST, SEED_FIRST + SEED_COUNT, BATCH))
def test_group_agrees_whatever_chance_does(first: int) -> None:
    """Election safety, log matching, leader completeness, durable commits, linearizable reads."""
    for seed in range(first, min(first + BATCH, SEED_FIRST + SEED_COUNT)):
        counts = run_seed(seed)

        assert counts["commit"] > 0


def test_seed_replays_exactly() -> None:
    """Same seed, same run: or a failure could not be looked at twice."""
    assert run_seed(7) == run_seed(7)
