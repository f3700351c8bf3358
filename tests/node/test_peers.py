"""Streams between nodes over real gRPC: who is let in, who is told what, who comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import grpc.aio
import pytest

from node.acquaintances import Acquaintances, Introduction, Verdict
from node.errands import Errands
from node.guard import Guard
from node.peer_batch import PeerBatch
from node.peers import CONNECT_SECONDS, PeerLinks
from node.server import NodeServicer
from node.storage.identity import Identity, Start
from quorate.cluster.catalog import Catalog, NodeRecord
from quorate.cluster.channels import Dialer
from raft.types import Message, MessageType

GROUP = 1


def make_identity(node_id: int, *, peers: dict[int, str]) -> Identity:
    return Identity(
        "cluster", node_id, f"n{node_id}", "az", f"i{node_id}", joined=True, peers=peers,
        start=Start(2, "second"),
    )  # fmt: skip


@dataclass(slots=True)
class Receiver:
    """The part of a shell and of a host that takes a peer's messages."""

    received: list[tuple[int, int]] = field(default_factory=list)  # (sender, term)
    broken: list[int] = field(default_factory=list)
    connected: list[int] = field(default_factory=list)
    catalog: Catalog = field(default_factory=Catalog)

    @property
    def host(self) -> Receiver:
        return self

    def call(self, act: Callable[..., None], *arguments: Any) -> None:
        act(*arguments)

    def receive(self, batch: PeerBatch) -> None:
        self.received += [(batch.sender, message.term) for _, message in batch]

    def peer_broken(self, node_id: int) -> None:
        self.broken.append(node_id)

    def peer_connected(self, node_id: int) -> None:
        self.connected.append(node_id)


@dataclass(slots=True)
class Events:
    """What a node's links report."""

    broken: list[int] = field(default_factory=list)
    connected: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    def peer_connected(self, node_id: int) -> None:
        self.connected.append(node_id)

    def peer_broken(self, node_id: int) -> None:
        self.broken.append(node_id)

    def peer_refused(self, node_id: int, address: str) -> None:
        assert address
        self.refused.append(node_id)


class Noting(Acquaintances):
    """Remembers what it has said."""

    def __init__(self, identity: Identity) -> None:
        super().__init__(identity, lambda _: None)
        self.verdicts: list[Verdict] = []

    def meet(self, introduction: Introduction) -> Verdict:
        self.verdicts.append(super().meet(introduction))
        return self.verdicts[-1]


@asynccontextmanager
async def serving(acquaintances: Acquaintances, tmp_path: Path) -> AsyncIterator[tuple[str, Any]]:
    """Serve one node; yield its address and who receives there."""
    guard = Guard("")
    servicer = NodeServicer(acquaintances, tmp_path, guard)
    receiver = Receiver()
    servicer.shell = cast("Any", receiver)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((guard.handlers(servicer),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}", receiver
    finally:
        await server.stop(None)


Story = Callable[[PeerLinks, Events, Acquaintances, str, Receiver], Awaitable[None]]


def run_story(tmp_path: Path, story: Story, *, sender: Identity | None = None) -> None:
    """Run a story between node 1, which sends, and node 2, which knows it as it was."""

    async def run() -> None:
        identity = make_identity(2, peers={1: "i1"})
        identity.starts_seen = {1: Start(2, "second")}
        acquaintances = Noting(identity)
        events = Events()
        async with (
            asyncio.timeout(20),
            serving(acquaintances, tmp_path) as (address, receiver),
            Errands() as errands,
        ):
            sending = sender or make_identity(1, peers={2: "i2"})
            links = PeerLinks(sending, events, errands, Dialer())
            await story(links, events, acquaintances, address, receiver)

    asyncio.run(run())


def heartbeat(to: int, term: int) -> PeerBatch:
    return PeerBatch(1, to, [(GROUP, Message(MessageType.HEARTBEAT, 1, to, term))])


async def until(fact: Callable[[], bool], links: PeerLinks | None = None, to: int = 2) -> None:
    """Wait for a fact, sending a message again and again if there are links."""
    while not fact():
        if links is not None:
            links.send(heartbeat(to, term=7))
        await asyncio.sleep(0.01)


def test_known_node_is_let_in_and_its_messages_are_stepped(tmp_path: Path) -> None:
    async def story(
        links: PeerLinks, events: Events, _: Acquaintances, address: str, receiver: Receiver
    ) -> None:
        links.follow({2: address})
        await until(lambda: bool(receiver.received), links)

        assert receiver.received[0] == (1, 7)
        assert events == Events(connected=[2])
        assert receiver.connected == [1]
        links.follow({})
        await until(lambda: receiver.broken == [1])

    run_story(tmp_path, story)


def test_the_way_to_a_peer_is_measured_while_its_stream_is_open(tmp_path: Path) -> None:
    async def story(
        links: PeerLinks, events: Events, _: Acquaintances, address: str, receiver: Receiver
    ) -> None:
        links.follow({2: address})
        assert links.streams() == {2: (False, None)}
        await until(lambda: links.streams()[2][1] is not None)
        is_open, seconds = links.streams()[2]

        assert is_open
        assert seconds is not None
        assert 0 < seconds < CONNECT_SECONDS

    run_story(tmp_path, story)


@pytest.mark.parametrize(
    "change",
    [{"incarnation": "other"}, {"start": Start(1, "first")}, {"start": Start(2, "copy")}],
    ids=["other directory", "older start", "copy started again"],
)
def test_other_or_old_directory_is_refused_for_good(
    tmp_path: Path, change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Reliability plan, 4.3 row 4: refused, and no term changes. One line says so."""
    caplog.set_level("INFO", logger="quorate.events")

    async def story(
        links: PeerLinks, events: Events, _: Acquaintances, address: str, receiver: Receiver
    ) -> None:
        links.follow({2: address})
        await until(lambda: len(events.refused) > 1, links)

        assert set(events.refused) == {2}
        assert receiver == Receiver()
        assert events.broken == [], "a stream that was never let in is none that broke"

    run_story(tmp_path, story, sender=replace(make_identity(1, peers={2: "i2"}), **change))

    assert sum(line.startswith("refused_by_peer ") for line in caplog.messages) == 1


def test_removed_node_is_refused_for_good(tmp_path: Path) -> None:
    async def story(
        links: PeerLinks, events: Events, known: Acquaintances, address: str, receiver: Receiver
    ) -> None:
        own = NodeRecord(id=2, name="n2", az="az", address=address, incarnation="i2")
        known.follow(Catalog(epoch=9, nodes=(own,), next_node_id=3))
        links.follow({2: address})
        await until(lambda: bool(events.refused), links)

        assert receiver == Receiver()

    run_story(tmp_path, story)


def test_stream_meant_for_another_node_at_the_address_is_not_taken(tmp_path: Path) -> None:
    """Node 2 has taken the place of node 5, and its address: it must not speak for it."""

    async def story(
        links: PeerLinks, events: Events, _: Acquaintances, address: str, receiver: Receiver
    ) -> None:
        links.follow({2: address, 5: address})
        while len(receiver.received) < 20:
            links.send(heartbeat(2, term=7))
            links.send(heartbeat(5, term=8))
            await asyncio.sleep(0.01)

        assert {term for _, term in receiver.received} == {7}
        assert events == Events(connected=[2]), "nothing is wrong with node 1"

    run_story(tmp_path, story)


def test_node_that_is_not_known_yet_is_let_in_once_it_is(tmp_path: Path) -> None:
    async def story(
        links: PeerLinks, events: Events, known: Acquaintances, address: str, receiver: Receiver
    ) -> None:
        known.identity.peers = {}
        links.follow({2: address})
        await until(lambda: Verdict.UNKNOWN in cast("Noting", known).verdicts)
        assert receiver == Receiver()

        known.identity.peers = {1: "i1"}
        await until(lambda: bool(receiver.received), links)
        assert events == Events(connected=[2])

    run_story(tmp_path, story)
