"""Query and Scan pages against a dumb model: sort everything by the true keys, then cut."""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import ValidationError
from model.image import encode_image, image_size_bytes
from model.keys import KeySchema, item_storage_key, storage_key, token_bound, token_of
from model.limits import PAGE_SIZE_BYTES_MAX
from model.requests.pages import Page, RangePlan
from model.requests.reads import parse_query, parse_scan
from model.tables import Table
from model.values import measure_item

SCHEMA = KeySchema(partition_name="pk", partition_type="S", sort_name="sk", sort_type="B")
TABLE = Table(id=9, name="events", schema=SCHEMA, definition={})
PLAIN_TABLE = Table(
    id=9,
    name="things",
    schema=KeySchema(partition_name="pk", partition_type="S"),
    definition={},
)

# Many sort keys share their first 470 bytes: tie runs, and neighbours of tie runs.
sort_keys = st.one_of(
    st.binary(min_size=1, max_size=2),
    st.builds(
        lambda head, length, tail: (head * 500)[:length] + tail,
        st.sampled_from([b"\x00", b"m", b"\xff"]),
        st.sampled_from([469, 470, 471]),
        st.sampled_from([b"", b"\x00", b"a", b"b", b"c", b"\xff\xff"]),
    ),
)


class Store:
    """Items by storage key, read like a node reads them."""

    def __init__(self, table: Table, items: list[dict[str, object]]) -> None:
        self.rows = {
            item_storage_key(table.id, table.schema, item): encode_image(item, measure_item(item))
            for item in items
        }

    def read(
        self, low: bytes, high: bytes, *, backwards: bool, items_max: int, size_bytes_max: int
    ) -> tuple[list[bytes], list[bytes], bool]:
        """Return keys, images and whether the range has more."""
        wanted = sorted((key for key in self.rows if low <= key < high), reverse=backwards)
        keys: list[bytes] = []
        size = 0
        for key in wanted:
            if size >= size_bytes_max or (items_max and len(keys) == items_max):
                break
            keys.append(key)
            size += image_size_bytes(self.rows[key])
        return keys, [self.rows[key] for key in keys], len(keys) < len(wanted)


def fill(page: Page, plan: RangePlan, store: Store, *, arcs: int, rows_max: int) -> bytes:
    """Drive a page over a ring of equal arcs, as a router does; reads may be shorter than asked."""
    while not page.done:
        arc_ends = [(position + 1) * (1 << 64) // arcs for position in range(arcs)]
        arc_end = next(end for end in arc_ends if end > token_of(page.low))
        high = min(page.high, token_bound(plan.table.id, arc_end))
        if plan.backwards:
            high = page.high
        items_max = min(page.items_max or rows_max, rows_max)
        keys, images, more = store.read(
            page.low,
            high,
            backwards=plan.backwards,
            items_max=items_max,
            size_bytes_max=page.size_bytes_max,
        )
        page.add(keys, images, more=more, high=high)
    return page.response()


def run(
    plan: Callable[[dict[str, object] | None], RangePlan],
    store: Store,
    *,
    arcs: int = 1,
    rows_max: int = 1000,
) -> list[dict[str, object]]:
    """Return all pages, following LastEvaluatedKey."""
    pages: list[dict[str, object]] = []
    start: dict[str, object] | None = None
    while True:
        current = plan(start)
        page = json.loads(fill(current.start(), current, store, arcs=arcs, rows_max=rows_max))
        pages.append(page)
        assert len(pages) < 200, "the pages do not end"
        start = page.get("LastEvaluatedKey")
        if start is None:
            return pages


def make_item(pk: str, sk: bytes, *, size: int = 0) -> dict[str, object]:
    return {
        "pk": {"S": pk},
        "sk": {"B": b64encode(sk).decode()},
        "n": {"N": str(len(sk))},
        "data": {"S": "x" * size},
    }


def sort_of(item: dict[str, dict[str, str]]) -> bytes:
    return b64decode(item["sk"]["B"])


CONDITIONS: dict[str, Callable[[bytes, bytes], Callable[[bytes], bool]]] = {
    "": lambda _a, _b: lambda _: True,
    "AND sk = :a": lambda a, _b: lambda raw: raw == a,
    "AND sk < :a": lambda a, _b: lambda raw: raw < a,
    "AND sk <= :a": lambda a, _b: lambda raw: raw <= a,
    "AND sk > :a": lambda a, _b: lambda raw: raw > a,
    "AND sk >= :a": lambda a, _b: lambda raw: raw >= a,
    "AND sk BETWEEN :a AND :b": lambda a, b: lambda raw: a <= raw <= b,
    "AND begins_with(sk, :a)": lambda a, _b: lambda raw: raw.startswith(a),
}


@settings(max_examples=300, deadline=None)
@given(
    keys=st.lists(sort_keys, unique=True, max_size=12),
    condition=st.sampled_from(list(CONDITIONS)),
    bounds=st.tuples(sort_keys, sort_keys),
    backwards=st.booleans(),
    limit=st.integers(0, 4),
    rows_max=st.integers(1, 5),
)
def test_query_pages_are_exact(
    keys: list[bytes],
    condition: str,
    bounds: tuple[bytes, bytes],
    backwards: bool,  # noqa: FBT001
    limit: int,
    rows_max: int,
) -> None:
    """Every item of the range once, in true order, for every condition, limit and read size."""
    first, second = sorted(bounds)
    store = Store(
        TABLE, [make_item("a", key) for key in keys] + [make_item(pk, b"m") for pk in "bcdef"]
    )
    body: dict[str, object] = {
        "TableName": "events",
        "KeyConditionExpression": f"pk = :pk {condition}".strip(),
        "ExpressionAttributeValues": {
            ":pk": {"S": "a"},
            **({":a": {"B": b64encode(first).decode()}} if ":a" in condition else {}),
            **({":b": {"B": b64encode(second).decode()}} if ":b" in condition else {}),
        },
        "ScanIndexForward": not backwards,
        "Limit": limit or None,
    }
    pages = run(
        lambda start: parse_query({**body, "ExclusiveStartKey": start}).bind(TABLE),
        store,
        rows_max=rows_max,
    )

    found = [sort_of(item) for page in pages for item in page["Items"]]  # type: ignore[attr-defined]
    expected = sorted(filter(CONDITIONS[condition](first, second), keys), reverse=backwards)
    assert found == expected
    for page in pages[:-1]:
        assert page["Count"] == page["ScannedCount"] == limit
        assert page["LastEvaluatedKey"] == {
            name: page["Items"][-1][name]  # type: ignore[index]
            for name in ("pk", "sk")
        }


@settings(max_examples=100, deadline=None)
@given(
    names=st.lists(st.tuples(st.sampled_from("abcdefgh"), sort_keys), unique=True, max_size=14),
    limit=st.integers(0, 4),
    rows_max=st.integers(1, 5),
    arcs=st.integers(1, 5),
    segments=st.integers(1, 4),
)
def test_scan_segments_give_every_item_once(
    names: list[tuple[str, bytes]], limit: int, rows_max: int, arcs: int, segments: int
) -> None:
    store = Store(TABLE, [make_item(pk, sk) for pk, sk in names])
    found: list[tuple[str, bytes]] = []
    for segment in range(segments):
        body: dict[str, object] = {
            "TableName": "events",
            "Limit": limit or None,
            "Segment": segment,
            "TotalSegments": segments,
        }
        pages = run(
            lambda start, body=body: parse_scan({**body, "ExclusiveStartKey": start}).bind(TABLE),  # type: ignore[misc]
            store,
            arcs=arcs,
            rows_max=rows_max,
        )
        rows = [
            (item["pk"]["S"], sort_of(item))
            for page in pages
            for item in page["Items"]  # type: ignore[attr-defined]
        ]
        for pk in {pk for pk, _ in rows}:
            one_collection = [sk for found_pk, sk in rows if found_pk == pk]
            assert one_collection == sorted(one_collection)
        found.extend(rows)

    assert sorted(found) == sorted(names)


def query(**members: object) -> dict[str, object]:
    return {
        "TableName": "events",
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": "a"}},
        **members,
    }


def one_page(body: dict[str, object], store: Store) -> dict[str, object]:
    plan = parse_query(body).bind(TABLE)
    page: dict[str, object] = json.loads(fill(plan.start(), plan, store, arcs=1, rows_max=100))
    return page


def test_limit_counts_evaluated_items_and_the_filter_comes_after() -> None:
    store = Store(TABLE, [make_item("a", bytes([number])) for number in range(1, 10)])
    page = one_page(
        query(
            Limit=4,
            FilterExpression="n > :none",
            ExpressionAttributeValues={":pk": {"S": "a"}, ":none": {"N": "1"}},
        ),
        store,
    )

    assert (page["Count"], page["ScannedCount"], page["Items"]) == (0, 4, [])
    assert page["LastEvaluatedKey"] == {"pk": {"S": "a"}, "sk": {"B": "BA=="}}


def test_limit_reached_with_the_last_item_still_says_where_it_stopped() -> None:
    """API Reference: a LastEvaluatedKey does not mean that there is more."""
    page = one_page(query(Limit=1), Store(TABLE, [make_item("a", b"1")]))

    assert page["LastEvaluatedKey"] == {"pk": {"S": "a"}, "sk": {"B": "MQ=="}}


def test_page_ends_with_the_item_that_reaches_one_megabyte() -> None:
    items = [make_item("a", bytes([number]), size=300_000) for number in range(1, 9)]
    page = one_page(query(ReturnConsumedCapacity="TOTAL"), Store(TABLE, items))

    size = 4 * measure_item(items[0])
    assert size >= PAGE_SIZE_BYTES_MAX > size - measure_item(items[0])
    assert page["ScannedCount"] == 4
    assert page["ConsumedCapacity"] == {
        "TableName": "events",
        "CapacityUnits": -(-size // 4096) / 2,
    }


def test_count_has_no_items_and_projection_cuts_them() -> None:
    store = Store(TABLE, [make_item("a", b"1"), make_item("a", b"2")])

    counted = one_page(query(Select="COUNT"), store)
    projected = one_page(query(ProjectionExpression="n"), store)

    assert counted == {"Count": 2, "ScannedCount": 2}
    assert projected["Items"] == [{"n": {"N": "1"}}, {"n": {"N": "1"}}]


def test_table_without_sort_key_is_paged_too() -> None:
    items: list[dict[str, object]] = [{"pk": {"S": name}} for name in "abcdef"]
    store = Store(PLAIN_TABLE, items)
    pages = run(
        lambda start: parse_scan(
            {"TableName": "things", "Limit": 2, "ExclusiveStartKey": start}
        ).bind(PLAIN_TABLE),
        store,
        arcs=3,
    )
    found = [item for page in pages for item in page["Items"]]  # type: ignore[attr-defined]

    assert sorted(found, key=str) == items
    again = parse_query(query(TableName="things", ExclusiveStartKey={"pk": {"S": "a"}}))
    plan = again.bind(PLAIN_TABLE)
    assert json.loads(fill(plan.start(), plan, store, arcs=1, rows_max=9))["Items"] == []


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {"ExclusiveStartKey": {"pk": {"S": "a"}}},
            "The provided starting key is invalid",
        ),
        (
            {"ExclusiveStartKey": {"pk": {"S": "a"}, "sk": {"S": "1"}}},
            "The provided starting key is invalid",
        ),
        (
            {
                "KeyConditionExpression": "pk = :pk AND sk < :a",
                "ExpressionAttributeValues": {":pk": {"S": "a"}, ":a": {"B": "Mg=="}},
                "ExclusiveStartKey": {"pk": {"S": "b"}, "sk": {"B": "MQ=="}},
            },
            "The query can return at most one row and cannot be restarted",
        ),
        ({"IndexName": "by-date"}, "The table does not have the specified index: by-date"),
        (
            {"ProjectionExpression": "sk.a"},
            "Key attributes must be scalars; list random access '[]' and map lookup '.' are not "
            "allowed: Key: sk",
        ),
        (
            {"ExclusiveStartKey": {"pk": {"S": "b"}, "sk": {"B": "MQ=="}}},
            "The provided starting key is outside query boundaries based on provided conditions",
        ),
        (
            {
                "KeyConditionExpression": "pk = :pk AND sk < :a",
                "ExpressionAttributeValues": {":pk": {"S": "a"}, ":a": {"B": "MQ=="}},
                "ExclusiveStartKey": {"pk": {"S": "a"}, "sk": {"B": "MQ=="}},
            },
            "The provided starting key does not match the range key predicate",
        ),
        (
            {"FilterExpression": "pk = :pk"},
            "Filter Expression can only contain non-primary key attributes: "
            "Primary key attribute: pk",
        ),
    ],
)
def test_query_that_does_not_fit_the_table_is_refused(
    members: dict[str, object], message: str
) -> None:
    request = parse_query(query(**members))

    with pytest.raises(ValidationError) as caught:
        request.bind(TABLE)

    assert str(caught.value) == message


def test_scan_start_key_must_be_of_its_segment() -> None:
    start = {"pk": {"S": "a"}, "sk": {"B": "MQ=="}}
    token = token_of(storage_key(9, SCHEMA, start))
    other = 1 - (token * 2 >> 64)
    request = parse_scan(
        {"TableName": "events", "ExclusiveStartKey": start, "Segment": other, "TotalSegments": 2}
    )

    with pytest.raises(ValidationError, match="correct Segment"):
        request.bind(TABLE)


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("projection", [{}, {"ProjectionExpression": "sk, #d"}])
@pytest.mark.parametrize("room", [0, 1, 250, 400, 1_000, 100_000])
def test_page_ends_before_the_row_with_which_it_would_be_too_long(
    *, room: int, projection: dict[str, object], forward: bool
) -> None:
    """What is filtered out takes no room; and the pages together have every row once."""
    tied = [b"m" * 470 + bytes([number]) for number in range(5)]
    keys = [bytes([number]) for number in range(1, 12)] + tied
    items = [make_item("a", key, size=60 + position % 3) for position, key in enumerate(keys)]
    store = Store(TABLE, items)

    def plan(start: dict[str, object] | None) -> RangePlan:
        more = {} if start is None else {"ExclusiveStartKey": start}
        body = query(
            FilterExpression="size(#d) > :size",
            ExpressionAttributeNames={"#d": "data"},
            ExpressionAttributeValues={":pk": {"S": "a"}, ":size": {"N": "60"}},
            ScanIndexForward=forward,
            **projection,
            **more,
        )
        return parse_query(body).bind(TABLE)

    found: list[bytes] = []
    scanned, start = 0, None
    while True:
        current = plan(start)
        page = json.loads(fill(current.start(room), current, store, arcs=1, rows_max=4))
        size = len(json.dumps(page["Items"], separators=(",", ":"))) - len("[]")
        assert size <= room or len(page["Items"]) == 1
        found += [sort_of(item) for item in page["Items"]]
        scanned += page["ScannedCount"]
        start = page.get("LastEvaluatedKey")
        if start is None:
            break

    wanted = [key for position, key in enumerate(keys) if position % 3]
    assert found == sorted(wanted, reverse=not forward)
    assert scanned == len(keys)
