"""A dumb model of a partition: it takes every committed entry once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from node.codec import decode_write_entry
from raft.types import Entry, EntryKind
from tests.sim.schedule import Violation


class Shadow:
    """One partition by its committed entries: every image a key ever had, and every request id."""

    def __init__(self) -> None:
        self.applied = 0
        self.versions: dict[bytes, tuple[list[int], list[bytes]]] = {}
        self.ids: dict[bytes, int] = {}
        self.id_list: list[tuple[int, bytes]] = []
        self.applied_at: dict[int, float] = {}

    def apply(self, entry: Entry, now: float) -> Sequence[bytes]:
        """Take an entry; return its request ids."""
        self.applied = entry.index
        self.applied_at[entry.index] = now
        if entry.kind != EntryKind.COMMAND:
            return ()
        columns = decode_write_entry(entry.payload)
        for key, image in zip(columns.keys, columns.images, strict=True):
            indexes, images = self.versions.setdefault(key, ([], []))
            indexes.append(entry.index)
            images.append(image)
        for request_id in columns.request_ids:
            if request_id in self.ids:
                raise Violation(
                    f"request {request_id.hex()[-6:]} took effect twice: "
                    f"at {self.ids[request_id]} and {entry.index}"
                )
            self.ids[request_id] = entry.index
            self.id_list.append((entry.index, request_id))
        return columns.request_ids

    def image_at(self, key: bytes, index: int) -> bytes:
        indexes, images = self.versions[key]
        place = bisect_right(indexes, index)
        return images[place - 1] if place else b""

    def items_at(self, low: bytes, high: bytes, index: int) -> list[tuple[bytes, bytes]]:
        """Return (key, image) of what there was in a range after the entry at an index."""
        return [
            (key, image)
            for key in sorted(self.versions)
            if low <= key < high and (image := self.image_at(key, index))
        ]
