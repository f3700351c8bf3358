"""What the simulation has found in our own code, each told as small as it gets."""

from __future__ import annotations

from node.codec import WriteColumns
from node.machine.partition import LiveTables, PartitionMachine
from quorate.cluster.catalog import Catalog
from tests.node.builders import image, key, new_id
from tests.sim.disk import ItemsDisk, MemoryItemStore


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
