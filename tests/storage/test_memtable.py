"""The memtable against a sorted dict."""

from __future__ import annotations

import random

import pytest

from node.storage.memtable import KEY_OVERHEAD_BYTES, Memtable


def in_range(
    model: dict[bytes, bytes], low: bytes, high: bytes, *, backwards: bool
) -> list[tuple[bytes, bytes]]:
    return [(key, model[key]) for key in sorted(model, reverse=backwards) if low <= key < high]


@pytest.mark.parametrize("seed", range(20))
def test_memtable_matches_a_sorted_dict(seed: int) -> None:
    rng = random.Random(seed)
    model: dict[bytes, bytes] = {}
    memtable = Memtable()
    for _ in range(200):
        keys = [rng.randbytes(rng.choice([1, 2, 3, 9])) for _ in range(rng.randrange(30))]
        images = [rng.randbytes(rng.choice([0, 1, 50])) for _ in keys]
        memtable.apply(keys, images)
        model.update(zip(keys, images, strict=True))
        if rng.random() < 0.3:
            low, high = rng.randbytes(1), rng.randbytes(2)
            for backwards in (False, True):
                expected = in_range(model, low, high, backwards=backwards)
                assert list(memtable.scan(low, high, backwards=backwards)) == expected

    assert memtable.keys_sorted() == sorted(model)
    assert memtable.items_sorted() == sorted(model.items())
    assert len(memtable) == len(model)
    expected_bytes = sum(len(key) + len(image) + KEY_OVERHEAD_BYTES for key, image in model.items())
    assert memtable.size_bytes == expected_bytes


def test_deleted_is_not_absent() -> None:
    memtable = Memtable()
    memtable.put(b"gone", b"")

    assert memtable.get(b"gone") == b""
    assert memtable.get(b"never") is None
    assert list(memtable.scan(b"a", b"z")) == [(b"gone", b"")]


def test_same_key_twice_in_one_entry_keeps_the_last() -> None:
    memtable = Memtable()
    memtable.apply([b"k", b"k"], [b"first", b"second!"])

    assert memtable.get(b"k") == b"second!"
    assert memtable.size_bytes == 1 + 7 + KEY_OVERHEAD_BYTES
    assert memtable.keys_sorted() == [b"k"]


def test_frozen_memtable_is_read_but_not_changed() -> None:
    memtable = Memtable()
    memtable.put(b"k", b"v")
    memtable.freeze()

    assert list(memtable.scan(b"", b"z")) == [(b"k", b"v")]
    with pytest.raises(AssertionError):
        memtable.put(b"k", b"w")


def test_empty_range_yields_nothing() -> None:
    memtable = Memtable()
    memtable.put(b"k", b"v")

    assert list(memtable.scan(b"k", b"k")) == []
    assert list(memtable.scan(b"z", b"a")) == []
