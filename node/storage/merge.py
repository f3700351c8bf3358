"""Layers of images, newest first, read as one: the newest image of a key hides the older ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def merge_newest_first(
    layers: Sequence[Iterator[tuple[bytes, bytes]]], *, backwards: bool = False
) -> Iterator[tuple[bytes, bytes]]:
    """Yield (key, image) in key order over all layers; deleted items (b"") do not appear.

    Each layer is in the same order (descending if `backwards`), without duplicates; `layers[0]`
    is the newest: usually active memtable, frozen memtable, tree. Lazy.
    """
    iterators: list[Iterator[tuple[bytes, bytes]]] = []
    heads: list[tuple[bytes, bytes]] = []
    for layer in layers:
        head = next(layer, None)
        if head is not None:
            iterators.append(layer)
            heads.append(head)
    while len(heads) > 1:
        keys = [key for key, _ in heads]
        key = max(keys) if backwards else min(keys)
        newest = keys.index(key)
        image = heads[newest][1]
        # From the back, so that a layer that ends can be dropped in passing.
        for position in range(len(heads) - 1, newest - 1, -1):
            if keys[position] != key:
                continue
            head = next(iterators[position], None)
            if head is None:
                del heads[position], iterators[position]
            else:
                assert head[0] < key if backwards else head[0] > key
                heads[position] = head
        if image:
            yield key, image
    if heads:
        if heads[0][1]:
            yield heads[0]
        for item in iterators[0]:
            if item[1]:
                yield item
