"""Without a quorum nothing is acknowledged, and saying so is quick; with it back, service is."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import pytest

from quorate import Client
from quorate.local.background import BackgroundCluster
from tests.processes.conftest import TABLE
from tests.processes.raw_client import Answer, RawClient
from tests.processes.writing import done_though_refused, lost, put_request, writing

REQUEST_SECONDS = 4.0
"""A router's deadline for a request, unless it is told another one."""

GROUPS = [f"group-{number}" for number in range(24)]

RETRYABLE = {(500, "InternalServerError"), (503, "ServiceUnavailable")}


@pytest.mark.parametrize("how", ["killed", "paused"])
def test_lost_quorum_is_told_fast_and_service_returns_with_it(
    cluster: BackgroundCluster, how: str
) -> None:
    """Two of three nodes away: no write and no strong read succeeds, and none of them hangs."""
    names = [name for name, one in cluster.processes().items() if one.kind == "node"]
    away = names[:2]

    async def story() -> None:
        prefix = uuid4().hex
        async with (
            RawClient(cluster.public.http, timeout_seconds=15.0) as raw,
            Client(cluster.grpc_address, deadline_seconds=20.0) as client,
        ):
            async with writing(raw, TABLE, prefix=prefix, partition_keys=GROUPS) as account:
                await asyncio.sleep(0.7)
                assert account.acknowledged
                for name in away:
                    await asyncio.to_thread(
                        cluster.kill if how == "killed" else cluster.pause, name
                    )

            async def strong_read(group: str) -> Answer:
                key = {"group": {"S": group}, "id": {"S": "any"}}
                return await raw.call(
                    "GetItem", {"TableName": TABLE, "Key": key, "ConsistentRead": True}
                )

            # What follows started when the two were surely gone.
            writes = [
                raw.call("PutItem", put_request(TABLE, group, f"{prefix}-{number}-lost", "1"))
                for group in GROUPS
                for number in range(2)
            ]
            refused = await asyncio.gather(*writes, *map(strong_read, GROUPS))

            returned = time.monotonic()
            for name in away:
                back = cluster.restart if how == "killed" else cluster.resume
                await asyncio.to_thread(back, name)
            waiting = set(GROUPS)
            while waiting and time.monotonic() < returned + 10:
                for group in sorted(waiting):
                    request = put_request(TABLE, group, f"{prefix}-back", "1")
                    if (await raw.call("PutItem", request)).ok:
                        waiting.discard(group)
            seconds = time.monotonic() - returned

            assert not waiting
            assert seconds < 5, "service returns within 5 s of the quorum"
            assert {(answer.status, answer.code) for answer in refused} <= RETRYABLE
            assert max(answer.seconds for answer in refused) < REQUEST_SECONDS + 1
            assert all(answer.seconds < REQUEST_SECONDS + 1 for answer in account.failures)
            assert await lost(client, TABLE, account) == []
            assert await done_though_refused(client, TABLE, account) == []

    asyncio.run(story())
