"""Who changes the catalog."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from node.catalog_replica import CatalogReplica
from node.machine import catalog_changes
from node.machine.catalog import CatalogResult
from quorate.cluster.catalog import CATALOG_GROUP, Catalog, NodeRecord
from quorate.cluster.commands import (
    AddNode,
    CatalogCommand,
    CreateTable,
    DeleteTable,
    ReplaceNode,
    encode_catalog_command,
)
from quorate.cluster.outcome import Outcome
from raft.types import Role
from tests.sim.schedule import Violation

if TYPE_CHECKING:
    from tests.sim.nodes import SimulatedNode
    from tests.sim.world import World

RETRY_SECONDS = 0.2
TABLE_NAMES = 3
"""Items of each extra table."""

Done = Callable[["SimulatedNode", CatalogResult], None]


class CatalogClient:
    """Sends catalog commands, each until it is known to have been carried out."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tables: dict[str, int] = {}  # id by name: made, and nobody asked to drop them
        self.dropped_at: dict[str, float] = {}  # when somebody first asked
        self.dropped_ids: set[int] = set()
        self.pending = 0
        self._count = 0

    @property
    def names(self) -> list[str]:
        """Names of items in the extra tables."""
        return [
            f"{table}/k{number}"
            for table in self.tables
            if table.startswith("extra")
            for number in range(TABLE_NAMES)
        ]

    def new_request_id(self) -> bytes:
        self._count += 1
        return b"catalog!" + self._count.to_bytes(8, "big")

    def create(self, name: str) -> None:
        def made(node: SimulatedNode, result: CatalogResult) -> None:
            if result.refusal:
                raise Violation(f"table {name} was refused: {result.refusal}")
            self.tables[name] = _applied_catalog(node).table_by_name[name].id

        self.submit(CreateTable(self.new_request_id(), name, b"{}"), made)

    def drop(self, name: str) -> None:
        table_id = self.tables.pop(name)
        self.dropped_at[name] = self.world.schedule.now
        self.dropped_ids.add(table_id)

        def dropped(node: SimulatedNode, result: CatalogResult) -> None:
            if result.refusal:
                raise Violation(f"dropping {name} was refused: {result.refusal}")

        self.submit(DeleteTable(self.new_request_id(), name, table_id), dropped)

    def replace_node(self, old: NodeRecord, name: str) -> None:
        """Let a node of this name, which may be the old one's, take a node's place."""

        def answered(node: SimulatedNode, result: CatalogResult) -> None:
            if result.refusal not in ("", catalog_changes.BEING_REPLACED, catalog_changes.MISSING):
                raise Violation(f"replacing node {old.id} was refused: {result.refusal}")

        self.submit(ReplaceNode(self.new_request_id(), old.id, name, allow_unknown=True), answered)

    def add_node(self, new: SimulatedNode) -> None:
        """Ask for a place for a node, as `node.join` does; it takes part once it has one."""
        record, incarnation = new.record, new.identity.incarnation

        def answered(node: SimulatedNode, result: CatalogResult) -> None:
            new.end("is refused" if result.refusal else "has a place")
            if not result.refusal:
                catalog = _applied_catalog(node)
                self.world.meet(catalog)
                (found,) = (each for each in catalog.nodes if each.incarnation == incarnation)
                self.world.start_node(self.world.nodes[found.id])

        command = AddNode(
            self.new_request_id(), record.name, record.az, record.address, incarnation
        )
        self.submit(command, answered)

    def submit(self, command: CatalogCommand, done: Done) -> None:
        """Have a command carried out."""
        self.pending += 1
        self._try(encode_catalog_command(command), done, [False])

    def pass_on(self, sender: SimulatedNode, command: CatalogCommand) -> None:
        """Take a command of a node to who leads the catalog, once: it may be lost."""
        world = self.world
        for node in world.nodes.values():
            replica = node.host.replicas.get(CATALOG_GROUP) if node.answers else None
            reached = world.network.is_whole(sender.id, node.id)
            if reached and replica is not None and replica.core.role is Role.LEADER:
                seconds = world.rng.random() * 0.1
                payload = encode_catalog_command(command)
                world.schedule.after(seconds, self._arrive, node, payload)

    def _arrive(self, node: SimulatedNode, payload: bytes) -> None:
        if node.answers and CATALOG_GROUP in node.host.replicas:
            node.call(node.host.change_catalog, payload, lambda outcome, result: None)

    def _try(self, payload: bytes, done: Done, ended: list[bool]) -> None:
        """Ask whoever leads, or anybody; again later, under the same id."""
        world = self.world
        if ended[0]:
            return
        up = [
            node
            for node in world.nodes.values()
            if node.answers and CATALOG_GROUP in node.host.replicas
        ]
        leaders = [
            node for node in up if node.host.replicas[CATALOG_GROUP].core.role is Role.LEADER
        ]
        chosen = leaders if leaders and world.rng.random() < 0.9 else up
        world.schedule.after(RETRY_SECONDS, self._try, payload, done, ended)
        if chosen:
            node = world.rng.choice(chosen)

            def answer(outcome: Outcome, result: CatalogResult) -> None:
                if outcome is Outcome.OK and not ended[0]:
                    ended[0] = True
                    self.pending -= 1
                    done(node, result)

            node.call(node.host.change_catalog, payload, answer)


def _applied_catalog(node: SimulatedNode) -> Catalog:
    replica = node.host.replicas[CATALOG_GROUP]
    assert isinstance(replica, CatalogReplica)
    return replica.machine.catalog
