"""No JSON body may raise anything but a ModelError, and none may take long."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.errors import ModelError
from model.image import encode_image
from model.keys import KeySchema
from model.members import Member
from model.requests.batches import (
    BATCH_GET_ITEM,
    BATCH_WRITE_ITEM,
    BatchGetItem,
    BatchWriteItem,
    parse_batch_get_item,
    parse_batch_write_item,
)
from model.requests.reads import (
    GET_ITEM,
    QUERY,
    SCAN,
    GetItem,
    Query,
    Scan,
    parse_get_item,
    parse_query,
    parse_scan,
)
from model.requests.tables import (
    CREATE_TABLE,
    LIST_TABLES,
    ONE_TABLE,
    UPDATE_TABLE,
    parse_create_table,
    parse_delete_table,
    parse_describe_table,
    parse_list_tables,
    parse_update_table,
)
from model.requests.writes import (
    DELETE_ITEM,
    PUT_ITEM,
    UPDATE_ITEM,
    DeleteItem,
    PutItem,
    UpdateItem,
    parse_delete_item,
    parse_put_item,
    parse_update_item,
)
from model.tables import Table

OPERATIONS: Final[list[tuple[Callable[[object], object], Mapping[str, Member]]]] = [
    (parse_put_item, PUT_ITEM),
    (parse_delete_item, DELETE_ITEM),
    (parse_update_item, UPDATE_ITEM),
    (parse_get_item, GET_ITEM),
    (parse_query, QUERY),
    (parse_scan, SCAN),
    (parse_batch_write_item, BATCH_WRITE_ITEM),
    (parse_batch_get_item, BATCH_GET_ITEM),
    (parse_create_table, CREATE_TABLE),
    (parse_update_table, UPDATE_TABLE),
    (parse_list_tables, LIST_TABLES),
    (parse_describe_table, ONE_TABLE),
    (parse_delete_table, ONE_TABLE),
]
TABLES: Final = {
    "orders": Table(
        id=1,
        name="orders",
        schema=KeySchema(partition_name="a", partition_type="S", sort_name="b", sort_type="N"),
        definition={},
    )
}

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2**70),
    st.floats(),
    st.text(max_size=4),
    st.sampled_from(["orders", "ALL_OLD", "TOTAL", "COUNT", "AA==", "a = :v", "SET a = :v"]),
)
values = st.one_of(
    st.builds(lambda text: {"S": text}, st.text(max_size=3)),
    st.sampled_from(
        [{"N": "1"}, {"N": "x"}, {"B": "AA=="}, {"BOOL": True}, {"L": []}, {"SS": ["a"]}]
    ),
)
names = st.sampled_from(
    ["a", "b", "S", "N", "B", "L", "M", "SS", "NS", "BS", "BOOL", "NULL", "#n", ":v", "orders",
     "Keys", "Item", "Key", "PutRequest", "DeleteRequest", "AttributeName", "AttributeType",
     "KeyType", ""]
)  # fmt: skip
anything = st.recursive(
    scalars | values,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(names, inside, max_size=3),
    max_leaves=8,
)
keys = st.fixed_dictionaries({"a": values, "b": values})
plausible = {
    "TableName": st.just("orders"),
    "Item": keys,
    "Key": keys,
    "ExclusiveStartKey": keys,
    "KeyConditionExpression": st.sampled_from(["a = :v", "a = :v AND b > :w", "b = :v", "a"]),
    "ExpressionAttributeValues": st.fixed_dictionaries({":v": values}, optional={":w": values}),
    "RequestItems": st.fixed_dictionaries(
        {
            "orders": st.one_of(
                st.lists(
                    st.one_of(
                        st.builds(lambda item: {"PutRequest": {"Item": item}}, keys),
                        st.builds(lambda key: {"DeleteRequest": {"Key": key}}, keys),
                    ),
                    max_size=3,
                ),
                st.builds(lambda found: {"Keys": found}, st.lists(keys, max_size=3)),
            )
        }
    ),
}


@st.composite
def requests(draw: st.DrawFn) -> tuple[Callable[[object], object], object]:
    """Draw an operation and a body with its members, some sensible and some absurd."""
    parse, members = draw(st.sampled_from(OPERATIONS))
    body: dict[str, object] = {}
    for name in members:
        choice = draw(st.integers(0, 9))
        if name in plausible and choice < 7:
            body[name] = draw(plausible[name])
        elif choice == 7:
            body[name] = draw(anything)
    return parse, draw(st.one_of(st.just(body), st.just(body), st.just(body), anything))


def bind(request: object) -> None:
    """Do with a parsed request what a router does."""
    table = TABLES["orders"]
    image = encode_image({"a": {"S": "x"}, "b": {"N": "1"}}, 5)
    if isinstance(request, PutItem | DeleteItem | UpdateItem):
        request.bind(table)
        json.loads(request.response(table, 1, b""))
    elif isinstance(request, GetItem):
        request.bind(table)
        json.loads(request.response(table, image))
    elif isinstance(request, Query | Scan):
        page = request.bind(table).start()
        while not page.done:
            page.add([page.low], [image], more=False)
        json.loads(page.response())
    elif isinstance(request, BatchWriteItem):
        writes = request.bind(TABLES)
        json.loads(request.response(writes, [None] * len(writes)))
    elif isinstance(request, BatchGetItem):
        gets = request.bind(TABLES)
        json.loads(request.response(gets, [image] * len(gets)))


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(requests())
def test_any_body_is_a_request_or_a_typed_error(
    drawn: tuple[Callable[[object], object], object],
) -> None:
    assert_parsed_or_refused(*drawn)


def assert_parsed_or_refused(parse: Callable[[object], object], body: object) -> None:
    """Parse, bind and answer; only a ModelError, or a table that is not there, may stop it."""
    refusal = ""
    try:
        bind(parse(body))
    except KeyError as error:  # the router looks tables up before it binds
        refusal = f"no table {error.args[0]}"
    except ModelError as error:
        refusal = json.loads(error.document)["__type"]
    assert refusal != "no table orders"


def deep(levels: int, kind: str) -> object:
    value: object = {"S": "x"}
    for _ in range(levels):
        value = {"L": [value]} if kind == "L" else {"M": {"a": value}}
    return value


HOSTILE: Final[list[dict[str, object]]] = [
    {"TableName": "orders", "Item": {"a": deep(500, "L")}},
    {"TableName": "orders", "Item": {"a": deep(500, "M")}, "ReturnValues": 1},
    {"TableName": "orders", "Item": {"a": {"N": "1E10000000"}}},
    {"TableName": "orders", "Item": {"a": {"N": "1" * 1_000_000}}},
    {"TableName": "orders", "Item": {"a": {"NS": ["0." + "0" * 1_000_000 + "1"]}}},
    {"TableName": "x" * 200_000, "Item": {}},
    {"TableName": "arn:aws:dynamodb:" + "a" * 1_000_000, "Item": {}},
    {"TableName": "orders", "Item": {"a": {"B": "=" * 1_000_000}}},
    {"TableName": "orders", "Item": {}, "ConditionExpression": "(" * 100_000},
    {"TableName": "orders", "Item": {}, "ExpressionAttributeNames": {"#" * 100_000: "x"}},
]


@pytest.mark.parametrize("position", range(len(HOSTILE)))
def test_hostile_bodies_are_refused_at_once(position: int) -> None:
    started = time.perf_counter()

    with pytest.raises(ModelError) as caught:
        parse_put_item(HOSTILE[position])

    assert time.perf_counter() - started < 0.05
    assert len(caught.value.document) < 10_000


MANY: Final = [f"{number}!" for number in range(2_000)]
LONG: Final = "x" * 200_000
HOSTILE_ELSEWHERE: Final[list[tuple[Callable[[object], object], dict[str, object]]]] = [
    (parse_batch_write_item, {"RequestItems": {table: [] for table in MANY}}),
    (parse_batch_get_item, {"RequestItems": {table: {} for table in MANY}}),
    (parse_batch_get_item, {"RequestItems": {LONG: {}}}),
    (parse_scan, {"TableName": "orders", "ScanFilter": {name: {} for name in MANY}}),
    (parse_scan, {"TableName": "orders", "ScanFilter": {LONG: {}}}),
    (parse_create_table, {"TableName": "orders", "KeySchema": [{"KeyType": LONG, "": "x"}] * 99}),
    (parse_create_table, {"TableName": "orders", "KeySchema": [{}] * 2_000}),
]


@pytest.mark.parametrize("position", range(len(HOSTILE_ELSEWHERE)))
def test_hostile_lists_and_maps_are_refused_at_once(position: int) -> None:
    """No work, and no answer, that grows with the square of what was sent."""
    parse, body = HOSTILE_ELSEWHERE[position]
    started = time.perf_counter()

    with pytest.raises(ModelError) as caught:
        parse(body)

    assert time.perf_counter() - started < 0.25
    assert len(caught.value.document) < 50_000


@pytest.mark.parametrize("parse", [parse for parse, _ in OPERATIONS])
@pytest.mark.parametrize("text", ["{}", "[]", "1", '""', "null", "true", '{"":{}}'])
def test_odd_documents_are_no_surprise(parse: Callable[[object], object], text: str) -> None:
    assert_parsed_or_refused(parse, json.loads(text))
