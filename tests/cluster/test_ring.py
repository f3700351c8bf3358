"""The ring: every token has exactly one partition."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.cluster.catalog import PartitionRecord
from quorate.cluster.ring import RING_SIZE, Ring, equal_arcs

tokens = st.integers(0, RING_SIZE - 1)


def ring_of(low_tokens: list[int]) -> Ring:
    return Ring(
        [
            PartitionRecord(id=number, low_token=low, replicas=(1, 2, 3))
            for number, low in enumerate(low_tokens, start=1)
        ]
    )


cuts = st.sets(st.integers(1, RING_SIZE - 1), max_size=40).map(lambda found: [0, *sorted(found)])


@given(cuts, tokens)
def test_a_token_belongs_to_the_one_arc_that_contains_it(low_tokens: list[int], token: int) -> None:
    ring = ring_of(low_tokens)

    owner = ring.partition_of(token)

    # The dumb way: ask every arc.
    containing = [
        partition.id
        for partition in ring.partitions
        if ring.arc_of(partition.id)[0] <= token < ring.arc_of(partition.id)[1]
    ]
    assert containing == [owner.id]


@given(cuts)
def test_arcs_cover_the_ring_without_gaps(low_tokens: list[int]) -> None:
    ring = ring_of(low_tokens)

    arcs = [ring.arc_of(partition.id) for partition in ring.partitions]

    assert arcs[0][0] == 0
    assert arcs[-1][1] == RING_SIZE
    assert all(left[1] == right[0] for left, right in pairwise(arcs))


@given(st.integers(1, 500))
def test_equal_arcs_differ_by_at_most_one_token(count: int) -> None:
    lows = equal_arcs(count)

    lengths = [high - low for low, high in zip(lows, [*lows[1:], RING_SIZE], strict=True)]

    assert len(lows) == count
    assert max(lengths) - min(lengths) <= 1


@given(cuts, tokens, st.data())
def test_a_split_moves_only_the_upper_half_of_one_arc(
    low_tokens: list[int], token: int, data: st.DataObject
) -> None:
    before = ring_of(low_tokens)
    at = data.draw(tokens.filter(lambda cut: cut not in low_tokens))
    split = before.partition_of(at)
    added = PartitionRecord(id=len(low_tokens) + 1, low_token=at, replicas=(1, 2, 3))
    partitions = sorted([*before.partitions, added], key=lambda partition: partition.low_token)

    after = Ring(partitions)

    old, new = before.partition_of(token), after.partition_of(token)
    assert new == old or (old == split and new == added)


def test_an_unknown_partition_has_no_arc() -> None:
    with pytest.raises(KeyError):
        ring_of([0]).arc_of(2)
