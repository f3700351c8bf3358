"""How a process comes to take part: the questions and answers around `node.join`'s decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.acquaintances import Introduction, Verdict
from node.join import Seeds, Step, decide, meet_initial
from node.storage.identity import Identity, Start
from quorate.cluster.catalog import NodeRecord
from quorate.v1 import node_pb2

if TYPE_CHECKING:
    from tests.sim.nodes import SimulatedNode


def new_identity(record: NodeRecord, incarnation: str) -> Identity:
    """Return what is written into a directory that was never used."""
    return Identity("sim", record.id, record.name, record.az, incarnation)


def begin_start(identity: Identity) -> Introduction:
    """Count a start of a process; return how it introduces itself."""
    number = identity.start.number + 1
    identity.start = Start(number, f"{identity.incarnation}/{number}")
    return Introduction(
        cluster_id=identity.cluster_id,
        node_id=identity.node_id,
        incarnation=identity.incarnation,
        start=identity.start,
    )


def identify(node: SimulatedNode, asking: SimulatedNode) -> node_pb2.IdentifyResponse:
    """Answer as `NodeServicer.Identify` does, which does so before its node takes part."""
    identity = node.identity
    verdict = node.acquaintances.meet(asking.introduction)
    return node_pb2.IdentifyResponse(
        cluster_id=identity.cluster_id,
        node_id=identity.node_id,
        incarnation=identity.incarnation,
        joined=identity.joined,
        incarnation_known=identity.peers.get(asking.identity.node_id, ""),
        catalog_epoch=node.host.catalog.epoch if node.is_up else 0,
        removed=verdict is Verdict.REMOVED,
        outdated=verdict is Verdict.OUTDATED,
    )


def seeds_of(node: SimulatedNode) -> Seeds:
    """Return what a process is told when it starts: an operator knows who is a node by now."""
    world = node.world
    return Seeds(
        initial=world.first_catalog.nodes,
        addresses=[record.address for record in world.newest_catalog.nodes],
        own_address=node.record.address,
    )


def next_step(node: SimulatedNode) -> Step:
    """Ask all whom a starting node knows. Raises JoinRefused."""
    world, identity = node.world, node.identity
    initial = world.first_catalog.nodes
    answers = {}
    for address in seeds_of(node).to_ask(identity):
        peer = world.process_at(address)
        if peer is not None and not peer.paused and world.network.is_whole(node.id, peer.id):
            answers[address] = identify(peer, node)
    meet_initial(identity, initial, answers)
    return decide(identity, initial, answers)
