"""Changes of the nodes in any order, repeated and after snapshots: the catalog stays sound."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from node.machine.catalog import CatalogMachine, CatalogResult
from quorate.cluster.catalog import Catalog
from quorate.cluster.commands import (
    AddNode,
    Bootstrap,
    CancelReplacement,
    CatalogCommand,
    MoveReplica,
    RemoveNode,
    ReplaceNode,
    encode_catalog_command,
)
from tests.node.builders import new_id
from tests.node.harness import first_catalog

COMMANDS = 400
NAMES = ("node-2", "node-4", "node-5", "node-6", "nosuch")
AZS = ("az-1", "az-2", "az-3")


def commands(rng: random.Random, catalog: Callable[[], Catalog]) -> Iterator[CatalogCommand]:
    """Yield what operators and nodes may ask for, sensible or not."""

    def some_id() -> int:
        return rng.choice([*(node.id for node in catalog().nodes), catalog().next_node_id])

    for number in range(COMMANDS):
        match rng.choice(("add", "replace", "replace", "cancel", "move", "move", "remove")):
            case "add":
                name = rng.choice(NAMES)
                yield AddNode(new_id(), name, rng.choice(AZS), f"{name}:1", f"directory-{number}")
            case "replace":
                yield ReplaceNode(new_id(), some_id(), rng.choice(NAMES), rng.random() < 0.5)
            case "cancel":
                yield CancelReplacement(new_id(), some_id(), rng.choice(NAMES))
            case "move":
                pairs = list(catalog().replacements.items()) or [(some_id(), some_id())]
                yield MoveReplica(new_id(), rng.randrange(4), *rng.choice(pairs))
            case _:
                yield RemoveNode(new_id(), some_id())


def expect_sound(before: Catalog, catalog: Catalog) -> None:
    """Whatever was asked for: three live nodes of three AZs hold each group."""
    for group, replicas in catalog.replicas_of.items():
        azs = [catalog.node_by_id[node_id].az for node_id in replicas]
        assert sorted(azs) == sorted(AZS), f"group {group} is at {replicas}"
    for old, new in catalog.next_replacements.items():
        assert catalog.node_by_id[old].az == catalog.node_by_id[new].az
        assert catalog.node_by_id[old].replacement == catalog.node_by_id[new].name
    # What a leader has begun to move is never called off.
    for old, new in before.next_replacements.items():
        if old in catalog.node_by_id:
            assert catalog.next_replacements[old] == new
    assert all(node.id < catalog.next_node_id for node in catalog.nodes)


@pytest.mark.parametrize("seed", range(20))
def test_any_order_of_changes_leaves_a_sound_catalog(seed: int) -> None:
    """Each command comes twice now and then, and the machine from its checkpoint."""
    rng = random.Random(seed)
    machine = CatalogMachine()
    machine.apply(encode_catalog_command(Bootstrap(new_id(), first_catalog(3))))
    applied: list[tuple[bytes, CatalogResult]] = []
    for command in commands(rng, lambda: machine.catalog):  # noqa: B023 - of this loop alone
        before, payload = machine.catalog, encode_catalog_command(command)
        result = machine.apply(payload)
        expect_sound(before, machine.catalog)
        assert (machine.catalog == before) == (result.epoch == before.epoch)
        assert not result.refusal or machine.catalog is before

        applied.append((payload, result))
        if rng.random() < 0.1:
            machine = CatalogMachine(machine.encode())
        now = machine.catalog
        repeated, answered = rng.choice(applied)
        assert machine.apply(repeated) == answered
        assert machine.catalog is now

    refusals = {result.refusal for _, result in applied}
    assert {"", "unknown", "missing"} <= refusals


def test_replayed_log_makes_the_same_catalog() -> None:
    """Cancelled, removed and refused alike: a replica that applies the log again agrees."""
    rng = random.Random(7)
    machine = CatalogMachine()
    log = [encode_catalog_command(Bootstrap(new_id(), first_catalog(3)))]
    machine.apply(log[0])
    for command in commands(rng, lambda: machine.catalog):
        log.append(encode_catalog_command(command))
        machine.apply(log[-1])
    again = CatalogMachine()
    for payload in log:
        again.apply(payload)

    assert again.encode() == machine.encode()
