"""A bit flips in what a running node has stored: it is found before it is served, or soon.

Source: reliability.md, D7 and 5.1.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate import Client
from quorate.local.background import wait_until
from tests.processes.conftest import TABLE
from tests.processes.faults.clusters import NODES, FaultyCluster, faulty_cluster

KEY = {"group": "rot", "id": "x"}
VALUE = "what was written and what must be read"
WHAT_TO_DO = "These replicas must not be served. Keep the directory for analysis"


@pytest.fixture
def faulty(shim_library: Path, tmp_path: Path) -> Iterator[FaultyCluster]:
    with faulty_cluster(tmp_path, shim_library, part="items") as faulty:
        yield faulty


def flip_value(faulty: FaultyCluster, name: str) -> bool:
    """Flip a bit of the value wherever it lies in a node's items; return whether it was there."""
    path = faulty.node_directory(name) / "items" / "data.mdb"
    content = path.read_bytes()
    at = content.find(VALUE.encode())
    found = at >= 0
    with path.open("r+b") as file:
        while at >= 0:
            file.seek(at + 5)
            file.write(bytes([content[at + 5] ^ 1]))
            at = content.find(VALUE.encode(), at + 1)
    return found


async def write_into_the_tree(faulty: FaultyCluster, client: Client) -> None:
    """Return when all three have the value in their items, and no longer in memory."""
    syncs = {name: shim.syncs for name, shim in faulty.shims.items()}
    await client.put_item(TABLE, {**KEY, "value": VALUE})
    for name, shim in faulty.shims.items():
        # A checkpoint is three syncs; the second one began after the write.
        await asyncio.to_thread(
            wait_until,
            lambda shim=shim, before=syncs[name]: shim.syncs >= before + 4,  # type: ignore[misc]
            what=f"{name} has made two checkpoints",
            timeout_seconds=20,
        )


async def keep_writing(client: Client) -> None:
    """So that there are checkpoints."""
    number = 0
    while True:
        number += 1
        await client.put_item(TABLE, {"group": f"other-{number % 50}", "id": "x", "value": number})
        await asyncio.sleep(0.05)


def assert_ended_saying_what_to_do(faulty: FaultyCluster, name: str) -> None:
    assert faulty.cluster.wait_ended(name) == "ended with exit code 3"
    (line,) = [each for each in faulty.node_log(name).splitlines() if WHAT_TO_DO in each]
    assert "checksum" in line


def test_flipped_bit_is_found_by_a_read_or_else_at_the_next_start_and_is_never_served(
    faulty: FaultyCluster,
) -> None:
    """On the leader, which is asked for it; then on a node that nobody asks, while it is down."""
    cluster = faulty.cluster

    async def story() -> None:
        async with Client(cluster.grpc_address, deadline_seconds=10.0) as client:
            writing = asyncio.ensure_future(keep_writing(client))  # noqa: TID251 - ended below
            await write_into_the_tree(faulty, client)
            writing.cancel()
            leader = await asyncio.to_thread(cluster.leader_of, TABLE, {"S": KEY["group"]})
            assert flip_value(faulty, leader)

            item = await client.get_item(TABLE, KEY, consistent_read=True)

            assert item is not None
            assert item["value"] == VALUE, "another replica has answered"
            await asyncio.to_thread(assert_ended_saying_what_to_do, faulty, leader)

        follower = next(name for name in NODES if name != leader)
        await asyncio.to_thread(faulty.kill, follower)
        assert flip_value(faulty, follower)
        await asyncio.to_thread(faulty.start, follower)
        await asyncio.to_thread(assert_ended_saying_what_to_do, faulty, follower)

    asyncio.run(story())
