"""Nodes replaced through a router: by operators only, and told why not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node.machine.catalog_changes import Refused, change
from quorate.client.errors import QuorateError
from quorate.client.operator import CancelledReplacement, Operator, StartedReplacement
from quorate.cluster.catalog import Catalog, NodeRecord
from quorate.cluster.commands import decode_catalog_command
from quorate.security.sealing import KEY_BYTES, KeyFile, create_key_file, load_key_file
from quorate.v1 import catalog_pb2
from tests.router.world import World, tell


@pytest.fixture
def key_path(tmp_path: Path) -> Path:
    path = tmp_path / "users.key"
    create_key_file(path)
    return path


def run_replacements(world: World) -> None:
    """Let the nodes change the catalog as real ones do."""
    first, *_ = world.nodes

    def apply(wire: catalog_pb2.CatalogCommand) -> str:
        command = decode_catalog_command(wire)
        assert command is not None
        try:
            changed = change(first.catalog, command)
        except Refused as refused:
            return refused.reason
        publish(world, changed)
        return ""

    for node in world.nodes:
        node.change = apply


def publish(world: World, catalog: Catalog) -> None:
    for node in world.nodes:
        node.publish(catalog)


def add_node(world: World, name: str, az: str) -> None:
    catalog = world.nodes[0].catalog
    new = NodeRecord(id=4, name=name, az=az, address="127.0.0.1:9", incarnation="new")
    nodes = (*catalog.nodes, new)
    publish(world, replace(catalog, epoch=catalog.epoch + 1, nodes=nodes, next_node_id=5))


def operator(world: World, keys: KeyFile) -> Operator:
    return Operator(f"127.0.0.1:{world.router.grpc_port}", keys)


async def replace_node(
    world: World, keys: KeyFile, old: str, new: str, *, allow_unknown: bool = True
) -> StartedReplacement:
    async with operator(world, keys) as it:
        return await it.replace_node(old, new, allow_unknown=allow_unknown)


async def refusal_of(world: World, keys: KeyFile, old: str, new: str) -> QuorateError:
    with pytest.raises(QuorateError) as caught:
        await replace_node(world, keys, old, new)
    return caught.value


def test_a_node_is_replaced_by_one_that_is_to_come_or_has_joined(key_path: Path) -> None:
    keys = load_key_file(key_path)

    async def story(world: World) -> None:
        run_replacements(world)

        started = await replace_node(world, keys, "b1", "b9")
        assert started == StartedReplacement(old_id=2, new_id=0, az="az-b")
        add_node(world, "b9", "az-b")
        again = await replace_node(world, keys, "b1", "b9")

        assert again == StartedReplacement(old_id=2, new_id=4, az="az-b")
        assert world.router.view.catalog.replacements == {2: 4}

    tell(story, key_file=key_path)


def test_what_cannot_be_replaced_is_told_with_the_reason(key_path: Path) -> None:
    keys = load_key_file(key_path)

    async def story(world: World) -> None:
        run_replacements(world)
        reasons: dict[tuple[str, str], Any] = {
            ("b9", "d1"): "There is no node b9: the nodes are a1, b1, c1.",
            ("b1", "c1"): "in its own AZ",
            ("b1", "b1"): "Node b1 answers: stop it before",
            ("b1", ""): "Name the node",
        }
        for (old, new), reason in reasons.items():
            assert reason in str(await refusal_of(world, keys, old, new))

        assert world.router.view.catalog.replacements == {}
        await replace_node(world, keys, "b1", "b9")
        add_node(world, "b9", "az-b")
        assert "is being replaced" in str(await refusal_of(world, keys, "b1", "b8"))

    tell(story, key_file=key_path)


def test_an_unknown_name_is_refused_unless_it_is_allowed(key_path: Path) -> None:
    keys = load_key_file(key_path)

    async def story(world: World) -> None:
        run_replacements(world)
        with pytest.raises(QuorateError, match="No node of the new name has joined"):
            await replace_node(world, keys, "b1", "b9", allow_unknown=False)

        assert all(not node.replacement for node in world.router.view.catalog.nodes)
        add_node(world, "b9", "az-b")
        started = await replace_node(world, keys, "b1", "b9", allow_unknown=False)
        assert started.new_id == 4

    tell(story, key_file=key_path)


def test_a_replacement_is_cancelled_until_the_new_node_has_joined(key_path: Path) -> None:
    keys = load_key_file(key_path)

    async def story(world: World) -> None:
        run_replacements(world)
        await replace_node(world, keys, "b1", "b9")
        async with operator(world, keys) as it:
            done = await it.cancel_replacement("b1")
            assert done == CancelledReplacement(old_id=2, replacement="b9")
            assert all(not node.replacement for node in world.router.view.catalog.nodes)
            with pytest.raises(QuorateError, match="Node b1 is not being replaced"):
                await it.cancel_replacement("b1")
            with pytest.raises(QuorateError, match="There is no node b9"):
                await it.cancel_replacement("b9")

        await replace_node(world, keys, "b1", "b9")
        add_node(world, "b9", "az-b")
        async with operator(world, keys) as it:
            with pytest.raises(QuorateError, match="The new node has joined"):
                await it.cancel_replacement("b1")

    tell(story, key_file=key_path)


def test_a_node_that_holds_nothing_is_removed_and_no_other_one(key_path: Path) -> None:
    keys = load_key_file(key_path)

    async def story(world: World) -> None:
        run_replacements(world)
        add_node(world, "b9", "az-b")
        async with operator(world, keys) as it:
            with pytest.raises(QuorateError, match="The node holds replicas: name one that takes"):
                await it.remove_node("b1")
            assert await it.remove_node("b9") == 4
            with pytest.raises(QuorateError, match="There is no node b9"):
                await it.remove_node("b9")

        assert {node.name for node in world.router.view.catalog.nodes} == {"a1", "b1", "c1"}

    tell(story, key_file=key_path)


def test_a_dead_node_may_be_replaced_under_its_own_name(key_path: Path) -> None:
    """Also when the new one has its address already: that one does not answer for it."""
    keys = load_key_file(key_path)

    async def story(world: World) -> None:
        run_replacements(world)
        world.nodes[1].node_id = 4

        started = await replace_node(world, keys, "b1", "b1")

        assert started.old_id == 2

    tell(story, key_file=key_path)


def test_only_the_operator_may_replace_a_node(key_path: Path) -> None:
    async def story(world: World) -> None:
        stranger = KeyFile(bytes(KEY_BYTES))

        assert (await refusal_of(world, stranger, "b1", "b9")).code in (
            "InvalidSignatureException",
            "UnrecognizedClientException",
        )
        assert all(not node.commands for node in world.nodes)

    tell(story, key_file=key_path)
