"""Whatever chance does: acknowledged is durable, ids count once, replicas are equal.

QUORATE_NODE_SEEDS=1000 runs more seeds, QUORATE_NODE_SEED=42 starts at another one.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from node import checkpoints, host
from node.storage import log
from raft.types import RaftConfig
from tests.node.random_run import run_seed

SEED_FIRST = int(os.environ.get("QUORATE_NODE_SEED", "0"))
SEED_COUNT = int(os.environ.get("QUORATE_NODE_SEEDS", "30"))


@pytest.fixture(autouse=True)
def _small_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut logs early, so that snapshots are needed."""
    monkeypatch.setattr(checkpoints, "LOG_BYTES_MAX", 4_000)
    monkeypatch.setattr(log, "DELETE_SLICE", 2)
    monkeypatch.setattr(log, "HEAD_INTERVAL_COMMITS", 4)
    monkeypatch.setattr(host, "RaftConfig", partial(RaftConfig, cache_bytes_max=500))


@pytest.mark.parametrize("seed", range(SEED_FIRST, SEED_FIRST + SEED_COUNT))
def test_writes_add_up_whatever_chance_does(directory: Path, seed: int) -> None:
    """Oracle: a dumb model of what the clients were told."""
    counts = run_seed(directory, seed)

    assert counts["OK"] > 0
