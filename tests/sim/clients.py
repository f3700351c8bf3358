"""Clients: they call routers, send again under the same request id, and remember what they saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from model.errors import ConditionFailed, InternalServerError, ModelError
from model.image import decode_image
from model.keys import token_of
from model.program import Program, encode_program
from node.machine.catalog import CatalogResult
from quorate.cluster.catalog import CATALOG_GROUP
from quorate.cluster.commands import CreateTable, encode_catalog_command
from quorate.cluster.outcome import Outcome
from raft.types import Role
from router.dispatch import is_unknown
from router.routed import Routed, RoutedGet, RoutedWrite
from tests.node.builders import Write, add, delete, image, key, put, put_if_absent
from tests.sim.history import FAILED, Operation, State
from tests.sim.schedule import Violation

if TYPE_CHECKING:
    from tests.sim.routers import SimulatedRouter
    from tests.sim.world import World

RETRY_SECONDS = 0.05
GIVE_UP = 0.25
"""Probability that a client gives up after a failure: what was "not done" must stay so."""


class Attempt:
    """One request of an operation; the owner of what it routes."""

    __slots__ = ("client", "life", "operation", "router")

    def __init__(self, client: Client, operation: Operation, router: SimulatedRouter) -> None:
        self.client = client
        self.operation = operation
        self.router = router
        self.life = router.life

    def answered(self, routed: Routed, units: int, payload: bytes) -> None:
        """Take the answer. The dispatcher survives what its owners raise; the run must not."""
        try:
            self.client.answered(self, payload)
        except Exception as error:
            self.client.world.schedule.fail(error)
            raise

    def failed(self, routed: Routed, error: ModelError) -> None:
        self.client.failed(self, error, unknown=is_unknown(routed))

    def page_arrived(
        self, routed: Routed, keys: Sequence[bytes], images: Sequence[bytes], *, more: bool
    ) -> None:
        raise AssertionError("no ranges are asked for")


class Client:
    """One operation at a time."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.name = f"client {number}"
        self.current: Operation | None = None
        self._attempt: Attempt | None = None
        self._write: Write | None = None

    def start(self) -> None:
        world = self.world
        world.schedule.after(world.rng.expovariate(1 / world.options.think), self.begin)

    def begin(self, forced: Operation | None = None) -> None:
        """Begin an operation, if clients still do."""
        if forced is None and not self.world.clients_begin:
            return
        operation = forced or self._draw()
        self.current = operation
        self._write = _write_of(operation)
        self.world.history.append(operation)
        self._try()

    def _draw(self) -> Operation:
        world = self.world
        rng, mix = world.rng, world.options.mix
        (kind,) = rng.choices(list(mix), list(mix.values()))
        name = rng.choice(world.names)
        world.operation_count += 1
        number = world.operation_count
        request_id = number.to_bytes(16, "big")
        operation = Operation(self.number, kind, name, request_id, world.schedule.now)
        if kind in ("put", "put_if_absent", "put_if"):
            operation.value = f"v{number}"
        if kind == "put_if":
            operation.expected = world.last_seen.get(name, "v0")
        return operation

    # Requests

    def _try(self) -> None:
        """Send the current operation to some router."""
        world, operation = self.world, self.current
        assert operation is not None
        router = world.rng.choice(world.routers)
        if not router.is_up or router.ring is None:
            self._attempt = None
            self._again_or_end()
            return
        operation.attempts += 1
        self._attempt = attempt = Attempt(self, operation, router)
        world.tell(self.name, f"try {operation.attempts} at {router.name}:", operation)
        write = self._write
        storage_key = write.key if write is not None else key(operation.name)
        partition = router.ring.partition_of(token_of(storage_key)).id
        deadline = world.schedule.now + world.options.request_timeout
        routed: Routed
        if write is None:
            consistent = operation.kind == "get"
            routed = RoutedGet(attempt, partition, deadline, storage_key, consistent=consistent)
        else:
            routed = RoutedWrite(
                attempt,
                partition,
                deadline,
                operation.request_id,
                storage_key,
                write.image,
                write.program,
            )
        router.dispatch.submit(routed)

    def router_died(self, router: SimulatedRouter) -> None:
        """The connection broke: nobody knows what became of the request."""
        attempt = self._attempt
        if attempt is not None and attempt.router is router and attempt.life != router.life:
            assert self.current is not None
            self.current.maybe = True
            self._attempt = None
            self._again_or_end()

    def answered(self, attempt: Attempt, payload: bytes) -> None:
        if attempt is not self._attempt:
            return
        operation = attempt.operation
        if self._write is None:
            operation.result = state_of(payload)
            if operation.result and operation.result[0]:
                self.world.last_seen[operation.name] = operation.result[0]
        elif operation.kind == "add":
            operation.result = int(orjson.loads(payload)["n"]["N"]) if payload else 0
        self.world.checker.acknowledged(operation)
        self._end(known=True)

    def failed(self, attempt: Attempt, error: ModelError, *, unknown: bool) -> None:
        if attempt is not self._attempt:
            return
        operation = attempt.operation
        if isinstance(error, ConditionFailed):
            operation.result = FAILED
            self._end(known=True)
            return
        if unknown:
            operation.maybe = True
        elif isinstance(error, InternalServerError):
            self.world.schedule.fail(Violation(f"{operation}: {error}"))
        self._attempt = None
        if self.world.clients_give_up and self.world.rng.random() < GIVE_UP:
            self._end(known=False)
        else:
            self._again_or_end()

    def _again_or_end(self) -> None:
        world, operation = self.world, self.current
        assert operation is not None
        if (
            world.schedule.now - operation.called < world.options.patience
            or not world.clients_give_up
        ):
            pause = RETRY_SECONDS * (0.5 + world.rng.random())
            world.schedule.after(pause, self._try)
        else:
            self._end(known=False)

    def _end(self, *, known: bool) -> None:
        world, operation = self.world, self.current
        assert operation is not None
        self.current = self._attempt = None
        if known:
            operation.returned = world.schedule.now
            world.counts["known"] += 1
        elif operation.maybe and self._write is not None:
            world.counts["unknown"] += 1
        else:
            # Surely not done: whatever it would have written must never be seen.
            world.history.remove(operation)
            world.counts["not done"] += 1
        world.tell(self.name, "ends" if known else "gives up", operation)
        self.start()


class CatalogClient:
    """Creates tables, each until it is known to exist."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.wanted: list[str] = []
        self.made: dict[str, int] = {}
        self._count = 0

    def create(self, name: str) -> None:
        self._count += 1
        self.wanted.append(name)
        command = CreateTable(b"catalog!" + self._count.to_bytes(8, "big"), name, b"{}")
        self._try(name, encode_catalog_command(command), [False])

    def _try(self, name: str, payload: bytes, ended: list[bool]) -> None:
        """Ask whoever leads, or anybody; again later, under the same id."""
        world = self.world
        if ended[0]:
            return
        up = [node for node in world.nodes.values() if node.is_up and not node.paused]
        leaders = [
            node for node in up if node.host.replicas[CATALOG_GROUP].core.role is Role.LEADER
        ]
        chosen = leaders if leaders and world.rng.random() < 0.9 else up
        world.schedule.after(0.2, self._try, name, payload, ended)
        if chosen:
            node = world.rng.choice(chosen)
            node.call(node.host.change_catalog, payload, self._answer_to(name, ended))

    def _answer_to(self, name: str, ended: list[bool]) -> CatalogAnswer:
        return CatalogAnswer(self, name, ended)


@dataclass(slots=True)
class CatalogAnswer:
    """Takes the answer to one request."""

    client: CatalogClient
    name: str
    ended: list[bool]

    def __call__(self, outcome: Outcome, result: CatalogResult) -> None:
        if outcome is Outcome.OK and not self.ended[0]:
            self.ended[0] = True
            if result.refusal:
                raise Violation(f"table {self.name} was refused: {result.refusal}")
            self.client.made[self.name] = result.epoch


def _write_of(operation: Operation) -> Write | None:
    name = operation.name
    match operation.kind:
        case "add":
            return add(name)
        case "put":
            return put(name, v=operation.value)
        case "put_if_absent":
            return put_if_absent(name, v=operation.value)
        case "put_if":
            program = Program(
                kind="put",
                condition="v = :expected",
                values={":expected": {"S": operation.expected}},
            )
            return Write(key(name), image(name, v=operation.value), encode_program(program))
        case "delete":
            return delete(name)
        case _:
            return None


def state_of(encoded: bytes) -> State:
    """Return what an image says, as the oracle's state."""
    if not encoded:
        return None
    item = decode_image(encoded)
    value, number = item.get("v"), item.get("n")
    return (
        str(value["S"]) if isinstance(value, dict) else "",
        int(str(number["N"])) if isinstance(number, dict) else 0,
    )
