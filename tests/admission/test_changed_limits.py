"""UpdateTable changes limits while a batch waits for capacity: all of it is done."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import orjson
import pytest

from tests.router.cluster import DEFINITION, SCANT
from tests.router.world import World, tell

MORE = orjson.dumps(
    {
        **orjson.loads(SCANT),
        "ProvisionedThroughput": {"ReadCapacityUnits": 400, "WriteCapacityUnits": 400},
    }
)

ITEMS = 10


def throttled_count(world: World) -> int:
    """Return how many requests the pool has refused: parts of batches wait then."""
    return sum(sum(usage.throttled.values()) for usage in world.router.admission.usages())


async def batch_write(world: World) -> dict[str, object]:
    puts = [{"PutRequest": {"Item": {"p": {"S": str(place)}}}} for place in range(ITEMS)]
    status, _, answer = await world.http("BatchWriteItem", {"RequestItems": {"Music": puts}})
    assert status == 200, answer
    return answer


@pytest.mark.parametrize("definition", [MORE, DEFINITION], ids=["more units", "no limit"])
def test_parts_that_wait_go_on_under_the_new_limits(definition: bytes) -> None:
    async def story(world: World) -> None:
        writing = asyncio.gather(batch_write(world))
        while throttled_count(world) < ITEMS - 1:  # the first is admitted on credit
            await asyncio.sleep(0.005)
        for node in world.nodes:
            node.has_capacity = True
        catalog = world.nodes[0].catalog
        (table,) = catalog.tables
        changed = replace(table, definition=definition, version=table.version + 1)
        for node in world.nodes:
            node.publish(replace(catalog, epoch=catalog.epoch + 1, tables=(changed,)))

        assert await writing == [{"UnprocessedItems": {}}]
        assert len(world.items) == ITEMS

    tell(story, definition=SCANT, request_timeout_ms=20_000)
