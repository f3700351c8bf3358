"""Writes to one store for ever and says after each write what is durable now. A process of its own.

python -m tests.processes.faults.store_writer log|items|identity DIRECTORY
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from model.image import encode_image
from node.storage.errors import StorageFull
from node.storage.identity import Identity, load_identity, save_identity
from node.storage.items import ItemStore, ReplicaCheckpoint, ReplicaState
from node.storage.log import GroupWrite, LogStore
from raft.types import Configuration, Entry, EntryKind

MAP_SIZE_BYTES: Final = 64 << 20
GROUP: Final = 7
KINDS: Final = ("log", "items", "identity")


def writer_of(kind: str, directory: Path) -> Callable[[int], None]:
    """Open a store, and return what makes one more write durable: the n-th, from 1."""
    match kind:
        case "log":
            return _log_writer(LogStore.open(directory / "log", map_size_bytes=MAP_SIZE_BYTES))
        case "items":
            return _items_writer(ItemStore.open(directory / "items", map_size_bytes=MAP_SIZE_BYTES))
        case "identity":
            return lambda n: save_identity(directory, identity(n))
    raise ValueError(kind)


def durable(kind: str, directory: Path) -> int:
    """Return how many writes a store holds. Raises StorageError if it is damaged."""
    match kind:
        case "log":
            log = LogStore.open(directory / "log", map_size_bytes=MAP_SIZE_BYTES, create=False)
            reader = log.reader(GROUP)
            last = reader.last_index()
            if last:
                entries = reader.entries(1, last + 1, 1 << 30)
                assert [entry.payload for entry in entries] == [*map(payload, range(1, last + 1))]
            log.close()
            return last
        case "items":
            items = ItemStore.open(directory / "items", map_size_bytes=MAP_SIZE_BYTES, create=False)
            state = items.replicas().get(GROUP)
            last = 0 if state is None else state.applied_index
            assert all(items.get(key(n)) == image(n) for n in range(1, last + 1))
            items.close()
            return last
        case "identity":
            found = load_identity(directory)
            return 0 if found is None else int(found.incarnation)
    raise ValueError(kind)


def identity(n: int) -> Identity:
    return Identity("cluster", 1, "a1", "az-a", str(n))


def payload(n: int) -> bytes:
    return b"%d" % n * 50


def key(n: int) -> bytes:
    return (1).to_bytes(4, "big") + (n * 0x9E3779B97F4A7C15 % (1 << 64)).to_bytes(8, "big") * 2


def image(n: int) -> bytes:
    return encode_image({"n": {"N": str(n)}}, size_bytes=3)


def when_there_is_room(write: Callable[[], None]) -> None:
    """Write once that works, as a node does."""
    while True:
        try:
            write()
        except StorageFull:
            time.sleep(0.001)
        else:
            return


def _log_writer(log: LogStore) -> Callable[[int], None]:
    def write(n: int) -> None:
        entry = Entry(n, 1, EntryKind.COMMAND, payload(n))
        record = log.prepare([GroupWrite(GROUP, entries=[entry])])
        when_there_is_room(lambda: log.commit(record))
        log.publish(record)

    return write


def _items_writer(items: ItemStore) -> Callable[[int], None]:
    configuration = Configuration((1, 2, 3)).encode()

    def write(n: int) -> None:
        state = ReplicaState(n, 1, configuration)
        batch = [ReplicaCheckpoint(GROUP, state, [(key(n), image(n))])]
        when_there_is_room(lambda: items.checkpoint(batch))

    return write


def main(kind: str, directory: Path) -> None:
    """Write until killed."""
    write = writer_of(kind, directory)
    n = 0
    while True:
        n += 1
        write(n)
        print(n, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
