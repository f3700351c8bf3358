"""The memtable: images applied since the last checkpoint, by storage key, ordered on demand.

Absent and deleted differ: `get` returns None for a key this memtable says nothing about and b""
for one it knows to be deleted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from sortedcontainers import SortedList

KEY_OVERHEAD_BYTES: Final = 250
"""What one key costs beside its bytes: two object headers, a dict slot, a list slot.

Ours: measured on CPython 3.11 (33 bytes of header for each of key and image, about 100 for
the dict slot at its average load, 8 and some slack in the ordered list)."""

PENDING_KEYS_MAX: Final = 1024
"""New keys that wait to be put in order once ordered reads happen. Ours: some 0.5 ms of work."""

_BUCKET_PREFIX_BYTES: Final = 6
"""Table id and the first two bytes of the token: how `keys_sorted` cuts its work. Ours."""


class Memtable:
    """Newest images of one replica. Loop thread only, until frozen; then any thread may read."""

    __slots__ = ("_frozen", "_images", "_keys", "_ordered", "_pending", "_size_bytes")

    def __init__(self) -> None:
        """Make an empty memtable."""
        self._images: dict[bytes, bytes] = {}
        self._keys: SortedList[bytes] = SortedList()
        self._pending: list[bytes] = []
        self._ordered = False
        self._size_bytes = 0
        self._frozen = False

    def __len__(self) -> int:
        """Return how many keys it knows, deleted ones included."""
        return len(self._images)

    @property
    def size_bytes(self) -> int:
        """Estimate of the memory held, in bytes."""
        return self._size_bytes

    @property
    def frozen(self) -> bool:
        """Whether `freeze` was called."""
        return self._frozen

    def apply(self, keys: Sequence[bytes], images: Sequence[bytes]) -> None:
        """Store `images[i]` under `keys[i]` for every i; b"" means deleted. The hot path."""
        assert not self._frozen
        assert len(keys) == len(images)
        table = self._images
        get = table.get
        pending = self._pending
        size_bytes = self._size_bytes
        for key, image in zip(keys, images, strict=True):
            old = get(key)
            if old is None:
                pending.append(key)
                size_bytes += len(key) + len(image) + KEY_OVERHEAD_BYTES
            else:
                size_bytes += len(image) - len(old)
            table[key] = image
        self._size_bytes = size_bytes
        if self._ordered and len(pending) >= PENDING_KEYS_MAX:
            self._put_pending_in_order()

    def put(self, key: bytes, image: bytes) -> None:
        """Store one image; b"" means deleted."""
        self.apply((key,), (image,))

    def get(self, key: bytes) -> bytes | None:
        """Return the image, b"" if the item is deleted, None if this memtable does not know."""
        return self._images.get(key)

    def scan(
        self, low: bytes, high: bytes, *, backwards: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, image) with low <= key < high in order, b"" images (deleted) included.

        Lazy: nothing may be applied until the iterator is finished with.
        """
        self._ordered = True
        if self._pending:
            self._put_pending_in_order()
        if low >= high:
            return
        images = self._images
        for key in self._keys.irange(low, high, inclusive=(True, False), reverse=backwards):
            yield key, images[key]

    def freeze(self) -> None:
        """Forbid further changes: from now on a checkpoint may read it from its own thread."""
        self._frozen = True

    def keys_sorted(self) -> list[bytes]:
        """Return all keys in order, for the checkpoint.

        Sorts in pieces: one sort of everything would hold the interpreter, and so the loop, for
        a tenth of a second at 100,000 keys.
        """
        buckets: dict[bytes, list[bytes]] = {}
        for key in self._images:
            buckets.setdefault(key[:_BUCKET_PREFIX_BYTES], []).append(key)
        ordered: list[bytes] = []
        for prefix in sorted(buckets):
            bucket = buckets[prefix]
            bucket.sort()
            ordered += bucket
        assert len(ordered) == len(self._images)
        return ordered

    def items_sorted(self) -> list[tuple[bytes, bytes]]:
        """Return all (key, image) in key order, b"" images (deleted) included."""
        images = self._images
        return [(key, images[key]) for key in self.keys_sorted()]

    def _put_pending_in_order(self) -> None:
        self._keys.update(self._pending)
        self._pending.clear()
        assert len(self._keys) == len(self._images)
