"""What a client is given by mistake: a sentence that names the place, and the client goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quorate.client import Client, Credentials, Delete, Put, QuorateError, ValueRefused
from tests.client.fake_router import Answer, FakeRouter, Received, run, serving
from tests.client.hostile import Color, Text, hostile

HALF = "\ud83d"

Call = Callable[[Client], Awaitable[object]]


def answer(received: Received) -> Answer:
    return 200, {"TableDescription": {}, "Table": {}, "TableNames": []}


@asynccontextmanager
async def open_client(*, raw: bool = False) -> AsyncIterator[tuple[Client, FakeRouter]]:
    router = FakeRouter(answer)
    async with serving(router) as address, Client(address, raw=raw) as client:
        yield client, router


@pytest.mark.parametrize(
    ("place", "call"),
    [
        ("item.a[1]", lambda client: client.put_item("t", {"a": [1, HALF]})),
        ("key.pk", lambda client: client.get_item("t", {"pk": 1.5})),
        ("key", lambda client: client.delete_item("t", "pk")),
        ("table_name", lambda client: client.put_item(HALF, {})),
        ("table_name", lambda client: client.describe_table(b"t")),
        (
            "condition_expression",
            lambda client: client.put_item("t", {}, condition_expression=HALF),
        ),
        (
            "expression_attribute_names['#n']",
            lambda client: client.scan("t", expression_attribute_names={"#n": HALF}),
        ),
        (
            "expression_attribute_names",
            lambda client: client.scan("t", expression_attribute_names={HALF: "n"}),
        ),
        (
            "expression_attribute_names",
            lambda client: client.scan("t", expression_attribute_names=["#n"]),
        ),
        (
            "expression_attribute_values[':v'].x",
            lambda client: client.scan("t", expression_attribute_values={":v": {"x": 1.5}}),
        ),
        (
            "exclusive_start_key.pk",
            lambda client: client.scan("t", exclusive_start_key={"pk": HALF}),
        ),
        ("limit", lambda client: client.scan("t", limit=10**30)),
        ("limit", lambda client: client.scan("t", limit=Decimal(1))),
        ("writes.t[1].item.a", lambda client: client.batch_write_item({"t": [Delete({}), BAD]})),
        ("writes.t[0]", lambda client: client.batch_write_item({"t": [{"pk": "a"}]})),
        ("writes", lambda client: client.batch_write_item([BAD])),
        ("keys.t[0].pk", lambda client: client.batch_get_item({"t": [{"pk": HALF}]})),
        ("keys.t", lambda client: client.batch_get_item({"t": 1})),
        ("table_name", lambda client: client.batch_write(HALF, puts=[{"a": 1}])),
        ("table_name", lambda client: client.batch_get(None, [{"a": 1}])),
        ("puts[30].a", lambda client: client.batch_write("t", puts=[{"a": 1}] * 30 + [BAD.item])),
        ("deletes", lambda client: client.batch_write("t", deletes=None)),
        ("keys[120]", lambda client: client.batch_get("t", [{"pk": "a"}] * 120 + [1])),
        ("partition_key", lambda client: client.create_table("t", partition_key="pk")),
        ("sort_key", lambda client: client.create_table("t", partition_key=KEY, sort_key=(1, 2))),
        ("deadline_seconds", lambda client: client.get_item("t", {}, deadline_seconds="1")),
        ("deadline_seconds", lambda client: client.get_item("t", {}, deadline_seconds=NAN)),
        ("timeout_seconds", lambda client: client.wait_connected(NAN)),
        ("request_id", lambda client: client.put_item("t", {}, request_id="x" * 16)),
        ("request_id", lambda client: client.put_item("t", {}, request_id=b"")),
        ("operation", lambda client: client.execute(HALF, {})),
        ("body", lambda client: client.execute("GetItem", None)),
        ("item.a.S", lambda client: client.execute("PutItem", {"Item": {"a": {"S": HALF}}})),
    ],
    ids=count(),
)
def test_a_bad_argument_is_named_and_nothing_is_sent(place: str, call: Call) -> None:
    async def story() -> None:
        async with open_client() as (client, router):
            with pytest.raises(ValueRefused) as caught:
                await call(client)

            assert caught.value.place == place
            assert router.received == []
            await client.put_item("t", {"pk": "a"})  # the stream is as it was

    run(story())


BAD = Put({"a": HALF})
KEY = ("pk", "S")
NAN = float("nan")


@pytest.mark.parametrize(
    ("place", "call"),
    [
        ("item.a.S", lambda client: client.put_item("t", {"a": {"S": HALF}})),
        ("item.a.L[0].N", lambda client: client.put_item("t", {"a": {"L": [{"N": Decimal(1)}]}})),
        ("item.a.SS", lambda client: client.put_item("t", {"a": {"SS": {"x"}}})),
        ("item", lambda client: client.put_item("t", [])),
        ("request_items.t[0].PutRequest.Item.a.S", lambda client: client.batch_write_item(RAW)),
        ("puts[0]", lambda client: client.batch_write("t", puts=["pk"])),
    ],
)
def test_a_raw_client_names_the_place_too(place: str, call: Call) -> None:
    async def story() -> None:
        async with open_client(raw=True) as (client, _):
            with pytest.raises(ValueRefused) as caught:
                await call(client)

            assert caught.value.place == place

    run(story())


RAW = {"t": [Put({"a": {"S": HALF}})]}


def test_wherever_there_may_be_text_its_subclasses_are_sent_as_their_text() -> None:
    async def story() -> None:
        async with open_client() as (client, router):
            await client.put_item(
                Color.RED,
                {Color.RED: Color.RED},
                condition_expression=Text("a = :a"),
                expression_attribute_names={Text("#a"): Color.RED},
                expression_attribute_values={Text(":a"): Color.RED},
            )
            await client.batch_write_item({Color.RED: [Delete({Color.RED: 1})]})
            await client.batch_write(Color.RED, puts=[{"pk": "a"}])
            await client.batch_get(Color.RED, [{"pk": "a"}])
        async with open_client(raw=True) as (client, raw_router):
            await client.put_item("t", {Color.RED: {"S": Color.RED}})

        assert [received.body for received in router.received + raw_router.received] == [
            {
                "TableName": "red",
                "Item": {"red": {"S": "red"}},
                "ConditionExpression": "a = :a",
                "ExpressionAttributeNames": {"#a": "red"},
                "ExpressionAttributeValues": {":a": {"S": "red"}},
            },
            {"RequestItems": {"red": [{"DeleteRequest": {"Key": {"red": {"N": "1"}}}}]}},
            {"RequestItems": {"red": [{"PutRequest": {"Item": {"pk": {"S": "a"}}}}]}},
            {"RequestItems": {"red": {"Keys": [{"pk": {"S": "a"}}]}}},
            {"TableName": "t", "Item": {"red": {"S": "red"}}},
        ]

    run(story())


@pytest.mark.parametrize(
    ("place", "make"),
    [
        ("endpoint", lambda: Client(HALF)),
        ("endpoint", lambda: Client([1])),  # type: ignore[list-item]
        ("endpoint", lambda: Client(None)),  # type: ignore[arg-type]
        ("open_calls_max", lambda: Client(open_calls_max=0)),
        ("deadline_seconds", lambda: Client(deadline_seconds=NAN)),
        ("access_key_id", lambda: Credentials("a\nb", "secret")),
        ("access_key_id", lambda: Credentials("\xe9", "secret")),
        ("secret_access_key", lambda: Credentials("AKIA", HALF)),
    ],
    ids=count(),
)
def test_a_client_that_could_not_work_is_not_made(place: str, make: Callable[[], object]) -> None:
    with pytest.raises(ValueRefused) as caught:
        make()

    assert caught.value.place == place


def test_whatever_a_client_is_given_it_raises_nothing_but_its_own_errors() -> None:
    calls: list[Callable[[Client, Any], Awaitable[object]]] = [
        lambda client, value: client.put_item(value, value),
        lambda client, value: client.put_item("t", {"a": value}),
        lambda client, value: client.update_item("t", {}, update_expression=value),
        lambda client, value: client.get_item("t", {}, expression_attribute_names=value),
        lambda client, value: client.query(
            "t", key_condition_expression=value, expression_attribute_values=value
        ),
        lambda client, value: client.scan("t", limit=value, exclusive_start_key=value),
        lambda client, value: client.batch_write_item(value),
        lambda client, value: client.batch_write_item({"t": value}),
        lambda client, value: client.batch_write("t", puts=value),
        lambda client, value: client.batch_get("t", value),
        lambda client, value: client.create_table("t", partition_key=value),
        lambda client, value: client.execute(value, value),
        lambda client, value: client.put_item("t", {}, request_id=value),
        lambda client, value: client.get_item("t", {}, deadline_seconds=value),
        lambda client, value: client.delete_item("t", {}, return_values=value),
    ]

    with asyncio.Runner() as runner:
        opened = open_client()
        client, _ = runner.run(opened.__aenter__())

        async def call_with(value: object) -> None:
            for call in calls:
                try:
                    await call(client, value)
                except (ValueRefused, QuorateError) as error:
                    assert str(error)  # noqa: PT017 - or else it is done

        @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(hostile | st.lists(hostile, max_size=3) | st.dictionaries(st.text(), hostile))
        def check(value: object) -> None:
            runner.run(call_with(value))

        check()
        runner.run(opened.__aexit__(None, None, None))
