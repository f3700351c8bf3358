"""Clients: they call routers, send again under the same request id, and remember what they saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import orjson

from model.errors import (
    ConditionFailed,
    InternalServerError,
    ModelError,
    ResourceNotFound,
    Throttled,
)
from quorate.cluster.write_id import write_id
from router.dispatch import is_unknown
from router.routed import Routed, RoutedGet, RoutedRange, RoutedWrite, Span
from tests.sim.history import FAILED, Operation
from tests.sim.operations import TABLE, image_of, key_of, program_of, state_of, table_of_name
from tests.sim.schedule import Violation

if TYPE_CHECKING:
    from tests.sim.routers import SimulatedRouter
    from tests.sim.world import World

RETRY_SECONDS = 0.05
GIVE_UP = 0.25
"""Probability that a client gives up after a failure: what was "not done" must stay so."""

READS = ("get", "get_eventual")
ONE_PER_ID = ("add", "delete")
"""Two of these on one item are equal writes."""

ANSWERS_KEPT = 1 << 20
"""Bytes of answers of which no seed has more."""
MAIN_TABLE = 1
PAGE_BYTES_MAX = 1 << 20


class Attempt:
    """One time that an operation is sent to a router; the owner of the request that comes of it.

    The client may have given it up; it lies at the router all the same, and may yet be done.
    """

    __slots__ = ("call", "router", "router_life")

    def __init__(self, call: Call, router: SimulatedRouter) -> None:
        self.call = call
        self.router = router
        self.router_life = router.life

    def arrive(self) -> None:
        """Be read by the router."""
        routed = self._routed()
        if routed is None:
            self.call.failed(self, None, maybe=False)
            return
        try:
            self.router.dispatch.submit(routed)
        except Throttled as error:
            self.call.failed(self, error, maybe=False)

    def _routed(self) -> Routed | None:
        """Return the request as this router makes it; None if it knows no such table."""
        router, operation = self.router, self.call.operation
        place = router.place_of(operation.name)
        if place is None:
            return None
        key, partition = place
        deadline = router.clock() + router.world.options.request_timeout
        if operation.kind in READS:
            consistent = operation.kind == "get"
            return RoutedGet(self, partition, deadline, key, consistent=consistent)
        image, program = image_of(operation), program_of(operation)
        operation.write_id = write_id(operation.request_id, key, image, program)
        if router.world.writes.setdefault(operation.write_id, operation) is not operation:
            raise Violation(f"another write has the same id: {operation}")
        return RoutedWrite(self, partition, deadline, operation.write_id, key, image, program)

    # router.routed.Owner

    def answered(self, routed: Routed, units: int, payload: bytes) -> None:
        """Take the answer. The dispatcher survives what its owners raise; the run must not."""
        if self.call.attempt is not self:
            return
        try:
            self.call.answered(routed, payload)
        except Exception as error:
            self.router.world.schedule.fail(error)
            raise

    def failed(self, routed: Routed, error: ModelError) -> None:
        self.call.failed(self, error, maybe=is_unknown(routed))

    def page_arrived(
        self, routed: Routed, keys: Sequence[bytes], images: Sequence[bytes], *, more: bool
    ) -> None:
        raise AssertionError("a call asks for no ranges")

    def throttled(self, routed: Routed) -> ModelError:
        raise AssertionError("no table here has a capacity of its own")


class Call:
    """One operation under way. `attempt` is the one that it waits for, None between two."""

    __slots__ = ("attempt", "attempts", "client", "operation")

    def __init__(self, client: Client, operation: Operation) -> None:
        self.client = client
        self.operation = operation
        self.attempt: Attempt | None = None
        self.attempts = 0

    def send(self) -> None:
        """Send the operation to some router."""
        self.send_to(self.client.world.choose_router())

    def send_to(self, router: SimulatedRouter) -> None:
        world, operation = self.client.world, self.operation
        if not router.is_up:
            self._again_or_end()
            return
        self.attempts += 1
        if world.schedule.recording:
            world.tell(self.client.name, f"try {self.attempts} at {router.name}:", operation)
        attempt = self.attempt = Attempt(self, router)
        options, rng = world.options, world.rng
        if options.attempt_timeout:
            world.schedule.after(options.attempt_timeout, self._give_up, attempt)
        if options.twins and rng.random() < options.twins:
            self._send_twin()
        router.receive(attempt)

    def _send_twin(self) -> None:
        """Send the same once more, to any router; its answer is lost."""
        router = self.client.world.choose_router()
        if router.is_up:
            self.operation.maybe = True
            router.receive(Attempt(self, router))

    def _give_up(self, attempt: Attempt) -> None:
        """Close the connection, for no answer came, and try again elsewhere."""
        if self.attempt is attempt:
            self.connection_lost()

    def connection_lost(self) -> None:
        """Nobody knows what became of the attempt, or becomes of it yet."""
        self.operation.maybe = True
        self.attempt = None
        self._again_or_end()

    def router_died(self, router: SimulatedRouter) -> None:
        """The connection broke."""
        attempt = self.attempt
        if attempt is not None and attempt.router is router and attempt.router_life != router.life:
            self.connection_lost()

    def dropped_by(self, router: SimulatedRouter) -> None:
        """The router closed the connection; it says nothing of what it did."""
        attempt = self.attempt
        if attempt is not None and attempt.router is router:
            self.connection_lost()

    def answered(self, routed: Routed, payload: bytes) -> None:
        operation, world = self.operation, self.client.world
        if operation.kind in READS:
            operation.result = state = state_of(payload)
            if state and state[0]:
                world.last_seen[operation.name] = state[0]
        elif operation.kind == "add" and payload:
            operation.result = int(orjson.loads(payload)["n"]["N"])
        elif operation.kind == "add" and world.options.answers_bytes_max >= ANSWERS_KEPT:
            raise Violation(f"an answer is forgotten: {operation}")
        world.checker.acknowledged(operation, routed.token_key())
        self._end(known=True)

    def failed(self, attempt: Attempt, error: ModelError | None, *, maybe: bool) -> None:
        """Take an error, None for a table that the router does not know."""
        operation, world = self.operation, self.client.world
        operation.maybe |= maybe
        if self.attempt is not attempt:
            return
        self.attempt = None
        if isinstance(error, ConditionFailed):
            operation.result = FAILED
            self._end(known=True)
            return
        if isinstance(error, InternalServerError) and not maybe:
            world.schedule.fail(Violation(f"{operation}: {error}"))
        if isinstance(error, ResourceNotFound):
            if table_of_name(operation.name) not in world.catalog_client.dropped_at:
                world.schedule.fail(Violation(f"a live table is not found: {operation}"))
            self._end(known=False)
        elif error is not None and world.clients_give_up and world.rng.random() < GIVE_UP:
            self._end(known=False)
        else:
            self._again_or_end()

    def _again_or_end(self) -> None:
        world, name = self.client.world, self.operation.name
        waited = world.schedule.now - self.operation.called
        late = waited >= world.options.patience and world.clients_give_up
        too_late = waited >= world.options.retries_end and self.operation.kind not in READS
        if late or too_late or table_of_name(name) in world.catalog_client.dropped_at:
            self._end(known=False)
        else:
            pause = RETRY_SECONDS * (0.5 + world.rng.random())
            world.schedule.after(pause, self.send)

    def _end(self, *, known: bool) -> None:
        world, operation = self.client.world, self.operation
        self.attempt = None
        if known:
            operation.returned = world.schedule.now
            world.counts["known"] += 1
        elif operation.maybe and operation.kind not in READS:
            world.counts["unknown"] += 1
        else:
            # Surely not done: whatever it would have written must never be seen.
            world.history[operation.name].remove(operation)
            world.counts["not done"] += 1
        world.tell(self.client.name, "ends" if known else "gives up", operation)
        self.client.ended(self)


class Scan:
    """A read of the main table, partition by partition and page by page.

    What a page says, and what it does not have, is what its names were at one moment.
    """

    __slots__ = (
        "_backwards", "_called", "_client", "_consistent", "_high", "_items_max", "_low", "_over",
        "_partitions", "_routed", "_router", "_router_life",
    )  # fmt: skip

    def __init__(self, client: Client, router: SimulatedRouter) -> None:
        rng = client.world.rng
        self._client = client
        self._router, self._router_life = router, router.life
        assert router.ring is not None
        self._partitions = [partition.id for partition in router.ring.partitions]
        self._backwards = rng.random() < 0.5
        self._consistent = rng.random() < 0.8
        self._items_max = rng.choice((0, 1, 3))
        self._routed: Routed | None = None
        self._called = 0.0
        self._over = False
        self._begin_partition()

    def _begin_partition(self) -> None:
        self._low = MAIN_TABLE.to_bytes(4, "big")
        self._high = (MAIN_TABLE + 1).to_bytes(4, "big")

    def send(self) -> None:
        """Ask for the next page."""
        world = self._client.world
        self._called = world.schedule.now
        self._router.call(self, self._arrive)

    def _arrive(self) -> None:
        if self._over:
            return
        world = self._client.world
        span = Span(
            low=self._low,
            high=self._high,
            backwards=self._backwards,
            items_max=self._items_max,
            size_bytes_max=PAGE_BYTES_MAX,
        )
        deadline = self._router.clock() + world.options.request_timeout
        partition = self._partitions[0]
        self._routed = RoutedRange(self, partition, deadline, span, consistent=self._consistent)
        self._router.dispatch.submit(self._routed)

    def router_died(self, router: SimulatedRouter) -> None:
        if self._router is router and self._router_life != router.life:
            self._end()

    def dropped_by(self, router: SimulatedRouter) -> None:
        if self._router is router:
            self._end()

    def answered(self, routed: Routed, units: int, payload: bytes) -> None:
        raise AssertionError("a scan asks for ranges only")

    def throttled(self, routed: Routed) -> ModelError:
        raise AssertionError("no table here has a capacity of its own")

    def failed(self, routed: Routed, error: ModelError) -> None:
        if routed is self._routed:
            self._end()

    def page_arrived(
        self, routed: Routed, keys: Sequence[bytes], images: Sequence[bytes], *, more: bool
    ) -> None:
        if routed is not self._routed:
            return
        low, high = self._low, self._high
        if more and self._backwards:
            low = self._high = keys[-1]
        elif more:
            high = self._low = keys[-1] + b"\0"
        else:
            del self._partitions[:1]
            self._begin_partition()
        if self._consistent:
            self._note(routed.partition, low, high, dict(zip(keys, images, strict=True)))
        world = self._client.world
        world.counts["pages"] += 1
        if self._partitions and world.clients_begin:
            self.send()
        else:
            self._end()

    def _end(self) -> None:
        self._routed = None
        self._over = True
        self._client.ended(self)

    def _note(self, partition: int, low: bytes, high: bytes, found: dict[bytes, bytes]) -> None:
        """Remember each name that the page covers as read."""
        world, ring = self._client.world, self._router.ring
        assert ring is not None
        for name in world.names:
            key, token = key_of(name, MAIN_TABLE)
            if low <= key < high and ring.partition_of(token).id == partition:
                read = Operation(self._client.number, "get", name, b"", self._called)
                read.returned = world.schedule.now
                read.result = state_of(found.get(key, b""))
                world.history[name].append(read)


class Client:
    """One operation at a time, or a batch of some, or a scan."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.name = f"client {number}"
        self.calls: dict[Call | Scan, None] = {}

    def start(self) -> None:
        world = self.world
        world.schedule.after(world.rng.expovariate(1 / world.options.think), self._begin)

    def _begin(self) -> None:
        """Begin a batch, if clients still do."""
        world = self.world
        if not world.clients_begin:
            return
        rng, options = world.rng, world.options
        if rng.random() < options.scans:
            self._begin_scan()
            return
        names = [*world.names, *world.catalog_client.names]
        count = 1 + rng.randrange(options.batch)
        kinds, names = rng.choices(options.kinds, k=count), rng.choices(names, k=count)
        self.begin(list(map(self._draw, kinds, names)))

    def _begin_scan(self) -> None:
        router = self.world.choose_router()
        if router.is_up and TABLE in router.catalog.table_by_name:
            scan = Scan(self, router)
            self.calls = {scan: None}
            scan.send()
        else:
            self.start()

    def begin(self, operations: Sequence[Operation]) -> None:
        """Begin these operations, all at once."""
        calls = [Call(self, operation) for operation in operations]
        self.calls = dict.fromkeys(calls)
        router, history = self.world.choose_router(), self.world.history
        for call in calls:
            history.setdefault(call.operation.name, []).append(call.operation)
            call.send_to(router)

    def _draw(self, kind: str, name: str) -> Operation:
        world = self.world
        operation = self.new_operation(kind, name)
        if kind in ("put", "put_if_absent", "put_if"):
            operation.value = f"v{world.operation_count}"
        if kind == "put_if":
            operation.expected = world.last_seen.get(name, "v0")
        return operation

    def new_operation(self, kind: str, name: str) -> Operation:
        """Return an operation, under a request id of its own or one that another write had."""
        world = self.world
        world.operation_count += 1
        number = world.operation_count
        if world.rng.random() < world.options.reused_ids:
            number -= world.rng.randrange(number)
        if kind in ONE_PER_ID and (number, kind, name) in world.used_ids:
            number = world.operation_count  # an equal write under one id would be a retry
        world.used_ids.add((number, kind, name))
        request_id = number.to_bytes(16, "big")
        return Operation(self.number, kind, name, request_id, world.schedule.now)

    def router_died(self, router: SimulatedRouter) -> None:
        for call in list(self.calls):
            call.router_died(router)

    def dropped_by(self, router: SimulatedRouter) -> None:
        for call in list(self.calls):
            call.dropped_by(router)

    def ended(self, call: Call | Scan) -> None:
        """Go on once all of the batch has ended."""
        del self.calls[call]
        if not self.calls:
            self.start()
