"""A router: the real dispatcher and upstream batching, on simulated streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from node.codec import decode_route_batch
from node.routes import RouteStream
from quorate.cluster.catalog import Catalog, NodeRecord
from quorate.cluster.channels import Dialer
from quorate.cluster.outcome import Outcome
from quorate.cluster.ring import Ring
from quorate.v1 import node_pb2
from router.dispatch import Dispatch
from router.routed import Routed
from router.upstream import Upstream
from router.wakefulness import Wakefulness
from tests.sim.clients import Attempt
from tests.sim.operations import key_of, table_of_name

if TYPE_CHECKING:
    from tests.sim.nodes import SimulatedNode
    from tests.sim.world import World

TICK_SECONDS = 0.05
FETCH_SECONDS = 0.005
WATCH_SECONDS = 0.5


class SimulatedUpstream(Upstream):
    """The real upstream but for its tasks: a stream that opens, carries, breaks and reopens.

    `life` counts openings and breaks; `node_stream` is the node's end.
    """

    def __init__(self, router: SimulatedRouter, record: NodeRecord) -> None:
        world = router.world
        super().__init__(
            record,
            router.dispatch,
            dialer=Dialer(),  # never asked
            clock=router.clock,
            wakefulness=router.wakefulness,
            epoch=lambda: router.catalog.epoch,
            on_epoch=router.noticed_epoch,
        )
        self.router = router
        self.world = world
        self.peer: SimulatedNode = world.nodes[record.id]
        self.pair = (router.id, record.id)  # how cuts name this direction
        self.life = 0
        self.is_open = False
        self.lossy = False  # something was dropped: the stream breaks when that comes out
        self._writing = False
        self._to_node = 0.0  # when the last batch arrives
        self._to_router = 0.0
        self._node_life = 0
        self.node_stream = RouteStream(lambda: None)
        router.later(0.001, self._try_open)

    def send(self, routed: Routed) -> None:
        super().send(routed)
        if not self._writing:
            self._maybe_write()

    def _try_open(self) -> None:
        world, peer = self.world, self.peer
        if self.is_open or not self.router.is_up or self.router.upstreams.get(peer.id) is not self:
            return
        if not peer.answers or not world.network.is_whole(*self.pair):
            self.router.later(0.05 + 0.2 * world.rng.random(), self._try_open)
            return
        self.is_open = True
        self.lossy = False
        self.life += 1
        self._to_node = self._to_router = 0.0
        self._node_life = peer.life
        self._begin()
        self._wake.set()
        life = self.life
        self.node_stream = RouteStream(lambda: self._send_replies(life))
        peer.call(peer.host.add_stream, self.node_stream)
        self._maybe_write()

    # To the node

    def _maybe_write(self) -> None:
        if self.is_open and not self._writing and self._wake.is_set():
            self._writing = True
            self.router.later(0.001 * self.world.rng.random(), self._write, self.life)

    def _write(self, life: int) -> None:
        self._writing = False
        if life != self.life:
            self._maybe_write()
            return
        self._wake.clear()
        if self._sequence != self._accepted or (self._sequence and not self._has_work()):
            return
        self._sequence += 1
        self._sent_at = self._clock()
        # A thread of the library's sends it: what that has not sent yet sleeps with the process.
        seconds = 0.0005 * self.world.rng.random()
        batch = self._take_batch()
        self.router.later(seconds, self._carry_batch, batch, self.node_stream, life)
        if batch.writes.slots:
            self.router.wrote()

    def _carry_batch(self, batch: node_pb2.RouteBatch, stream: RouteStream, life: int) -> None:
        """A batch behind a "hold" cut waits, as in TCP; behind a "drop" cut it is lost."""
        world = self.world
        cut = world.network.cuts.get(self.pair)
        if cut == "drop":
            self.lossy = True
            return
        if cut == "hold":
            world.schedule.after(0.05, self._carry_batch, batch, stream, life)
            return
        now = world.schedule.now
        self._to_node = max(self._to_node, now + self._delay())
        world.schedule.after(
            self._to_node - now, self._batch_arrives, batch, stream, self._node_life, life
        )

    def _batch_arrives(
        self, batch: node_pb2.RouteBatch, stream: RouteStream, node_life: int, life: int
    ) -> None:
        peer = self.peer
        if peer.life != node_life or stream.closed:
            return
        if life != self.life and self.world.rng.random() < 0.5:
            return  # lost with its stream; else it had got through before
        if self.world.schedule.recording:
            self.world.tell(self.router.name, "batch at", peer.name, batch.sequence)
        peer.call(peer.host.route, stream, decode_route_batch(batch))

    # From the node

    def _send_replies(self, life: int) -> None:
        if life != self.life:
            return
        stream, world = self.node_stream, self.world
        while stream.has_reply():
            reply = stream.take_reply(self.peer.host.catalog.epoch, self.peer.host.clock.now_ms)
            cut = world.network.cuts.get(self.pair[::-1])
            if cut == "drop":
                self.lossy = True
                continue
            now = world.schedule.now
            self._to_router = max(self._to_router, now + self._delay())
            if cut == "hold":
                self._to_router += 0.5
            self.router.later(self._to_router - now, self._reply_arrives, reply, life)

    def _reply_arrives(self, reply: node_pb2.RouteReply, life: int) -> None:
        if life == self.life and self.router.is_up:
            if Outcome.STALE_CATALOG in reply.answers.outcomes:
                self.world.stale_refusals.heard(self.peer)
            self._take_reply(reply)
            self._maybe_write()

    def _delay(self) -> float:
        rng, options = self.world.rng, self.world.options
        seconds = options.delay * (0.5 + rng.random())
        if options.slow_message and rng.random() < options.slow_message:
            seconds += 0.3 * rng.random()
        return seconds

    # The end of a stream

    def break_stream(self) -> None:
        """Break the stream: a router that is awake knows at once, the node perhaps much later."""
        self.router.call(self, self._break)

    def _break(self) -> None:
        if not self.is_open:
            return
        world = self.world
        world.tell(self.router.name, "stream breaks to", self.node.name)
        self.is_open = False
        self.life += 1
        late = world.rng.choice((0.0, 0.01, 1.0))
        world.schedule.after(late, self._node_notices, self.node_stream, self._node_life)
        self._lose()
        self.router.later(0.05 + 0.2 * world.rng.random(), self._try_open)

    def _node_notices(self, stream: RouteStream, node_life: int) -> None:
        peer = self.peer
        if peer.life == node_life:
            peer.call(peer.host.remove_stream, stream)


class SimulatedRouter:
    """One router, numbered below zero. A restart loses everything it knew.

    While it sleeps, all that would happen to it waits. Of what has gathered when it wakes, each
    connection's part is in order, and which connection comes first is chance.
    """

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.id = -number
        self.name = f"router {number}"
        self.is_up = False
        self.life = 0
        self.asleep = False
        self._frozen_at: float | None = None  # its clock, while that stands still
        self._unread: set[Attempt] = set()  # while it wakes
        self.sleeps_before_a_batch: Callable[[], None] | None = None
        self._clock_behind = 0.0

    def clock(self) -> float:
        """Seconds of this router's clock, which stands still in a machine that is suspended."""
        now = self.world.schedule.now if self._frozen_at is None else self._frozen_at
        return now - self._clock_behind

    def start(self) -> None:
        """Start with an empty cache, unless it is up already."""
        if self.is_up:
            return
        world = self.world
        self.is_up = True
        self.asleep = False
        self._gathered: list[tuple[object, Callable[..., object], tuple[Any, ...]]] = []
        self.life += 1
        self.wakefulness = Wakefulness(self.clock, self._slept)
        self.catalog = Catalog()
        self.ring: Ring | None = None
        self._places: dict[str, tuple[bytes, int]] = {}
        self.upstreams: dict[int, SimulatedUpstream] = {}
        self._fetching = False
        self.dispatch = Dispatch(
            az=self.world.first_catalog.nodes[-self.id].az,
            clock=self.clock,
            on_stale_catalog=self._fetch,
        )
        self._watch(self.life)
        self.later(TICK_SECONDS * world.rng.random(), self._tick, self.life)

    def stop(self) -> None:
        """Die: clients see their connections break."""
        self.world.tell(self.name, "dies")
        self.is_up = self.asleep = False
        self._frozen_at = None
        self.life += 1
        for upstream in self.upstreams.values():
            upstream.is_open = False
            upstream.life += 1
            peer = upstream.peer
            if peer.is_up and peer.life == upstream._node_life:
                peer.call(peer.host.remove_stream, upstream.node_stream)

    def _tick(self, life: int) -> None:
        if life == self.life:
            self.wakefulness.look()
            self.dispatch.tick()
            self.later(TICK_SECONDS, self._tick, life)

    # What happens to it, at once or when it wakes

    def call(self, source: object, act: Callable[..., object], *arguments: Any) -> None:
        """Let something happen to this router that comes from `source`."""
        if self.asleep:
            self._gathered.append((source, act, arguments))
        else:
            act(*arguments)

    def later(self, seconds: float, act: Callable[..., object], *arguments: Any) -> None:
        """Let something happen after a while, unless this router ends before."""
        source = getattr(act, "__self__", self)
        self.world.schedule.after(seconds, self._if_alive, self.life, source, act, *arguments)

    def _if_alive(
        self, life: int, source: object, act: Callable[..., object], *arguments: Any
    ) -> None:
        if life == self.life:
            self.call(source, act, *arguments)

    def receive(self, attempt: Attempt) -> None:
        """Take a client's request; it lies unread while this router sleeps."""
        self.call(attempt, attempt.arrive)

    def sleep(self, *, suspended: bool) -> None:
        """Stop, as by SIGSTOP; or with the whole machine, whose clock then stands still, too."""
        if not self.is_up or self.asleep:
            return
        self.world.tell(self.name, "is suspended" if suspended else "is stopped")
        self.world.counts["router slept"] += 1
        self.asleep = True
        if suspended:
            self._frozen_at = self.world.schedule.now

    def wrote(self) -> None:
        """A batch with writes is about to leave."""
        before_it_leaves, self.sleeps_before_a_batch = self.sleeps_before_a_batch, None
        if before_it_leaves is not None:
            before_it_leaves()

    def wake(self) -> None:
        """Go on with all that has gathered."""
        if not self.asleep:
            return
        world = self.world
        world.tell(self.name, "wakes with", len(self._gathered))
        self.asleep = False
        if self._frozen_at is not None:
            self._clock_behind += world.schedule.now - self._frozen_at
            self._frozen_at = None
        ranks: dict[object, float] = {}
        gathered, self._gathered = self._gathered, []
        gathered.sort(key=lambda each: ranks.setdefault(each[0], world.rng.random()))
        self._unread = {source for source, _, _ in gathered if isinstance(source, Attempt)}
        for source, act, arguments in gathered:
            if not isinstance(source, Attempt) or source in self._unread:
                act(*arguments)
        self._unread = set()

    def _slept(self, seconds: float) -> None:
        """Drop all that was sent before it woke, as the process does with its connections."""
        self.world.tell(self.name, "has slept", seconds)
        self.world.counts["sleep noticed"] += 1
        self._unread.clear()
        for client in self.world.clients:
            client.dropped_by(self)
        self.dispatch.drop_all()

    def place_of(self, name: str) -> tuple[bytes, int] | None:
        """Return an item's storage key and partition, None if its table is not known here."""
        place = self._places.get(name)
        if place is None:
            table = self.catalog.table_by_name.get(table_of_name(name))
            if table is None:
                return None
            assert self.ring is not None
            key, token = key_of(name, table.id)
            place = self._places[name] = key, self.ring.partition_of(token).id
        return place

    # The catalog, as router.catalog_watch would bring it

    def _watch(self, life: int) -> None:
        if life == self.life:
            self._fetch()
            self.later(WATCH_SECONDS, self._watch, life)

    def noticed_epoch(self, epoch: int) -> None:
        if epoch > self.catalog.epoch:
            self._fetch()

    def _fetch(self) -> None:
        if not self._fetching:
            self._fetching = True
            self.later(FETCH_SECONDS, self._fetched, self.life)

    def _fetched(self, life: int) -> None:
        if life != self.life:
            return
        self._fetching = False
        reachable = [
            node
            for node in self.world.nodes.values()
            if node.answers and self.world.network.may_pass(self.id, node.id)
        ]
        catalog = self.world.rng.choice(reachable).host.catalog if reachable else Catalog()
        if catalog.epoch > self.catalog.epoch and catalog.partitions:
            self.catalog = catalog
            self.ring = Ring(catalog.partitions)
            self._places = {}
            for node_id in [each for each in self.upstreams if each not in catalog.node_by_id]:
                self.upstreams.pop(node_id).break_stream()
            for record in catalog.nodes:
                if record.id not in self.upstreams:
                    self.upstreams[record.id] = SimulatedUpstream(self, record)
            self.dispatch.catalog_changed(catalog, self.ring, self.upstreams)
        elif not self.catalog.epoch:
            self._fetching = True
            self.later(0.05, self._fetched, self.life)
