"""A new cluster gets healthy in whatever order its processes are started, with spare nodes or not.

`python -m bench.cold_starts` does this a hundred times, and says how long it takes.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from quorate.local.cold_start import ColdStart

SECONDS_MAX = 90.0
"""Much above what it takes: ten processes start on two busy cores."""


@pytest.mark.parametrize(
    ("nodes_per_az", "partitions"), [(1, 12), (2, 12), (2, 100), (3, 12), (3, 30)]
)
def test_a_new_cluster_gets_healthy_in_whatever_order_its_processes_start(
    nodes_per_az: int, partitions: int, tmp_path: Path
) -> None:
    seed = secrets.randbelow(1 << 32)  # a failure tells it
    start = ColdStart(
        tmp_path / "cluster", nodes_per_az=nodes_per_az, partitions=partitions, seed=seed
    )
    with start:
        start.wait_healthy(timeout_seconds=SECONDS_MAX)
