"""The streams between nodes: in order while they live, lossy when they break.

A stream that breaks loses what is in it, or delivers it late, beside its successor. On top of
what TCP can do, messages come twice and old ones are replayed.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from node.acquaintances import Verdict
from node.codec import decode_raft_batch, encode_raft_batch
from node.peer_batch import PeerBatch
from quorate.v1 import node_pb2

if TYPE_CHECKING:
    from tests.sim.world import World

RECONNECT_SECONDS = 0.1
ARCHIVE_MAX = 64
"""Old batches kept to be replayed."""

NEWEST_MAX = 48
"""The newest batches, kept to come late."""

Sent = tuple[int, int, PeerBatch]
"""(sender, receiver, batch)."""


class PeerStream:
    """The stream from one node to another. `life` counts how often it was opened or broken."""

    __slots__ = ("arrives", "held", "is_open", "life", "sender", "to")

    def __init__(self, sender: int, to: int) -> None:
        self.sender = sender
        self.to = to
        self.is_open = False
        self.life = 0
        self.arrives = 0.0  # the last batch in it
        self.held: list[PeerBatch] = []  # behind a cut, delivered if it heals before a break


class Network:
    """All streams between nodes, and the cuts.

    A cut is "drop" (whatever enters is lost) or "hold" (it waits, as TCP does).
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.streams: dict[tuple[int, int], PeerStream] = {}
        self.cuts: dict[tuple[int, int], str] = {}
        self._archive: list[Sent] = []
        self._newest: deque[Sent] = deque(maxlen=NEWEST_MAX)

    def add_node(self, node_id: int) -> None:
        """Let streams be opened between a node and all that came before it."""
        for other in self._world.nodes:
            for pair in ((node_id, other), (other, node_id)):
                if other != node_id and pair not in self.streams:
                    stream = self.streams[pair] = PeerStream(*pair)
                    self._world.schedule.after(0.0, self._try_open, stream)

    def may_pass(self, sender: int, to: int) -> bool:
        return (sender, to) not in self.cuts

    def is_whole(self, one: int, other: int) -> bool:
        """Whether nothing is cut between the two, in either direction."""
        return (one, other) not in self.cuts and (other, one) not in self.cuts

    def send(self, outbox: PeerBatch) -> None:
        sender, to = pair = outbox.sender, outbox.to
        stream = self.streams[pair]
        if not stream.is_open:
            return
        world = self._world
        options, rng = world.options, world.rng
        world.checker.sent(world.nodes[sender], outbox)
        if options.wire and rng.random() < options.wire:
            outbox = _through_the_wire(sender, to, outbox)
        if options.breaks and rng.random() < options.breaks:
            self.break_stream(stream)
            return
        if pair in self.cuts:
            if self.cuts[pair] == "hold":
                stream.held.append(outbox)
            return
        self._carry(stream, outbox)
        if options.duplication and rng.random() < options.duplication:
            world.schedule.after(rng.random() * 0.5, self._deliver, sender, to, outbox)
        sent = (sender, to, outbox)
        self._newest.append(sent)
        if len(self._archive) < ARCHIVE_MAX:
            self._archive.append(sent)
        elif rng.random() < 0.05:
            self._archive[rng.randrange(ARCHIVE_MAX)] = sent

    def _carry(self, stream: PeerStream, outbox: PeerBatch) -> None:
        world = self._world
        options, rng, schedule = world.options, world.rng, world.schedule
        seconds = options.delay * (0.5 + rng.random())
        if options.slow_message and rng.random() < options.slow_message:
            seconds += rng.random() * 0.3
        arrives = schedule.now + seconds
        arrives = max(arrives, stream.arrives)
        stream.arrives = arrives
        schedule.at(arrives, self._arrive, stream, stream.life, outbox)

    def _arrive(self, stream: PeerStream, life: int, outbox: PeerBatch) -> None:
        if life != stream.life:
            rng, options = self._world.rng, self._world.options
            if rng.random() >= options.reordering * 0.5:
                return  # it was in a stream that broke
            self._world.schedule.after(
                rng.random() * 0.3, self._deliver, stream.sender, stream.to, outbox
            )
            return
        self._deliver(stream.sender, stream.to, outbox)

    def _deliver(self, sender: int, to: int, outbox: PeerBatch) -> None:
        world = self._world
        node = world.nodes[to]
        if node.is_up and self.cuts.get((sender, to)) != "drop":
            if world.schedule.recording:
                world.tell_messages(sender, to, outbox)
            node.heard_at[sender] = world.schedule.now
            node.call(node.host.receive, outbox)

    def replay(self) -> None:
        """Deliver something old once more."""
        if self._archive:
            sent = self._world.rng.choice(self._archive)
            self._world.tell("network", "replays", *sent[:2])
            self.deliver_late(sent)

    def newest_to(self, to: int) -> list[Sent]:
        """Return what a node was sent last."""
        return [sent for sent in self._newest if sent[1] == to]

    def deliver_late(self, sent: Sent) -> None:
        """Deliver what was sent once more."""
        self._deliver(*sent)

    # Streams

    def break_stream(self, stream: PeerStream) -> None:
        """Break a stream, if it is open; both ends hear of it."""
        if not stream.is_open:
            return
        world = self._world
        world.tell("network", "breaks stream", stream.sender, stream.to)
        stream.is_open = False
        stream.life += 1
        stream.held.clear()
        stream.arrives = 0.0
        for node_id, other in ((stream.sender, stream.to), (stream.to, stream.sender)):
            world.schedule.after(world.rng.random() * 0.01, self._tell_broken, node_id, other)
        world.schedule.after(RECONNECT_SECONDS, self._try_open, stream)

    def _tell_broken(self, node_id: int, other: int) -> None:
        node = self._world.nodes[node_id]
        if node.is_up:
            node.call(node.host.peer_broken, other)

    def _tell_connected(self, node_id: int, other: int) -> None:
        node = self._world.nodes[node_id]
        if node.is_up:
            node.call(node.host.peer_connected, other)

    def _try_open(self, stream: PeerStream) -> None:
        nodes = self._world.nodes
        pair = stream.sender, stream.to
        sender, to = nodes[stream.sender], nodes[stream.to]
        up = sender.is_up and to.is_up and self.is_whole(*pair)
        verdict = to.acquaintances.meet(sender.introduction) if up else Verdict.UNKNOWN
        if verdict is Verdict.WELCOME:
            stream.is_open = True
            stream.life += 1
            for node_id, other in (pair, pair[::-1]):
                self._world.schedule.after(
                    self._world.rng.random() * 0.01, self._tell_connected, node_id, other
                )
            return
        self._world.schedule.after(RECONNECT_SECONDS, self._try_open, stream)
        if verdict is not Verdict.UNKNOWN and sender.answers:
            sender.ask_why(to)

    def node_died(self, node_id: int, *, noticed: bool) -> None:
        """Break a dead node's streams, at once or (a machine that lost power) after a while."""
        seconds = 0.0 if noticed else 0.5 + self._world.rng.random()
        for pair, stream in self.streams.items():
            if node_id in pair:
                self._world.schedule.after(seconds, self._break_if, stream, stream.life)

    def _break_if(self, stream: PeerStream, life: int) -> None:
        if stream.life == life:
            self.break_stream(stream)

    # Cuts

    def cut(self, pair: tuple[int, int], mode: str) -> None:
        self.cuts[pair] = mode

    def mend(self, pair: tuple[int, int]) -> None:
        """Undo a cut; what was held goes on its way."""
        self.cuts.pop(pair, None)
        for router in self._world.routers:
            if router.id in pair and router.is_up:
                upstream = router.upstreams.get(max(pair))
                if upstream is not None and upstream.lossy:
                    upstream.break_stream()
        stream = self.streams.get(pair)
        if stream is not None:
            held, stream.held = stream.held, []
            for outbox in held:
                self._carry(stream, outbox)

    def mend_all(self) -> None:
        for pair in list(self.cuts):
            self.mend(pair)


def _through_the_wire(sender: int, to: int, outbox: PeerBatch) -> Any:
    raw = encode_raft_batch(outbox).SerializeToString()
    return decode_raft_batch(node_pb2.RaftBatch.FromString(raw), sender=sender, receiver=to)
