"""One run: a cluster, its clients, its faults, and in the end the demand that all is well."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from random import Random

from node import checkpoints, host
from quorate.cluster.catalog import Catalog, NodeRecord, PartitionRecord
from quorate.cluster.ring import equal_arcs
from raft.types import Message, RaftConfig
from tests.sim.checker import Checker, SilentChecker
from tests.sim.clients import CatalogClient, Client
from tests.sim.faults import Faults
from tests.sim.history import ENDLESS, Operation, Undecided, is_linearizable
from tests.sim.network import Network
from tests.sim.nodes import SimulatedNode
from tests.sim.options import Options, draw_options
from tests.sim.routers import SimulatedRouter
from tests.sim.schedule import Schedule, Violation

STEPS = 5_000
"""Events of a seed before everything is healed."""

NODE_IDS = (1, 2, 3)
TABLE = "table-1"
READY_SECONDS = 30.0
SECONDS_MAX = 25.0
"""Longest first phase: request ids are forgotten after a minute."""

CONVERGED_SECONDS = 30.0
"""After healing, all must be well within so many seconds of virtual time."""


class SimulationFailed(Exception):
    """A seed that found something; the message is all there is to know, `finding` its last line."""

    def __init__(self, story: str, finding: str) -> None:
        super().__init__(f"{story}\n\n{finding}")
        self.finding = finding


class World:
    """Everything of one seed."""

    def __init__(self, seed: int, *, clients_only: bool = False) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.options = draw_options(self.rng)
        self.schedule = Schedule()
        self.tell = self.schedule.tell
        self.node_ids = NODE_IDS
        self.counts: Counter[str] = Counter()
        self.checker = SilentChecker(self) if clients_only else Checker(self)
        self.faults = Faults(self)
        self.nodes = {node_id: SimulatedNode(self, node_id) for node_id in NODE_IDS}
        self.network = Network(self)
        self.routers = [
            SimulatedRouter(self, number) for number in range(1, self.options.routers + 1)
        ]
        self.clients = [Client(self, number) for number in range(1, self.options.clients + 1)]
        self.catalog_client = CatalogClient(self)
        self.first_catalog = _first_catalog(self.options)
        self.names = [f"key{number}" for number in range(self.options.keys)]
        self.history: list[Operation] = []
        self.last_seen: dict[str, str] = {}
        self.operation_count = 0
        self.clients_begin = True
        self.clients_give_up = True

    # What others call

    def start_node(self, node: SimulatedNode) -> None:
        """Start a node, if it is down. Whatever stream was left of its former life breaks."""
        if node.is_up:
            return
        for pair, stream in self.network.streams.items():
            if node.id in pair:
                self.network.break_stream(stream)
        node.start()

    def break_router_streams(self, node: SimulatedNode) -> None:
        for router in self.routers:
            upstream = router.upstreams.get(node.id) if router.is_up else None
            if upstream is not None:
                self.schedule.after(0.01 * self.rng.random(), upstream.break_stream)

    def tell_messages(self, sender: int, to: int, outbox: list[tuple[int, Message]]) -> None:
        self.schedule.story.append(
            (self.schedule.now, f"{sender} -> {to}", "", tuple(map(_Shown, outbox)))
        )

    # The run

    def run(self, steps: int) -> None:
        """Run both phases. Raises whatever is found."""
        self._begin()
        schedule = self.schedule
        last = schedule.steps + steps
        until = schedule.now + SECONDS_MAX
        self.faults.start()
        for client in self.clients:
            client.start()
        while schedule.steps < last and schedule.now < until:
            schedule.step()
        self._end()

    def _begin(self) -> None:
        """Bring up the cluster with its table, before any fault."""
        for node in self.nodes.values():
            node.start()
        self.network.start()
        for router in self.routers:
            router.start()
        self._run_until(self._has_catalog, READY_SECONDS, "no catalog was made")
        self.catalog_client.create(TABLE)
        self._run_until(self._is_ready, READY_SECONDS, "the cluster does not come up")

    def _has_catalog(self) -> bool:
        return all(node.host.catalog.epoch for node in self.nodes.values())

    def _is_ready(self) -> bool:
        return all(node.host.catalog.epoch >= 2 for node in self.nodes.values()) and all(
            router.ring is not None
            and all(map(router.dispatch.is_led, range(1, self.options.partitions + 1)))
            for router in self.routers
        )

    def _run_until(self, reached: Iterator[bool] | object, seconds: float, otherwise: str) -> None:
        assert callable(reached)
        until = self.schedule.now + seconds
        while not reached():
            for _ in range(10):
                self.schedule.step()
            if self.schedule.now > until:
                raise Violation(otherwise)

    def _end(self) -> None:
        """Heal, let every client have its answer, and look at everything once more."""
        self.faults.heal()
        self.clients_begin = False
        self.clients_give_up = False
        self._run_until(self._has_converged, CONVERGED_SECONDS, "the cluster does not converge")
        known = self.counts["known"]
        for name, client in zip(self.names * 2, self.clients * len(self.names) * 2, strict=False):
            number = self.operation_count = self.operation_count + 1
            read = Operation(
                client.number, "get", name, number.to_bytes(16, "big"), self.schedule.now
            )
            self._run_until(lambda c=client: c.current is None, CONVERGED_SECONDS, "no answer")
            client.begin(read)
        self._run_until(
            lambda: all(client.current is None for client in self.clients),
            CONVERGED_SECONDS,
            "clients get no answers",
        )
        assert self.counts["known"] >= known + len(self.names)
        self._run_until(self._has_converged, CONVERGED_SECONDS, "the cluster does not converge")
        self.checker.check_equal()
        self._check_tables()
        self._check_histories()

    def _has_converged(self) -> bool:
        if any(client.current is not None for client in self.clients):
            return False
        if any(router.dispatch.pending_count for router in self.routers):
            return False
        if any(name not in self.catalog_client.made for name in self.catalog_client.wanted):
            return False
        groups = range(self.options.partitions + 1)
        for group in groups:
            cores = [node.host.replicas[group].core for node in self.nodes.values()]
            if not any(core.may_evaluate for core in cores):
                return False
            ends = {(core.applied, core.commit, core.last_index, core.term) for core in cores}
            if len(ends) != 1:
                return False
        return True

    def _check_tables(self) -> None:
        made = {table.name for table in self.nodes[1].host.catalog.tables}
        if made != set(self.catalog_client.wanted):
            raise Violation(f"tables {sorted(made)}, wanted {self.catalog_client.wanted}")

    def _check_histories(self) -> None:
        for name in self.names:
            operations = [
                operation
                for operation in self.history
                if operation.name == name and operation.kind != "get_eventual"
            ]
            try:
                possible = is_linearizable(operations)
            except Undecided:
                self.counts["undecided"] += 1
                continue
            if not possible:
                shown = "\n".join(f"  {operation}" for operation in shortest_wrong(operations))
                raise Violation(f"no order explains what clients saw of {name}:\n{shown}")


def shortest_wrong(operations: list[Operation]) -> list[Operation]:
    """Return the shortest beginning of a history that no order explains."""
    for count in range(1, len(operations) + 1):
        ends = sorted(operation.returned for operation in operations)
        until = ends[count - 1]
        part = [
            operation
            if operation.returned <= until
            else replace(operation, returned=ENDLESS, result=None)
            for operation in operations
            if operation.called <= until
        ]
        part = [o for o in part if o.kind != "get" or o.returned != ENDLESS]
        if not is_linearizable(part):
            return part
    return operations


class _Shown:
    """A message as the story shows it; formatted only if somebody reads it."""

    __slots__ = ("_group", "_message")

    def __init__(self, pair: tuple[int, Message]) -> None:
        self._group, self._message = pair

    def __str__(self) -> str:
        message = self._message
        text = f"[{self._group}] {message.type.name} t{message.term}"
        if message.index or message.log_term:
            text += f" at {message.index}/{message.log_term}"
        if message.entries:
            text += f" +{len(message.entries)}"
        if message.commit:
            text += f" commit {message.commit}"
        return text + (" REJECT" if message.reject else "")


def _first_catalog(options: Options) -> Catalog:
    return Catalog(
        cluster_id="sim",
        nodes=tuple(
            NodeRecord(id=number, name=f"n{number}", az=f"az-{number}", address=f"n{number}")
            for number in NODE_IDS
        ),
        partitions=tuple(
            PartitionRecord(
                id=place + 1,
                low_token=low_token,
                replicas=NODE_IDS[place % 3 :] + NODE_IDS[: place % 3],
            )
            for place, low_token in enumerate(equal_arcs(options.partitions))
        ),
    )


@contextmanager
def _limits(options: Options) -> Iterator[None]:
    """Make the node's limits small enough to be met, and keep what the router logs to itself."""
    changes = (
        (checkpoints, "INTERVAL_SECONDS", options.checkpoint_every),
        (checkpoints, "LOG_BYTES_MAX", options.log_bytes_max),
        (host, "RaftConfig", partial(RaftConfig, **options.raft)),
    )
    with ExitStack() as undo:
        for owner, name, value in changes:
            undo.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        level = logging.root.manager.disable
        undo.callback(logging.disable, level)
        logging.disable(logging.CRITICAL)
        yield


def run_seed(seed: int, steps: int = STEPS, *, clients_only: bool = False) -> World:
    """Run one seed. Raises SimulationFailed, which tells everything.

    With `clients_only` nothing counts but what clients are told, and that the cluster recovers.
    """
    world = World(seed, clients_only=clients_only)
    with _limits(world.options):
        try:
            world.run(steps)
        except Exception as error:
            raise SimulationFailed(
                f"{world.schedule.read_story()}\n\nseed {seed}, steps {steps}, at step "
                f"{world.schedule.steps}\ndrawn:\n{world.options.describe()}",
                f"{type(error).__name__}: {error}",
            ) from error
    world.counts["operations"] = len(world.history)
    world.counts["seconds"] = round(world.schedule.now)
    return world
