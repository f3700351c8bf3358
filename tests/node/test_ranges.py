"""Range reads: pages in key order over memtables and tree, with exact bounds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from model.image import image_size_bytes
from model.keys import token_bound
from quorate.cluster.outcome import Outcome
from tests.node.builders import TABLE, delete, image, key, put, put_at
from tests.node.harness import Cluster, Request


def all_pages(cluster: Cluster, *, items_max: int, backwards: bool = False) -> list[Request]:
    """Read the whole partition, page by page, as a router does."""
    low, high = b"", b"\xff" * 64
    pages = []
    while True:
        page = cluster.scan(low, high, items_max=items_max, backwards=backwards)
        assert page.outcome is Outcome.OK
        pages.append(page)
        if not page.more:
            return pages
        if backwards:
            high = page.keys[-1]
        else:
            low = page.keys[-1] + b"\0"


@pytest.fixture
def layered(cluster: Cluster) -> Iterator[Cluster]:
    """Items in the tree, in a frozen memtable and in the active one, with deletes in each."""
    for place in range(12):
        cluster.done(put(f"k{place}", n=place))
    cluster.tick()
    cluster.checkpoint()
    cluster.do(delete("k0"), put("k1", n=101), put("new-frozen", n=1))
    cluster.tick()
    for node in cluster.nodes.values():
        node.items_held = True
    cluster.checkpoint()
    cluster.do(delete("k2"), put("k3", n=103), put("new-active", n=2), put("k0", n=100))
    cluster.do(delete("new-frozen"))
    cluster.tick()
    yield cluster
    for node in cluster.nodes.values():
        node.items_held = False
    cluster.run()


def layered_items() -> list[tuple[bytes, bytes]]:
    numbers = {f"k{place}": place for place in range(12)}
    numbers |= {"k0": 100, "k1": 101, "k3": 103, "new-active": 2}
    del numbers["k2"]
    return sorted((key(name), image(name, n=n)) for name, n in numbers.items())


def test_range_merges_memtables_and_tree_in_key_order(layered: Cluster) -> None:
    page = layered.scan()

    assert list(zip(page.keys, page.images, strict=True)) == layered_items()
    assert not page.more


def test_range_backwards_is_the_same_in_reverse(layered: Cluster) -> None:
    page = layered.scan(backwards=True)

    assert list(zip(page.keys, page.images, strict=True)) == layered_items()[::-1]
    assert not page.more


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("items_max", [1, 2, 3, 5, 12, 13, 100])
def test_pages_have_every_item_once(layered: Cluster, *, items_max: int, backwards: bool) -> None:
    """A page is full exactly at its bound, and `more` is true exactly when there is more."""
    pages = all_pages(layered, items_max=items_max, backwards=backwards)

    found = [pair for page in pages for pair in zip(page.keys, page.images, strict=True)]
    assert found == (layered_items()[::-1] if backwards else layered_items())
    assert all(len(page.keys) == items_max for page in pages[:-1])
    assert len(pages[-1].keys) >= 1


def test_more_is_false_when_the_bound_is_the_last_item(layered: Cluster) -> None:
    assert not layered.scan(items_max=len(layered_items())).more
    assert layered.scan(items_max=len(layered_items()) - 1).more


def test_deleted_items_behind_the_bound_are_no_more(cluster: Cluster) -> None:
    """They hide in a memtable: `more` counts items, not keys."""
    names = sorted(["a", "b", "c"], key=key)
    for name in names:
        cluster.done(put(name))
    cluster.checkpoint()
    cluster.done(delete(names[2]))

    assert not cluster.scan(items_max=2).more


def test_page_ends_with_the_item_that_reaches_the_bytes(layered: Cluster) -> None:
    """DynamoDB: a page ends at 1 MB, and has at least one item."""
    sizes = [image_size_bytes(encoded) for _, encoded in layered_items()]

    assert len(layered.scan(size_bytes_max=1).keys) == 1
    assert len(layered.scan(size_bytes_max=sizes[0]).keys) == 1
    assert len(layered.scan(size_bytes_max=sizes[0] + 1).keys) == 2
    everything = layered.scan(size_bytes_max=sum(sizes))
    assert len(everything.keys) == len(sizes)
    assert not everything.more


def test_range_has_its_low_bound_and_not_its_high_bound(layered: Cluster) -> None:
    items = layered_items()

    page = layered.scan(items[2][0], items[5][0])

    assert page.keys == [stored for stored, _ in items[2:5]]


def test_empty_range_is_ok(layered: Cluster) -> None:
    page = layered.scan(b"\xff", b"\xff\xff")

    assert (page.outcome, page.keys, page.more) == (Outcome.OK, [], False)


def test_range_of_one_collection_is_in_order_of_the_sort_key(cluster: Cluster) -> None:
    """Query: the items of one partition key, neighbours in storage."""
    places = [f"{place:02}" for place in range(20)]
    Random(1).shuffle(places)
    for place in places[:10]:
        cluster.done(put_at("one", place))
    cluster.checkpoint()
    for place in places[10:]:
        cluster.done(put_at("one", place))
    cluster.done(put_at("other", "00"))

    low = key("one", sort="05")
    page = cluster.scan(low, key("one", sort="15"))

    assert page.keys == [key("one", sort=f"{place:02}") for place in range(5, 15)]


def test_page_may_end_within_a_tie_run(cluster: Cluster) -> None:
    """Long sort keys with one prefix lie in the order of digests: the router sorts them."""
    prefix = "p" * 600
    for place in range(4):
        cluster.done(put_at("one", f"{prefix}{place}"))

    first = cluster.scan(items_max=3)
    rest = cluster.scan(first.keys[-1] + b"\x00", items_max=3)

    assert (len(first.keys), first.more) == (3, True)
    assert (len(rest.keys), rest.more) == (1, False)


def test_range_at_a_partition_has_only_keys_of_its_arc(directory: Path) -> None:
    """All partitions of a node share one tree."""
    cluster = Cluster(directory)
    cluster.bootstrap(partitions=3)
    for place in range(30):
        name = f"k{place}"
        owner = cluster.leader(cluster.partition_of(key(name)))
        cluster.done(put(name), at=owner.id)
    cluster.tick()
    cluster.checkpoint()

    low, high = token_bound(TABLE, 0), token_bound(TABLE, 1 << 64)
    pages = [cluster.scan(low, high, partition=partition) for partition in (1, 2, 3)]

    found = [stored for page in pages for stored in page.keys]
    assert found == sorted(key(f"k{place}") for place in range(30))
    assert all(page.keys for page in pages)
    cluster.close()


def test_strong_range_waits_for_proof_and_eventual_range_does_not(cluster: Cluster) -> None:
    cluster.done(put("a"))
    cluster.hold((2, 1), (3, 1))

    strong = cluster.scan(at=1)
    eventual = cluster.scan(at=1, consistent=False)
    assert (strong.outcome, eventual.outcome) == (None, Outcome.OK)
    cluster.release()

    assert strong.keys == [key("a")]


def test_range_shows_no_speculative_image(cluster: Cluster) -> None:
    cluster.done(put("a"))
    for node in cluster.nodes.values():
        node.log_held = True
    cluster.do(put("b"), delete("a"))

    assert cluster.scan().keys == [key("a")]
