"""What the simulation has found in our own code, each told as small as it gets."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, cast

import pytest

from node.codec import WriteColumns
from node.host import Host
from node.join import Step, decide, meet_initial
from node.machine.partition import LiveTables, PartitionMachine
from node.replica import PartitionReplica
from node.storage import items_install
from node.storage.identity import Identity
from node.storage.items import InstallRecord, ReplicaState
from node.storage.layout import encode_install, encode_snapshot_state
from quorate.cluster.catalog import Catalog, NodeRecord, PartitionRecord, TableRecord
from quorate.cluster.ring import RING_SIZE
from quorate.v1 import node_pb2
from raft.core import RaftConfig, RaftCore
from raft.types import Configuration, Entry, EntryKind, HardState
from tests.node.builders import image, key, new_id
from tests.sim.disk import (
    GroupLog,
    ItemsDisk,
    LogDisk,
    MemoryItemStore,
    MemoryLogStore,
    SnapshotFile,
)
from tests.sim.transfers import MemoryInstall, read_pairs, read_state

if TYPE_CHECKING:
    from node.host_shell import Shell
    from node.storage.items import ItemStore
    from node.storage.log import LogStore


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


def test_dropped_table_that_an_older_catalog_still_has_leaves_no_debt() -> None:
    """A node that had forgotten a table starts anew, and hears of an older catalog first.

    Found by seed 12548: the checkpoint after the next delete could not be encoded.
    """
    delete = WriteColumns([], [], [], [], sizes={3: (-1, -15)})
    machine = PartitionMachine(MemoryItemStore(ItemsDisk(), lambda: False), {}, [])
    live = LiveTables()
    live.follow(Catalog(next_table_id=4, tables=(TableRecord(id=3, name="t", definition=b"{}"),)))

    machine.apply_columns(delete)
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


def test_empty_directory_waits_while_all_that_knew_the_old_one_are_starting() -> None:
    """After a power cut nobody has a catalog to show yet, but all remember another directory.

    Found when a lost disk and a power cut were drawn together: the node took part under its old
    name, without its votes.
    """
    initial = [
        NodeRecord(id=number, name=f"n{number}", az=f"az-{number}", address=f"n{number}:1")
        for number in (1, 2, 3)
    ]
    identity = Identity("cluster", 1, "n1", "az-1", "fresh")
    answers = {
        f"n{number}:1": node_pb2.IdentifyResponse(
            cluster_id="cluster",
            node_id=number,
            incarnation=f"n{number}",
            joined=True,
            incarnation_known="old",
        )
        for number in (2, 3)
    }

    meet_initial(identity, initial, answers)

    assert decide(identity, initial, answers) is Step.WAIT


class QuietShell:
    """Runs jobs at once, and tells nobody anything."""

    def write_items(self, job: Callable[[], None], done: Callable[[bool], None]) -> None:
        job()
        done(True)  # noqa: FBT003 - as the process's shell does

    def __getattr__(self, name: str) -> Callable[..., float]:
        return lambda *arguments, **named: 0.0


def test_install_that_ends_before_there_is_a_catalog_makes_its_replica_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A node without a replica of the catalog has none when it starts.

    Found by seed 20080: the install of before the crash ended first, and the node with it.
    """
    monkeypatch.setattr(items_install, "read_pairs", read_pairs)
    monkeypatch.setattr(items_install, "read_state", read_state)
    members = Configuration((1, 2, 4))
    state = ReplicaState(5, 1, members.encode())
    record = InstallRecord(1, b"v" * 16, 5, 1, (0, RING_SIZE), 0)
    disk = ItemsDisk(installs={1: encode_install(record)})
    disk.files[1, record.view] = SnapshotFile(encode_snapshot_state(state, ()), is_sealed=True)
    log_disk = LogDisk(lambda write: None)
    log_disk.group(1).hard_state = HardState(term=1)
    host = Host(
        node_id=4,
        log=cast("LogStore", MemoryLogStore(log_disk)),
        items=cast("ItemStore", MemoryItemStore(disk, lambda: False)),
        rng=Random(1),
        shell=cast("Shell", QuietShell()),
    )

    host.recover((), [MemoryInstall(record, disk, begun=True)])
    assert not host.replicas

    partition = PartitionRecord(id=1, low_token=0, replicas=(1, 2, 4))
    host.adopt_catalog(Catalog(epoch=3, partitions=(partition,)))
    assert host.replicas[1].core.configuration == members
