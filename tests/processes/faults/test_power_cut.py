"""Power fails under load: what a sync has promised is there, and a sync that lies is caught.

Source: reliability.md, 2.2 (G1) and rows P7, D5, D13.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from node.storage.check import check_data_directory
from node.storage.errors import StorageError
from quorate import Client
from tests.processes.conftest import TABLE
from tests.processes.faults.clusters import NODES, FaultyCluster, faulty_cluster
from tests.processes.faults.disk_shim import FOR_GOOD, Act, DiskShim, environment
from tests.processes.faults.loop_disk import LoopDisk
from tests.processes.faults.store_writer import KINDS, durable
from tests.processes.faults.stories import GROUPS, WRITERS
from tests.processes.raw_client import RawClient
from tests.processes.writing import lost, writing

REPOSITORY = Path(__file__).parents[3]
SECONDS_OF_LOAD = 1.5
WRITES_BEFORE = 100


@pytest.fixture
def disk(loop_disks: None, tmp_path: Path) -> Iterator[LoopDisk]:
    disk = LoopDisk(tmp_path / "image", tmp_path.resolve() / "disk", size_mib=64)
    yield disk
    disk.close()


def said_before_the_cut(kind: str, disk: LoopDisk, shim: DiskShim, library: Path) -> int:
    """Let a store write for a while, cut the power, and return the last write it had promised.

    What the shim was told to do begins after the first writes: the store was made honestly.
    """
    command = [sys.executable, "-m", "tests.processes.faults.store_writer"]
    with subprocess.Popen(
        [*command, kind, str(disk.mount_point)],
        cwd=REPOSITORY,
        env=os.environ | environment(library, {"": shim}),
        stdout=subprocess.PIPE,  # on stderr it ends with the traceback of an I/O error
        text=True,
    ) as process:
        assert process.stdout is not None
        said = 0
        while said < WRITES_BEFORE:
            said = int(process.stdout.readline())
        time.sleep(random.Random(kind).uniform(0.1, 0.3))  # the cut comes at any point of a write
        disk.cut_power()
        for line in process.stdout:  # to its end: the next write fails
            said = int(line)
    return said


@pytest.mark.parametrize("kind", KINDS)
def test_store_keeps_through_a_power_cut_what_it_said_was_durable(
    disk: LoopDisk, shim_library: Path, tmp_path: Path, kind: str
) -> None:
    shim = DiskShim(disk.mount_point, tmp_path / "control")

    said = said_before_the_cut(kind, disk, shim, shim_library)
    disk.power_on()

    assert said >= WRITES_BEFORE
    assert durable(kind, disk.mount_point) >= said


@pytest.mark.parametrize("kind", KINDS)
def test_store_on_a_disk_that_lies_about_syncs_is_caught(
    disk: LoopDisk, shim_library: Path, tmp_path: Path, kind: str
) -> None:
    """The negative control: without syncs the test above would fail."""
    shim = DiskShim(disk.mount_point, tmp_path / "control")
    shim.arm(Act.LIE, at=20, last=FOR_GOOD)  # the store itself is made before

    said = said_before_the_cut(kind, disk, shim, shim_library)
    disk.power_on()

    try:
        found = durable(kind, disk.mount_point)
    except StorageError:
        found = 0
    assert found < said


@pytest.fixture
def faulty(shim_library: Path, loop_disks: None, tmp_path: Path) -> Iterator[FaultyCluster]:
    with faulty_cluster(tmp_path, shim_library, on_disks=True) as faulty:
        yield faulty


async def cut_all_under_load(faulty: FaultyCluster, *, lying: bool) -> tuple[int, list[str]]:
    """Cut all three at once; return the count of acknowledged writes, and which are lost."""
    cluster = faulty.cluster

    def cut() -> None:
        with ThreadPoolExecutor(len(NODES)) as threads:
            for disk in faulty.disks.values():
                threads.submit(disk.cut_power).add_done_callback(lambda done: done.result())
        for name in NODES:
            faulty.kill(name)

    def restart() -> None:
        for name in NODES:
            faulty.shims[name].disarm()
            faulty.disks[name].power_on()
            found = check_data_directory(faulty.node_directory(name)).findings
            assert found == [], name
            cluster.restart(name)
        cluster.wait_ready()

    async with (
        RawClient(cluster.public.http) as raw,
        Client(cluster.grpc_address, deadline_seconds=20.0) as client,
    ):
        for shim in faulty.shims.values():
            if lying:
                shim.arm(Act.LIE, last=FOR_GOOD)
        async with writing(
            raw, TABLE, prefix=uuid4().hex, partition_keys=GROUPS, writers=WRITERS
        ) as account:
            await asyncio.sleep(SECONDS_OF_LOAD)
            await asyncio.to_thread(cut)
            acknowledged = len(account.acknowledged)
            started = time.monotonic()
            await asyncio.to_thread(restart)
            seconds = time.monotonic() - started
        assert seconds < 10, "serving within 10 s of the last start"
        return acknowledged, await lost(client, TABLE, account)


def test_all_nodes_cut_off_from_power_at_once_lose_nothing_acknowledged(
    faulty: FaultyCluster,
) -> None:
    acknowledged, gone = asyncio.run(cut_all_under_load(faulty, lying=False))

    assert acknowledged > 200, "thin"
    assert gone == []
    faulty.heal()


def test_all_nodes_on_disks_that_lie_about_syncs_are_caught(faulty: FaultyCluster) -> None:
    """The negative control: a loss of acknowledged writes does show in the test above."""
    acknowledged, gone = asyncio.run(cut_all_under_load(faulty, lying=True))

    assert acknowledged > 200, "thin"
    assert len(gone) > acknowledged / 2
