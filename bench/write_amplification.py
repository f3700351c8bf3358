"""Bytes written for each byte that a user has written: by the log, and by the items' checkpoints.

    python -m bench.write_amplification [--turns 300] [--stored-mib 32]

Drives the two stores of one node as its host does, without a cluster: each turn is one commit, with
one entry for each active group, of one write each: the worst case. Items have random keys, and the
tree holds others already. Counted are the bytes that the process hands to the kernel (wchar of
/proc/self/io); a file system's journal comes on top.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench import results
from model.image import encode_image
from node.codec import WriteColumns, encode_write_entry
from node.storage.items import ItemStore, ReplicaCheckpoint, ReplicaState
from node.storage.log import GroupWrite, LogStore
from raft.types import Configuration, Entry, EntryKind, HardState

MIB = 1 << 20
GROUPS = (1, 10, 50)
ITEM_BYTES = (100, 1_000, 10_000)
TERM = 1
CONFIGURATION = Configuration((1, 2, 3)).encode()


@dataclass(slots=True)
class Node:
    """The stores of one node, and what a host remembers between turns."""

    log: LogStore
    items: ItemStore
    rng: random.Random
    index: int = 0  # of the last entry; all groups write in every turn
    waiting: dict[int, dict[bytes, bytes]] = field(default_factory=dict)

    def new_item(self, size_bytes: int) -> tuple[bytes, bytes]:
        """Return a random (key, image)."""
        key = (1).to_bytes(4, "big") + self.rng.randbytes(16)
        text = "x" * (size_bytes - len("id") - 16 - len("v"))
        return key, encode_image({"id": {"S": key[-8:].hex()}, "v": {"S": text}}, size_bytes)

    def turn(self, groups: int, size_bytes: int) -> None:
        """Commit one write of each group."""
        self.index += 1
        writes = []
        for group in range(1, groups + 1):
            key, image = self.new_item(size_bytes)
            self.waiting.setdefault(group, {})[key] = image
            columns = WriteColumns([key], [image], [self.rng.randbytes(16)], [1])
            entry = Entry(self.index, TERM, EntryKind.COMMAND, encode_write_entry(columns))
            state = HardState(TERM, 1, self.index - 1)
            writes.append(GroupWrite(group, entries=[entry], hard_state=state))
        record = self.log.prepare(writes)
        self.log.commit(record)
        self.log.publish(record)

    def checkpoint(self) -> None:
        """Move everything into the tree, and cut the log behind it."""
        waiting, self.waiting = self.waiting, {}
        state = ReplicaState(self.index, TERM, CONFIGURATION, {1: (1, 1)})
        self.items.checkpoint(
            [ReplicaCheckpoint(group, state, sorted(new.items())) for group, new in waiting.items()]
        )
        for group in waiting:
            self.log.cut(group, self.index - 1)


def bytes_written() -> int:
    """Return what this process has handed to write calls so far."""
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("wchar:"):
            return int(line.split()[1])
    raise AssertionError("no wchar in /proc/self/io")


def written_by(act: Callable[[], None]) -> int:
    """Return the bytes that `act` has written."""
    before = bytes_written()
    act()
    return bytes_written() - before


def fill(node: Node, size_bytes: int, stored_bytes: int) -> None:
    """Put as many items of this size into the tree beforehand."""
    filled = sorted(node.new_item(size_bytes) for _ in range(stored_bytes // size_bytes))
    state = ReplicaState(1, TERM, CONFIGURATION)
    for start in range(0, len(filled), 20_000):
        node.items.checkpoint([ReplicaCheckpoint(1, state, filled[start : start + 20_000])])


def measure(folder: Path, groups: int, size_bytes: int, options: argparse.Namespace) -> list[float]:
    """Return bytes written per byte of items: by the log, by the items, by both."""
    node = Node(
        LogStore.open(folder / "log"), ItemStore.open(folder / "items"), random.Random(size_bytes)
    )
    fill(node, size_bytes, options.stored_mib * MIB)
    node.turn(groups, size_bytes)

    def all_turns() -> None:
        for _ in range(options.turns):
            node.turn(groups, size_bytes)

    log_bytes = written_by(all_turns)
    items_bytes = written_by(node.checkpoint)
    node.log.close()
    node.items.close()
    user_bytes = options.turns * groups * size_bytes
    return [
        round(written / user_bytes, 2)
        for written in (log_bytes, items_bytes, log_bytes + items_bytes)
    ]


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=300, help="commits between checkpoints")
    parser.add_argument("--stored-mib", type=int, default=32, help="items in the tree beforehand")
    parser.add_argument("--data-dir", type=Path, help="where data goes")
    options = parser.parse_args()
    rows = []
    print("groups  item bytes     log   items    both   (bytes written per byte of items)")
    for groups in GROUPS:
        for size_bytes in ITEM_BYTES:
            folder = Path(tempfile.mkdtemp(prefix="quorate-bench-", dir=options.data_dir))
            try:
                found = measure(folder, groups, size_bytes, options)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            rows.append([groups, size_bytes, *found])
            log, items, both = found
            print(f"{groups:6}  {size_bytes:10}  {log:6.2f}  {items:6.2f}  {both:6.2f}", flush=True)
    path = results.append("write_amplification", {"turns": options.turns, "rows": rows})
    print(f"kept in {path}")


if __name__ == "__main__":
    main()
