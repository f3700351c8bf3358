"""Before a node takes part: is it who it says it is, do its peers agree, has it a place?

A data directory is drawn a random incarnation when it is made, and the nodes remember each
other's. The initial nodes of a cluster wait for each other, so that all of them remember all.
Any other new directory asks the catalog's leader for a place, as a new node: one that comes back
with an empty directory under its old name could have forgotten votes and acknowledged writes, so
it must be named as its own replacement first.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

import grpc
import grpc.aio

from node.acquaintances import take_others
from node.logs import log
from node.machine import catalog_changes
from node.storage.identity import Identity
from quorate import __version__
from quorate.cluster.catalog import Catalog, NodeRecord
from quorate.cluster.catalog_leader import CatalogLeader, Forbidden, NodeChannels, NotChanged
from quorate.cluster.channels import Dialer
from quorate.cluster.commands import AddNode, wire_catalog_command
from quorate.troubles import Troubles
from quorate.v1 import node_pb2, node_pb2_grpc

ASK_SECONDS: Final = 2.0
"""Deadline of one question. Ours."""

ADD_SECONDS: Final = 5.0
"""Longest wait for the catalog's leader before all are asked again. Ours."""

RETRY_SECONDS: Final = 0.1
"""Pause before peers that did not answer are asked again. Ours."""

Answers = Mapping[str, node_pb2.IdentifyResponse]
"""Who answered, by address."""


class JoinRefused(Exception):
    """This node may not take part under this identity; the text says why and what to do."""


class NodeRemoved(JoinRefused):
    """This node is out of the cluster, for good."""

    def __init__(self, identity: Identity, successor: str = "") -> None:
        """`successor` is the name of the one that has taken its place, "" if none is known of."""
        how = (
            f"was replaced: node {successor} has taken its place in the cluster"
            if successor
            else "was replaced or removed: it is not in the cluster any more"
        )
        super().__init__(
            f"node {identity.name} (id {identity.node_id}) {how}. Its directory may be deleted"
        )


@unique
class Step(Enum):
    """What a starting node does next."""

    TAKE_PART = "take part"
    ASK_FOR_PLACE = "ask for a place"
    WAIT = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """What a starting node was told: the initial nodes, other nodes' addresses, and its own.

    `partitions` is how many a new cluster has.
    """

    initial: Sequence[NodeRecord] = ()
    addresses: Sequence[str] = ()
    own_address: str = ""
    partitions: int = 1

    def to_ask(self, identity: Identity) -> list[str]:
        """Return whom to ask: those it knew last first."""
        told = (*(node.address for node in self.initial), *self.addresses)
        known = (*identity.addresses.values(), *told)
        return [address for address in dict.fromkeys(known) if address != self.own_address]


async def join(
    identity: Identity,
    seeds: Seeds,
    dialer: Dialer,
    save: Callable[[Identity], None],
    stop: asyncio.Event,
) -> bool:
    """Return True once this node may take part, False if `stop` was set. Raises JoinRefused.

    A directory used before asks once and goes on whatever does not answer. It waits for all: one of
    them alone may know that this is an old copy, which must not vote with the others.
    """
    told = False
    versions = Troubles("other_version")
    while True:
        answers = await _ask_all(identity, seeds.to_ask(identity), dialer)
        for address, answer in answers.items():
            if answer.version not in ("", __version__):
                version = answer.version
                versions.met(address, peer=answer.node_id, address=address, version=version)
        meet_initial(identity, seeds.initial, answers)
        match decide(identity, seeds.initial, answers):
            case Step.TAKE_PART if identity.joined:
                return True
            case Step.TAKE_PART:
                identity.initial = identity.joined = True
                save(identity)
                log("joined", peers=len(identity.peers))
                return True
            case Step.ASK_FOR_PLACE:
                if await _ask_for_place(identity, seeds, dialer, list(answers), save):
                    return True
            case Step.WAIT:
                if not told:
                    log("waiting_for_peers", answering=",".join(answers) or "none")
                told = True
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), RETRY_SECONDS)
            return False


def meet_initial(identity: Identity, initial: Sequence[NodeRecord], answers: Answers) -> None:
    """Remember the initial nodes that answered, once for each. Before there is a catalog.

    Not one that remembers this node with another directory: it may be gone again when the others
    are asked, and without its word this directory would pass for one that was never used.
    """
    if identity.joined:
        return
    for peer in initial:
        answer = answers.get(peer.address)
        if answer is None or _knows_another_directory(identity, answer):
            continue
        if peer.id != identity.node_id and answer.node_id == peer.id:
            identity.peers.setdefault(peer.id, answer.incarnation)
            identity.addresses[peer.id] = peer.address
            identity.names[peer.id] = peer.name


def decide(identity: Identity, initial: Sequence[NodeRecord], answers: Answers) -> Step:
    """Return the next step. Raises JoinRefused.

    Once one of those asked has a catalog, that one decides: a node that is in it as it is takes
    part, any other one needs a place in it.
    """
    for address, answer in answers.items():
        check_answer(identity, address, answer)
    if identity.joined:
        return Step.TAKE_PART
    running = [answer for answer in answers.values() if answer.catalog_epoch]
    if any(answer.incarnation_known == identity.incarnation for answer in running):
        return Step.TAKE_PART
    if running:
        return Step.ASK_FOR_PLACE
    if any(_knows_another_directory(identity, answer) for answer in answers.values()):
        # They have met this node with another directory; which it is to be, a catalog decides.
        return Step.WAIT
    for peer in initial:
        found = answers.get(peer.address)
        # One that has joined may have taken the place of the node that was there.
        if found is not None and found.node_id != peer.id and not found.joined:
            raise JoinRefused(
                f"{peer.address} is node {found.node_id}, not node {peer.id}: check the members"
            )
    is_initial = any(node.id == identity.node_id for node in initial)
    missing = [
        node
        for node in initial
        if node.id != identity.node_id and identity.peers.get(node.id) is None
    ]
    return Step.TAKE_PART if is_initial and not missing else Step.WAIT


def _knows_another_directory(identity: Identity, answer: node_pb2.IdentifyResponse) -> bool:
    """Whether a peer that takes part has met this node with another directory."""
    return answer.joined and answer.incarnation_known not in ("", identity.incarnation)


def check_answer(identity: Identity, address: str, answer: node_pb2.IdentifyResponse) -> None:
    """Raise JoinRefused if a node that answered does not want this one as it is."""
    if answer.cluster_id != identity.cluster_id:
        raise JoinRefused(
            f"{address} is a node of cluster {answer.cluster_id}, not of {identity.cluster_id}: "
            "check the addresses and the cluster id"
        )
    if not identity.joined:
        return
    if answer.removed:
        raise NodeRemoved(identity)
    if answer.outdated:
        raise JoinRefused(
            f"the node at {address} has seen a later start of this directory: this is an old "
            "copy, which has forgotten votes and acknowledged writes. Bring the newest one back; "
            f"or, if that is lost, {_how_to_begin_anew(identity.name)}"
        )
    if answer.incarnation_known not in ("", identity.incarnation):
        raise JoinRefused(
            f"the node at {address} remembers this node ({identity.name}) with another data "
            "directory. Bring that one back; or, if it is lost, "
            f"{_how_to_begin_anew(identity.name)}"
        )


def identify_request(identity: Identity) -> node_pb2.IdentifyRequest:
    """Return the question to a node who it is and whom it takes this one for."""
    return node_pb2.IdentifyRequest(
        cluster_id=identity.cluster_id,
        node_id=identity.node_id,
        incarnation=identity.incarnation,
        starts=identity.start.number,
        start_token=identity.start.token,
        version=__version__,
    )


async def ask(identity: Identity, address: str, dialer: Dialer) -> node_pb2.IdentifyResponse | None:
    """Ask a node who it is and whom it takes this one for; None if it does not answer."""
    request = identify_request(identity)
    # Any node: another one may have the address by now, and then knows of this one.
    async with dialer.open(address) as channel:
        stub = node_pb2_grpc.NodeServiceStub(channel)
        try:
            answer: node_pb2.IdentifyResponse = await stub.Identify(request, timeout=ASK_SECONDS)
        except grpc.aio.AioRpcError:
            return None
        return answer


async def _ask_all(identity: Identity, addresses: Sequence[str], dialer: Dialer) -> Answers:
    answers = await asyncio.gather(*(ask(identity, address, dialer) for address in addresses))
    return {
        address: answer
        for address, answer in zip(addresses, answers, strict=True)
        if answer is not None and answer.incarnation != identity.incarnation
    }


async def _ask_for_place(
    identity: Identity,
    seeds: Seeds,
    dialer: Dialer,
    addresses: Sequence[str],
    save: Callable[[Identity], None],
) -> bool:
    """Have the catalog's leader add this node; return False if there is none just now.

    Raises JoinRefused. Asked again under the same incarnation, it gets the same id.
    """
    catalog = Catalog()
    async with NodeChannels(dialer) as channels:
        for address in addresses:
            newer = await channels.fetch_catalog(address, ASK_SECONDS)
            if newer is not None and newer.epoch > catalog.epoch:
                catalog = newer
        known = [node.address for node in catalog.nodes if node.id in catalog.catalog_replicas]
        leader = CatalogLeader(
            channels,
            addresses=lambda: list(dict.fromkeys((*known, *addresses))),
            catalog=lambda: catalog,
            clock=time.monotonic,
        )
        # A new request each time: a refusal would be remembered, and its reason may be gone.
        command = AddNode(
            secrets.token_bytes(16),
            identity.name,
            identity.az,
            seeds.own_address,
            identity.incarnation,
        )
        try:
            answer = await leader.change(
                wire_catalog_command(command), time.monotonic() + ADD_SECONDS
            )
        except Forbidden as refusal:
            raise JoinRefused(f"the cluster does not take this node: {refusal}") from None
        except NotChanged:
            return False
        if answer.outcome != node_pb2.OUTCOME_OK:
            raise JoinRefused(_refusal(identity, seeds, answer.reason))
        newest = await channels.fetch_catalog(leader.address, ASK_SECONDS)
    if newest is None or not take_place(identity, newest, seeds.initial):
        return False
    save(identity)
    log("joined", node=identity.node_id, initial=identity.initial)
    return True


def take_place(identity: Identity, catalog: Catalog, initial: Sequence[NodeRecord]) -> bool:
    """Become the node that a catalog says this one is; False if it does not know this one."""
    for node in catalog.nodes:
        if node.incarnation == identity.incarnation:
            identity.node_id = node.id
            identity.initial = any((one.id, one.name) == (node.id, node.name) for one in initial)
            identity.joined = True
            identity.epoch = catalog.epoch
            take_others(identity, catalog)
            return True
    return False


def _refusal(identity: Identity, seeds: Seeds, reason: str) -> str:
    match reason:
        case catalog_changes.NAME_IN_USE:
            return (
                f"the cluster has a node {identity.name} with another data directory. An empty "
                "directory must not vote under the old name, for it has forgotten votes and "
                "acknowledged writes. Bring the old directory back; or, if it is lost, run "
                f"`quorate node replace {identity.name} {identity.name}` and start this node again"
            )
        case catalog_changes.ADDRESS_IN_USE:
            return f"the cluster has a node at {seeds.own_address} already: choose another address"
        case catalog_changes.OTHER_AZ:
            return (
                f"the cluster waits for {identity.name} in another AZ than {identity.az}: a node "
                "is replaced by one in its own AZ"
            )
        case _:
            return f"the cluster does not take node {identity.name}: {reason}"


def _how_to_begin_anew(name: str) -> str:
    return (
        f"move this one away, run `quorate node replace {name} {name}` and start the node again, "
        "with an empty one"
    )
