"""What clients see while nodes are killed and frozen is explained by some order of operations."""

from __future__ import annotations

import asyncio
import json
import random
import time
from pathlib import Path
from uuid import uuid4

import pytest

from quorate.local.background import BackgroundCluster
from tests.processes.history import Operation, not_linearizable, require_thick
from tests.processes.raw_client import RawClient
from tests.processes.recorder import COUNTERS, NAMES, REGISTERS, Recorder

CLIENTS = 12
SECONDS = 8.0


async def inject_faults(cluster: BackgroundCluster, rng: random.Random, until: float) -> None:
    """Kill or freeze one node after the other; each is back before the next one goes."""
    names = [name for name, one in cluster.processes().items() if one.kind == "node"]
    while time.monotonic() < until:
        await asyncio.sleep(0.5)
        name = rng.choice(names)
        if rng.random() < 0.6:
            await asyncio.to_thread(cluster.kill, name)
            await asyncio.sleep(rng.uniform(0.1, 1.5))
            await asyncio.to_thread(cluster.restart, name)
        else:
            await asyncio.to_thread(cluster.pause, name)
            await asyncio.sleep(rng.uniform(0.2, 1.5))
            await asyncio.to_thread(cluster.resume, name)
        await asyncio.to_thread(cluster.wait_ready)


@pytest.mark.parametrize("seed", [1, 2])
def test_history_under_kills_and_pauses_is_linearizable(
    cluster: BackgroundCluster, seed: int, tmp_path: Path
) -> None:
    """Registers with conditional writes and deletes, and counters; each attempt on its own."""
    run = uuid4().hex

    async def story() -> list[Operation]:
        second = cluster.processes()["r2"].ports["http"]
        async with RawClient(cluster.public.http) as first, RawClient(second) as other:
            recorders = [
                Recorder(first if client % 2 else other, client, run, seed)
                for client in range(CLIENTS)
            ]
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                for recorder in recorders:
                    tasks.create_task(recorder.work(stop))
                await inject_faults(cluster, random.Random(seed), time.monotonic() + SECONDS)
                stop.set()
            for name in NAMES:
                await recorders[0].read_once(name)
        return [operation for recorder in recorders for operation in recorder.history]

    history = asyncio.run(story())

    (tmp_path / "history.json").write_text(json.dumps([repr(each) for each in history], indent=1))
    require_thick(history, ok_min=600, keys_min=REGISTERS + COUNTERS)
    assert not_linearizable(history) == [], f"see {tmp_path / 'history.json'}, seed {seed}"
