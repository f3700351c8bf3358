"""What the router's tests share: a small catalog, recorded owners, streams that only record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from model.errors import ModelError, ProvisionedThroughputExceeded
from model.keys import storage_key
from model.tables import Table, load_table
from quorate.cluster.catalog import Catalog, NodeRecord, TableRecord
from quorate.cluster.placement import place_partitions
from quorate.cluster.ring import Ring
from router.dispatch import Dispatch
from router.routed import Routed, RoutedGet, RoutedWrite

CLUSTER_ID = "test-cluster"
AZS = ("az-a", "az-b", "az-c")

DEFINITION = orjson.dumps(
    {
        "TableName": "Music",
        "TableId": "00000000-0000-0000-0000-000000000000",
        "CreationDateTime": 1.0,
        "AttributeDefinitions": [{"AttributeName": "p", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
        "LastUpdateToPayPerRequestDateTime": 1.0,
        "ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
        "DeletionProtectionEnabled": False,
    }
)

SCANT = orjson.dumps(
    {
        **orjson.loads(DEFINITION),
        "BillingMode": "PROVISIONED",
        "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
    }
)
"""The same table with a single unit of each kind."""


def make_catalog(
    *,
    epoch: int = 1,
    partitions: int = 1,
    ports: Sequence[int] = (1, 2, 3),
    definition: bytes = DEFINITION,
) -> Catalog:
    """Return a catalog of three nodes, one in each AZ, and one table, Music."""
    nodes = tuple(
        NodeRecord(id=number, name=f"{az[-1]}1", az=az, address=f"127.0.0.1:{port}")
        for number, (az, port) in enumerate(zip(AZS, ports, strict=True), start=1)
    )
    return Catalog(
        epoch=epoch,
        cluster_id=CLUSTER_ID,
        next_table_id=2,
        tables=(TableRecord(id=1, name="Music", definition=definition),),
        nodes=nodes,
        catalog_replicas=tuple(node.id for node in nodes),
        partitions=place_partitions(partitions, nodes),
    )


def music() -> Table:
    """Return the table of the catalog."""
    return load_table(1, "Music", DEFINITION)


def key_of(name: str) -> bytes:
    """Return the storage key of an item of Music."""
    return storage_key(1, music().schema, {"p": {"S": name}})


@dataclass
class RecordedOwner:
    """Keeps what it is told; each request must be told exactly once."""

    answers: list[tuple[int, bytes]] = field(default_factory=list)
    pages: list[tuple[list[bytes], list[bytes], bool]] = field(default_factory=list)
    errors: list[ModelError] = field(default_factory=list)

    def answered(self, routed: Routed, units: int, payload: bytes) -> None:
        self.answers.append((units, payload))

    def page_arrived(
        self, routed: Routed, keys: Sequence[bytes], images: Sequence[bytes], *, more: bool
    ) -> None:
        self.pages.append((list(keys), list(images), more))

    def throttled(self, routed: Routed) -> ModelError:
        return ProvisionedThroughputExceeded()

    def failed(self, routed: Routed, error: ModelError) -> None:
        self.errors.append(error)

    @property
    def told(self) -> int:
        return len(self.answers) + len(self.pages) + len(self.errors)


@dataclass
class RecordedStream:
    """A stream to a node that goes nowhere."""

    node_id: int
    connected: bool = True
    stalled: bool = False
    outbox: list[Routed] = field(default_factory=list)

    def send(self, routed: Routed) -> None:
        self.outbox.append(routed)

    def leave(self) -> list[int]:
        """Let everything in the outbox leave in a batch; return the slots."""
        slots = []
        for routed in self.outbox:
            routed.sent = True
            slots.append(routed.slot)
        self.outbox.clear()
        return slots


class Story:
    """A dispatcher of a router in az-a, three streams, and a clock that stands still."""

    def __init__(self, *, partitions: int = 1, pending_max: int = 100) -> None:
        self.now = 100.0
        self.refreshes = 0
        self.streams = {number: RecordedStream(number) for number in (1, 2, 3)}
        self.dispatch = Dispatch(
            az="az-a",
            clock=lambda: self.now,
            on_stale_catalog=self._refresh,
            pending_max=pending_max,
        )
        self.catalog = make_catalog(partitions=partitions)
        self.dispatch.catalog_changed(self.catalog, Ring(self.catalog.partitions), self.streams)

    def _refresh(self) -> None:
        self.refreshes += 1

    def lead(self, node_id: int, *, term: int = 1, partition: int = 1) -> None:
        """Let a hint say who leads."""
        self.dispatch.learned_leaders([(partition, term, node_id)])

    def put(self, *, seconds: float = 4.0, partition: int = 1) -> tuple[RoutedWrite, RecordedOwner]:
        """Submit a write."""
        owner = RecordedOwner()
        routed = RoutedWrite(
            owner, partition, self.now + seconds, b"i" * 16, key_of("a"), b"image", b""
        )
        self.dispatch.submit(routed)
        return routed, owner

    def get(self, *, consistent: bool, seconds: float = 4.0) -> tuple[RoutedGet, RecordedOwner]:
        """Submit a get."""
        owner = RecordedOwner()
        routed = RoutedGet(owner, 1, self.now + seconds, key_of("a"), consistent=consistent)
        self.dispatch.submit(routed)
        return routed, owner

    def answer(self, node_id: int, slot: int, outcome: int, payload: bytes = b"") -> None:
        """Let a node answer one request."""
        self.dispatch.answered(node_id, [slot], [outcome], [1], [payload])
        self.dispatch.check()

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass in ticks."""
        for _ in range(round(seconds / 0.025)):
            self.now += 0.025
            self.dispatch.tick()
            self.dispatch.check()
