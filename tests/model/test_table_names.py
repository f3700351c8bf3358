"""The tables that a request names, found before it is parsed, are those that parsing finds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import ModelError
from model.requests.batches import parse_batch_get_item, parse_batch_write_item
from model.requests.reads import parse_get_item, parse_query, parse_scan
from model.requests.table_names import NAMING_NONE, tables_named
from model.requests.tables import (
    parse_create_table,
    parse_delete_table,
    parse_describe_table,
    parse_update_table,
)
from model.requests.writes import parse_delete_item, parse_put_item, parse_update_item

KEY = {"p": {"S": "a"}}
KEY_CONDITION = {
    "KeyConditionExpression": "p = :p",
    "ExpressionAttributeValues": {":p": {"S": "a"}},
}
SCHEMA = {
    "AttributeDefinitions": [{"AttributeName": "p", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}],
    "BillingMode": "PAY_PER_REQUEST",
}
ONE_TABLE: Mapping[str, tuple[Callable[[object], Any], dict[str, Any]]] = {
    "CreateTable": (parse_create_table, SCHEMA),
    "DeleteItem": (parse_delete_item, {"Key": KEY}),
    "DeleteTable": (parse_delete_table, {}),
    "DescribeTable": (parse_describe_table, {}),
    "GetItem": (parse_get_item, {"Key": KEY}),
    "PutItem": (parse_put_item, {"Item": KEY}),
    "Query": (parse_query, KEY_CONDITION),
    "Scan": (parse_scan, {}),
    "UpdateItem": (parse_update_item, {"Key": KEY}),
    "UpdateTable": (parse_update_table, {"BillingMode": "PAY_PER_REQUEST"}),
}
BATCHES: Mapping[str, tuple[Callable[[object], Any], Any]] = {
    "BatchGetItem": (parse_batch_get_item, {"Keys": [KEY]}),
    "BatchWriteItem": (parse_batch_write_item, [{"PutRequest": {"Item": KEY}}]),
}

ARN = "arn:aws:dynamodb:local:000000000000:table/"
texts = st.sampled_from(["Music", "x.-_9", "ab", "a b", "x" * 256, "", ARN, "*", "Ünicode"])
given_names = texts | texts.map(lambda text: ARN + text) | st.text(max_size=8)
not_names = st.sampled_from([None, 7, [], {}, ["Music"], {"S": "Music"}])


@pytest.mark.parametrize("operation", ONE_TABLE)
@given(name=given_names | not_names)
def test_table_of_a_request(operation: str, name: object) -> None:
    parse, rest = ONE_TABLE[operation]
    body = {"TableName": name, "RequestItems": {"Other": []}, **rest}

    with contextlib.suppress(ModelError):
        assert tables_named(operation, body) == [parse(body).table_name]


@pytest.mark.parametrize("operation", BATCHES)
@given(chosen=st.lists(given_names, max_size=3, unique=True))
def test_tables_of_a_batch_in_its_order(operation: str, chosen: list[str]) -> None:
    parse, part = BATCHES[operation]
    body = {"TableName": "Other", "RequestItems": dict.fromkeys(chosen, part)}

    with contextlib.suppress(ModelError):
        assert set(tables_named(operation, body)) == set(parse(body).table_names)


@pytest.mark.parametrize("operation", [*ONE_TABLE, *BATCHES])
def test_a_good_request_names_a_table(operation: str) -> None:
    """Else the tests above could say nothing."""
    parse, rest = {**ONE_TABLE, **BATCHES}[operation]
    body = {"TableName": ARN + "Music", **rest} if operation in ONE_TABLE else None
    body = body or {"RequestItems": {ARN + "Music": rest}}

    parse(body)
    assert tables_named(operation, body) == ["Music"]


@pytest.mark.parametrize("operation", sorted(NAMING_NONE))
def test_operation_about_no_table_is_about_none_whatever_it_says(operation: str) -> None:
    assert tables_named(operation, {"TableName": "Music"}) == []


@pytest.mark.parametrize("body", [None, [], "Music", 7, {}, {"RequestItems": ["Music"]}])
def test_body_that_is_none_names_no_table(body: object) -> None:
    for operation in (*ONE_TABLE, *BATCHES):
        assert tables_named(operation, body) == []
