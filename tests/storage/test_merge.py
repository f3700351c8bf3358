"""Layers read as one."""

from __future__ import annotations

import random

import pytest

from node.storage.merge import merge_newest_first


def test_newest_image_hides_older_ones_and_deletions_hide_all() -> None:
    active = [(b"a", b"new"), (b"c", b"")]
    frozen = [(b"a", b""), (b"b", b"frozen"), (b"d", b"")]
    tree = [(b"a", b"old"), (b"b", b"old"), (b"c", b"old"), (b"d", b"old"), (b"e", b"tree")]

    merged = merge_newest_first([iter(active), iter(frozen), iter(tree)])

    assert list(merged) == [(b"a", b"new"), (b"b", b"frozen"), (b"e", b"tree")]


@pytest.mark.parametrize("seed", range(40))
def test_merge_matches_laying_dicts_over_each_other(seed: int) -> None:
    rng = random.Random(seed)
    backwards = bool(seed % 2)
    layers: list[dict[bytes, bytes]] = [
        {
            rng.randbytes(1): rng.choice([b"", b"%d" % number])
            for _ in range(rng.choice([0, 1, 40, 200]))
        }
        for number in range(rng.randrange(5))
    ]
    expected: dict[bytes, bytes] = {}
    for layer in reversed(layers):
        expected.update(layer)

    merged = merge_newest_first(
        [iter(sorted(layer.items(), reverse=backwards)) for layer in layers], backwards=backwards
    )

    alive = {key: image for key, image in expected.items() if image}
    assert list(merged) == sorted(alive.items(), reverse=backwards)


def test_merge_reads_no_further_than_asked() -> None:
    def endless() -> object:
        yield b"a", b"1"
        yield b"b", b"2"
        raise AssertionError("read too far")

    merged = merge_newest_first([iter([]), endless()])  # type: ignore[list-item]

    assert next(merged) == (b"a", b"1")
