"""One run: a cluster, its clients, its faults, and in the end the demand that all is well."""

from __future__ import annotations

import gc
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, lru_cache, partial
from random import Random
from typing import Any

from node import batch_age, checkpoints, host, memberships
from node.codec import decode_write_entry
from node.join import take_place
from node.machine import dedupe, partition
from node.peer_batch import PeerBatch
from node.storage import items_install
from node.storage.layout import table_of
from quorate.cluster.catalog import CATALOG_GROUP, Catalog
from quorate.cluster.placement import catalog_voters
from raft.types import Configuration, Message, RaftConfig, Role
from router import upstream, wakefulness
from tests.sim import shadow, transfers
from tests.sim.catalogs import CatalogClient
from tests.sim.checker import Checker, SilentChecker
from tests.sim.clients import Client
from tests.sim.faults import Faults
from tests.sim.first_start import RoughStart, start_all
from tests.sim.followers import StaleRefusals
from tests.sim.history import Operation, Undecided, beginning_of, is_linearizable, shortest_wrong
from tests.sim.network import Network
from tests.sim.nodes import SimulatedNode
from tests.sim.operations import TABLE, table_of_name
from tests.sim.options import Options, draw_options
from tests.sim.routers import SimulatedRouter
from tests.sim.schedule import Schedule, Violation
from tests.sim.situations import SITUATIONS
from tests.sim.table_churn import TableChurn
from tests.sim.topology import first_catalog, names_of_items
from tests.sim.witness import is_explained

STEPS = 310
"""Events of a seed before everything is healed."""

SHORT_MEMORY = (
    (wakefulness, "SLEEP_SECONDS", 0.6),
    (upstream, "HEARD_SECONDS_MAX", 0.25),
    (batch_age, "HEARD_MS_MAX", 1_200),
)
"""With a window of seconds a sleep is noticed earlier, in proportion."""

ENTRIES_DECODED = 256
"""Log entries of partitions that are kept decoded."""

READY_SECONDS = 10.0
"""A new cluster must be up within so many seconds of virtual time."""

ROUGH_READY_SECONDS = 30.0
"""If nodes die, or are cut off, meanwhile."""

SECONDS_MAX = 25.0
"""Longest first phase."""

CONVERGED_SECONDS = 30.0
"""After healing, all must be well within so many seconds of virtual time."""


class SimulationFailed(Exception):
    """A seed that found something; the message is all there is to know, `finding` its end."""

    def __init__(self, world: World, steps: int, finding: str) -> None:
        super().__init__(
            f"{world.schedule.read_story()}\n\nseed {world.seed}, steps {steps}, at step "
            f"{world.schedule.steps}\ndrawn:\n{world.options.describe()}\n\n{finding}"
        )
        self.finding = finding


class World:
    """Everything of one seed."""

    def __init__(self, seed: int, *, clients_only: bool = False, recording: bool = False) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.options = draw_options(self.rng)
        self.schedule = Schedule(recording=recording)
        self.tell = self.schedule.tell
        self.counts: Counter[str] = Counter()
        self.checker = SilentChecker(self) if clients_only else Checker(self)
        self.faults = Faults(self)
        self.situation = SITUATIONS[self.options.situation](self)
        self.table_churn = TableChurn(self)
        self.stale_refusals = StaleRefusals(self)
        self.first_catalog = first_catalog(self.options)
        self.newest_catalog = Catalog()
        self.catalog_voters = catalog_voters(self.first_catalog.nodes)
        self.nodes = {record.id: SimulatedNode(self, record) for record in self.first_catalog.nodes}
        self.lost: list[int] = []  # nodes whose directory is gone
        self.network = Network(self)
        self.routers = [
            SimulatedRouter(self, number) for number in range(1, self.options.routers + 1)
        ]
        self.clients = [Client(self, number) for number in range(1, self.options.clients + 1)]
        self.catalog_client = CatalogClient(self)
        self.names = names_of_items(self.options)
        self.history: dict[str, list[Operation]] = {name: [] for name in self.names}
        self.last_seen: dict[str, str] = {}
        self.operation_count = 0
        self.writes: dict[bytes, Operation] = {}  # by write id
        self.used_ids: set[tuple[int, str, str]] = set()  # with kind and name
        self.clients_begin = True
        self.clients_give_up = True

    # What others call

    def start_node(self, node: SimulatedNode) -> None:
        """Start a node, if it is down. Whatever stream was left of its former life breaks."""
        if node.is_running:
            return
        for pair, stream in self.network.streams.items():
            if node.id in pair:
                self.network.break_stream(stream)
        node.start()

    def meet(self, catalog: Catalog) -> None:
        """Know the nodes that a catalog has: those that joined later begin with it."""
        if catalog.epoch > self.newest_catalog.epoch:
            self.newest_catalog = catalog
        for record in catalog.nodes:
            if record.id not in self.nodes:
                node = self.nodes[record.id] = SimulatedNode(self, record)
                assert take_place(node.identity, catalog, self.first_catalog.nodes)
                self.counts["joined"] += 1
                self.network.add_node(record.id)

    def process_at(self, address: str) -> SimulatedNode | None:
        """Return who runs at an address."""
        for node in self.nodes.values():
            if node.is_running and node.record.address == address:
                return node
        return None

    def choose_router(self) -> SimulatedRouter:
        return self.rng.choice(self.routers)

    def break_router_streams(self, node: SimulatedNode) -> None:
        for router in self.routers:
            upstream = router.upstreams.get(node.id) if router.is_up else None
            if upstream is not None:
                self.schedule.after(0.01 * self.rng.random(), upstream.break_stream)

    def tell_messages(self, sender: int, to: int, outbox: PeerBatch) -> None:
        self.tell(f"{sender} -> {to}", "", *map(_Shown, outbox))

    def members_of(self, group: int) -> list[SimulatedNode]:
        """Return the nodes that hold a group, but for those whose directory is gone."""
        return [
            self.nodes[node_id]
            for node_id in self.newest_catalog.replicas_of[group]
            if node_id not in self.lost
        ]

    # The run

    def run(self, steps: int) -> None:
        """Run both phases. Raises whatever is found."""
        self._begin()
        self.faults.start()
        self.table_churn.start()
        self.schedule.after(0.3 * self.rng.random(), self.situation.begin)
        for client in self.clients:
            client.start()
        self.schedule.run(steps=steps, seconds=SECONDS_MAX)
        while self.schedule.now < max(self.situation.until, self.table_churn.until):
            self.schedule.run(steps=10)
        self._end()

    def _begin(self) -> None:
        """Bring up the cluster with its table, before most faults."""
        start_all(self)
        rough = RoughStart(self) if self.options.rough_start else None
        if rough is not None:
            rough.run()
        is_rough = rough is not None or self.options.cut_off_at_start
        seconds = ROUGH_READY_SECONDS if is_rough else READY_SECONDS
        self._run_until(lambda: self._have_catalog(1), seconds, "no catalog was made")
        for router in self.routers:
            router.start()
        if rough is not None and rough.replace_lost():
            self.counts["lost at first start"] += 1
        self.catalog_client.create(TABLE)
        self._run_until(self._is_ready, seconds, "the cluster does not come up")

    def _have_catalog(self, epoch: int) -> bool:
        """Whether all nodes that take part, or may still do so, have a catalog of that epoch."""
        return all(
            node.is_up and node.host.catalog.epoch >= epoch
            for node in self.nodes.values()
            if not node.is_over
        )

    def _is_ready(self) -> bool:
        return self._have_catalog(self.newest_catalog.epoch) and all(
            TABLE in router.catalog.table_by_name
            and all(map(router.dispatch.is_led, range(1, self.options.partitions + 1)))
            for router in self.routers
        )

    def _run_until(self, reached: Callable[[], bool], seconds: float, otherwise: str) -> None:
        until = self.schedule.now + seconds
        while not reached():
            self.schedule.run(steps=10)
            if self.schedule.now > until:
                raise Violation(otherwise)

    def _end(self) -> None:
        """Heal, let every client have its answer, and look at everything once more."""
        self.faults.heal()
        self.clients_begin = False
        self.clients_give_up = False
        self._converge()
        known = self.counts["known"]
        self._read_everything()
        assert self.counts["known"] >= known + len(self.names)
        self._converge()
        for node_id in self.lost:
            if self.nodes[node_id].is_up:
                raise Violation(f"node {node_id} takes part with an empty directory")
        self.checker.check_equal()
        self._check_tables()
        self._check_histories()

    def _read_everything(self) -> None:
        """Let two clients read every name."""
        for client in self.clients[:2]:
            client.begin([client.new_operation("get", name) for name in self.names])
        self._run_until(
            lambda: not any(client.calls for client in self.clients),
            CONVERGED_SECONDS,
            "clients get no answers",
        )

    def _converge(self) -> None:
        until = self.schedule.now + CONVERGED_SECONDS
        while missing := self._what_is_missing():
            self.faults.replace_those_that_ended()
            self.schedule.run(steps=10)
            if self.schedule.now > until:
                raise Violation(f"the cluster does not converge: {missing}")

    def _what_is_missing(self) -> str:
        """Return why the cluster is not at rest yet, "" if it is."""
        if any(client.calls for client in self.clients) or self.catalog_client.pending:
            return "requests are under way"
        if any(router.dispatch.pending_count for router in self.routers):
            return "routers hold requests"
        catalog = self.newest_catalog
        if any(node.replacement for node in catalog.nodes):
            return "a node is being replaced"
        for group in range(self.options.partitions + 1):
            missing = self._what_is_missing_in(group, catalog)
            if missing:
                return f"group {group}: {missing}"
        for node in self.nodes.values():
            if node.is_up and catalog.has_removed(node.id):
                return f"{node.name} was replaced, and goes on"
            if node.is_up and node.host.catalog.epoch != catalog.epoch:
                return f"{node.name} has an older catalog"
        return "items of dropped tables are left" if self._holds_dropped_items() else ""

    def _what_is_missing_in(self, group: int, catalog: Catalog) -> str:
        members = self.members_of(group)
        for node in members:
            if not node.is_up or group not in node.host.replicas:
                return f"{node.name} has no replica"
        cores = [node.host.replicas[group].core for node in members]
        if sum(core.role is Role.LEADER for core in cores) != 1:
            return "there is not one leader"
        wanted = Configuration(tuple(sorted(catalog.replicas_of[group])))
        if any(core.configuration != wanted for core in cores):
            return f"{[core.configuration for core in cores]} instead of {wanted}"
        ends = {(core.applied, core.last_index, core.term) for core in cores}
        if len(ends) != 1 or cores[0].applied != cores[0].last_index:
            return f"(applied, last, term) are {ends}"
        return ""

    def _holds_dropped_items(self) -> bool:
        dropped = self.catalog_client.dropped_ids
        return bool(dropped) and any(
            not dropped.isdisjoint(map(table_of, node.items_disk.items))
            for node in self.nodes.values()
            if node.is_up
        )

    def _check_tables(self) -> None:
        made = {table.name for table in self.members_of(CATALOG_GROUP)[0].host.catalog.tables}
        if made != set(self.catalog_client.tables):
            raise Violation(f"tables {sorted(made)}, wanted {self.catalog_client.tables}")

    def _check_histories(self) -> None:
        order = self.checker.order_of_writes()
        for name, history in self.history.items():
            operations = [each for each in history if each.kind != "get_eventual"]
            dropped_at = self.catalog_client.dropped_at.get(table_of_name(name))
            if dropped_at is not None:
                operations = beginning_of(operations, dropped_at)
            if is_explained(operations, order):
                continue
            try:
                possible = is_linearizable(operations)
            except Undecided:
                raise Violation(
                    f"nobody can say whether the history of {name} is possible"
                ) from None
            if not possible:
                shown = "\n".join(f"  {operation}" for operation in shortest_wrong(operations))
                raise Violation(f"no order explains what clients saw of {name}:\n{shown}")


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


@contextmanager
def _limits(options: Options) -> Iterator[None]:
    """Make the node's limits small enough to be met, and keep what the router logs to itself."""
    decode = lru_cache(maxsize=ENTRIES_DECODED)(decode_write_entry)
    changes: tuple[tuple[Any, str, Any], ...] = (
        (checkpoints, "INTERVAL_SECONDS", options.checkpoint_every),
        (checkpoints, "LOG_BYTES_MAX", options.log_bytes_max),
        (memberships, "LAG_ENTRIES_MAX", options.lag_entries_max),
        (host, "RaftConfig", partial(RaftConfig, **options.raft)),
        # All replicas of a partition decode the same bytes.
        (partition, "decode_write_entry", decode),
        (shadow, "decode_write_entry", decode),
        (items_install, "read_pairs", transfers.read_pairs),
        (items_install, "read_state", transfers.read_state),
        (items_install, "FILL_BYTES", 1),
        (dedupe, "WINDOW_SECONDS", options.window),
        (dedupe, "IDS_MAX", options.ids_max),
        (dedupe, "ANSWERS_BYTES_MAX", options.answers_bytes_max),
        *(SHORT_MEMORY if options.window < dedupe.WINDOW_SECONDS else ()),
        (items_install, "CLEAR_ITEMS", 3),
    )
    with ExitStack() as undo:
        for owner, name, value in changes:
            undo.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        level = logging.root.manager.disable
        undo.callback(logging.disable, level)
        logging.disable(logging.CRITICAL)
        yield


@cache
def _freeze_what_was_there() -> None:
    """Let no later collection look at what was there before the first run."""
    gc.collect()
    gc.freeze()


@contextmanager
def without_collector() -> Iterator[None]:
    """Collect nothing during a run: looking for it costs a tenth.

    Around many runs, each begins with collecting what the last one has left: by then nobody holds
    that any more, and there is little to look at.
    """
    _freeze_what_was_there()
    was_enabled = gc.isenabled()
    gc.disable()
    if not was_enabled:
        gc.collect(0)
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@without_collector()
def run_seed(
    seed: int, steps: int = STEPS, *, clients_only: bool = False, recording: bool = False
) -> World:
    """Run one seed. Raises SimulationFailed, which tells everything.

    With `clients_only` nothing counts but what clients are told, and that the cluster recovers.
    The story is recorded at once, or when there is something to tell: it is run again for that.
    """
    world = World(seed, clients_only=clients_only, recording=recording)
    found = _run(world, steps)
    if found is not None:
        again = World(seed, clients_only=clients_only, recording=True)
        same = _run(again, steps)
        finding = f"{type(found).__name__}: {found}"
        if (again.schedule.steps, str(same)) != (world.schedule.steps, str(found)):
            finding += f"\nIT DOES NOT REPLAY: the second time it was {same!r}"
        raise SimulationFailed(again, steps, finding) from found
    world.counts["removed"] = sum(map(world.newest_catalog.has_removed, world.nodes))
    world.counts["operations"] = sum(map(len, world.history.values()))
    world.counts["events"] = world.schedule.steps
    world.counts["seconds"] = round(world.schedule.now)
    return world


def _run(world: World, steps: int) -> Exception | None:
    """Run a world to its end; return what was found."""
    with _limits(world.options):
        try:
            world.run(steps)
        except Exception as error:  # noqa: BLE001 - whatever it is, the seed has found it
            return error
    return None
