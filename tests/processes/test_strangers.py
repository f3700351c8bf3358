"""One stranger attacks a router from an address of its own; others notice little.

While each attack goes on a client puts over HTTP, one over gRPC, and a probe asks for /health: none
of them is refused, and the router's memory stays within bounds. How long puts take beside each is
measured by `python -m bench.strangers`; here the median alone has a bound: the machine may be busy.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from bench.attacks import ATTACKS
from bench.strangers import ATTACKED, TABLE, Others, attacking
from bench.tables import create_table, on_demand
from quorate.local.background import BackgroundCluster

SECONDS = 2.5
MEDIAN_SECONDS_MAX = 0.25
MEMORY_MIB_MAX = 600
PUTS_MIN = 5


Scene = tuple[BackgroundCluster, Others]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    cluster = BackgroundCluster(tmp_path_factory.mktemp("strangers") / "data", partitions=3)
    with cluster:
        for table in (TABLE, ATTACKED):
            create_table(cluster, table, on_demand())
        with Others(cluster) as others:
            yield cluster, others


@pytest.mark.parametrize("name", ATTACKS)
def test_stranger_stops_nobody(scene: Scene, name: str) -> None:
    cluster, others = scene
    with attacking(cluster, name):
        others.begin(name)
        time.sleep(SECONDS)
    others.begin("")

    for who in ("http", "grpc", "probe"):
        seen = others.seen[name, who]
        assert seen.refused == 0, who
        assert len(seen.seconds) >= PUTS_MIN, who
        assert seen.p50_ms < 1000 * MEDIAN_SECONDS_MAX, who
    assert others.memory_bytes[name] >> 20 < MEMORY_MIB_MAX
