"""What the simulation has found in our own code, each told as small as it gets."""

from __future__ import annotations

from random import Random

from node.codec import WriteColumns
from node.machine.partition import LiveTables, PartitionMachine
from node.replica import PartitionReplica
from node.storage.items import ReplicaState
from quorate.cluster.catalog import Catalog
from quorate.cluster.ring import RING_SIZE
from raft.core import RaftConfig, RaftCore
from raft.types import Configuration, Entry, EntryKind, HardState
from tests.node.builders import image, key, new_id
from tests.sim.disk import GroupLog, ItemsDisk, MemoryItemStore


def test_size_of_a_table_that_this_node_has_not_heard_of_is_kept() -> None:
    """A follower whose catalog was behind forgot the size, and later counted below zero.

    Found by seed 204; a checkpoint could not encode that and the node could not start again.
    """
    machine = PartitionMachine(MemoryItemStore(ItemsDisk(), lambda: False), {}, [])
    write = WriteColumns([key("a")], [image("a")], [new_id()], [1], sizes={1: (1, 9)})
    live = LiveTables()

    machine.apply_columns(write)
    machine.forget_tables(live)
    assert machine.table_sizes == {1: (1, 9)}

    live.follow(Catalog(next_table_id=2))
    machine.forget_tables(live)
    assert machine.table_sizes == {}


def test_new_replica_that_does_not_know_its_members_yet_makes_no_checkpoint() -> None:
    """Its entries come page by page, the one that makes it a member last.

    Found by seed 0; the checkpoint failed an assertion, and the new node ended at every start.
    """
    log = GroupLog()
    log.entries_held = [Entry(1, 1, EntryKind.NOOP, b"")]
    log.hard_state = HardState(term=1, commit=1)
    state = ReplicaState(0, 0, Configuration(()).encode())
    core = RaftCore(
        RaftConfig(node_id=4),
        hard_state=log.hard_state,
        configuration=Configuration(()),
        log=log,
        applied=0,
        rng=Random(1),
    )
    machine = PartitionMachine(MemoryItemStore(ItemsDisk(), lambda: False), {}, [])
    replica = PartitionReplica(1, core, state, machine, (0, RING_SIZE), LiveTables())

    replica.apply(core.take_ready().committed)

    assert core.applied == 1
    assert replica.checkpoint(0.0) is None
