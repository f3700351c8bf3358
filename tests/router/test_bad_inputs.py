"""Bad inputs to a whole router over real sockets: rows of the table in docs/SECURITY.md.

Every story ends with a good request: the router lives, and serves.
"""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.router.cluster import CLUSTER_ID
from tests.router.signed import KEY_FILE_TEXT, SECRET, Signed, ada, sign
from tests.router.world import World, tell

KEY = {"p": {"S": "k"}}
VALIDATION = "com.amazon.coral.validate#ValidationException"
SERIALIZATION = "com.amazon.coral.service#SerializationException"

ROW_14_SECONDS_MAX = 0.005
ROW_21_SECONDS_MAX = 0.05
"""Of processor time, the client's included: other processes of the machine do not count."""


def put_of(value: object) -> dict[str, object]:
    return {"TableName": "Music", "Item": {**KEY, "v": value}}


def nested(levels: int) -> object:
    value: object = {"S": "deep"}
    for _ in range(levels):
        value = {"L": [value]}
    return value


async def refusal(
    world: World, operation: str, body: object = None, *, raw: bytes | None = None
) -> str:
    """Return the type of the error that a call is answered with; its status must be 400."""
    status, _, document = await world.http(operation, body, raw=raw)
    assert status == 400, document
    return str(document["__type"])


async def is_well(world: World) -> bool:
    status, _, _ = await world.http("GetItem", {"TableName": "Music", "Key": KEY})
    return status == 200


def expect(expected: str, operation: str, body: object = None, *, raw: bytes | None = None) -> None:
    """Run the story of one refusal."""

    async def story(world: World) -> None:
        assert await refusal(world, operation, body, raw=raw) == expected
        assert await is_well(world)

    tell(story)


async def exchange(world: World, raw: bytes) -> tuple[int, dict[str, Any]]:
    """Send raw bytes; return the status and the JSON of what comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.router.http_port)
    writer.write(raw)
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    is_json = b"application/x-amz-json" in head
    return int(head[9:12]), orjson.loads(body) if is_json and body else {}


# Rows 1 to 9: who calls. What each part of a signature must be is in test_signature.py.


def tell_signed(story: Callable[[World], Any], tmp_path: Path, **options: Any) -> None:
    """Run a story against a router that has one user."""
    key_file = tmp_path / "key"
    key_file.write_text(KEY_FILE_TEXT)
    key_file.chmod(0o600)
    tell(story, users=(ada(CLUSTER_ID),), key_file=key_file, **options)


def unsigned(request: Signed) -> None:
    del request.headers["Authorization"]


def without_signature(request: Signed) -> None:
    request.edit("Authorization", lambda header: header.partition(", Signature")[0])


def other_body(request: Signed) -> None:
    request.body = b'{"Limit":1}'


def doubled(request: Signed) -> None:
    request.extra_lines.append(b"Authorization: " + request.headers["Authorization"].encode())


def in_the_query(request: Signed) -> None:
    request.target = "/?X-Amz-Algorithm=AWS4-HMAC-SHA256"


@pytest.mark.parametrize(
    ("spoil", "signing", "code"),
    [
        pytest.param(unsigned, {}, "MissingAuthenticationTokenException", id="row 1"),
        pytest.param(without_signature, {}, "IncompleteSignatureException", id="row 2"),
        pytest.param(None, {"key_id": "QRTEZ"}, "UnrecognizedClientException", id="row 3"),
        pytest.param(None, {"secret": SECRET[1:]}, "InvalidSignatureException", id="row 4"),
        pytest.param(other_body, {}, "InvalidSignatureException", id="row 5"),
        pytest.param(None, {"minutes": -16}, "InvalidSignatureException", id="row 6, old"),
        pytest.param(None, {"minutes": 16}, "InvalidSignatureException", id="row 6, early"),
        pytest.param(None, {"region": "mars"}, "InvalidSignatureException", id="row 7"),
        pytest.param(in_the_query, {}, "InvalidSignatureException", id="row 9, query"),
        pytest.param(doubled, {}, "IncompleteSignatureException", id="row 9, two headers"),
    ],
)
def test_request_that_is_not_signed_as_it_must_be_is_refused(
    tmp_path: Path, spoil: Callable[[Signed], None] | None, signing: dict[str, Any], code: str
) -> None:
    async def story(world: World) -> None:
        minutes = signing.pop("minutes", 0)
        request = sign(time.time() + 60 * minutes, **signing)
        if spoil is not None:
            spoil(request)

        status, document = await exchange(world, request.raw)

        assert (status, document["__type"]) == (400, f"com.amazon.coral.service#{code}")
        assert SECRET not in str(document)
        good = sign(time.time())
        assert await exchange(world, good.raw) == (200, {"TableNames": ["Music"]})

    tell_signed(story, tmp_path, region="eu-west-1")


def test_row_8_replayed_request_is_served(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        raw = sign(time.time()).raw

        assert (await exchange(world, raw))[0] == (await exchange(world, raw))[0] == 200

    tell_signed(story, tmp_path)


def test_compressed_request_is_signed_as_it_is_sent(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        body = gzip.compress(b"{}", mtime=0)
        request = sign(time.time(), body=body, headers={"Content-Encoding": "gzip"})

        assert await exchange(world, request.raw) == (200, {"TableNames": ["Music"]})

    tell_signed(story, tmp_path)


def test_router_without_the_key_file_serves_nobody_once_there_are_users() -> None:
    async def story(world: World) -> None:
        for request in (sign(time.time()), sign(time.time())):
            status, document = await exchange(world, request.raw)
            assert (status, document["__type"].rpartition("#")[2]) == (503, "ServiceUnavailable")

    tell(story, users=(ada(CLUSTER_ID),))


def test_router_that_requires_signatures_serves_nobody_while_there_are_no_users(
    tmp_path: Path,
) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(KEY_FILE_TEXT)
    key_file.chmod(0o600)

    async def story(world: World) -> None:
        assert await refusal(world, "ListTables", {}) == (
            "com.amazon.coral.service#MissingAuthenticationTokenException"
        )
        answer = await exchange(world, sign(time.time()).raw)
        assert answer[1]["__type"].endswith("#UnrecognizedClientException")

    tell(story, key_file=key_file, require_auth=True)


# Rows 10 to 13: what is no call, and what is no JSON.


@pytest.mark.parametrize(
    "target",
    [
        "",
        "PutItem",
        "DynamoDB_20111205.ListTables",
        "DynamoDB_20120810.",
        "DynamoDB_20120810.NoSuchThing",
        "DynamoDB_20120810." + "x" * 15_000,
    ],
)
def test_row_10_target_that_names_no_operation(target: str) -> None:
    async def story(world: World) -> None:
        request = sign(time.time(), host="127.0.0.1:8000")
        request.headers["X-Amz-Target"] = target

        status, document = await exchange(world, request.raw)

        assert (status, document) == (
            400,
            {"__type": "com.amazon.coral.service#UnknownOperationException"},
        )
        assert await is_well(world)

    tell(story)


def test_row_10_target_of_64_kb_is_over_the_header_limit() -> None:
    async def story(world: World) -> None:
        request = sign(time.time())
        request.headers["X-Amz-Target"] = "x" * (64 << 10)

        assert await exchange(world, request.raw) == (431, {})
        assert await is_well(world)

    tell(story)


def test_row_11_every_prefix_of_a_body() -> None:
    async def story(world: World) -> None:
        body = orjson.dumps(put_of({"M": {"a": {"NS": ["1", "2.5"]}}}))
        for length in range(len(body)):
            assert await refusal(world, "PutItem", raw=body[:length]) == SERIALIZATION
        assert await is_well(world)

    tell(story)


@pytest.mark.parametrize(
    "raw",
    [b"", b"}}}", b"{7}", b'{"":{' * 200_000, b"null", b"[]", b"1", b'"x"', b"{}{}", b"\xff" * 9],
)
def test_row_11_body_that_is_no_json_object(raw: bytes) -> None:
    expect(SERIALIZATION, "PutItem", raw=raw)


def test_row_12_item_nested_too_deeply() -> None:
    expect(VALIDATION, "PutItem", put_of(nested(33)))


@pytest.mark.parametrize("raw", [b"[" * 200_000, b'{"a":' * 200_000, b"[" * 2_000 + b"]" * 2_000])
def test_row_12_json_nested_too_deeply(raw: bytes) -> None:
    expect(SERIALIZATION, "PutItem", raw=b'{"TableName":"Music","Item":' + raw + b"}")


@pytest.mark.parametrize(
    "value",
    [
        b'{"S":"a","S":"b"}',
        b'{"N":NaN}',
        b'{"N":Infinity}',
        rb'{"S":"\ud800"}',
        b'{"S":"\xc3\x28"}',
        b'{"S":"\xed\xa0\x80"}',
        b'{"S":"a\x00b"}',
    ],
)
def test_row_13_json_that_is_not_strict(value: bytes) -> None:
    raw = b'{"TableName":"Music","Item":{"p":{"S":"k"},"v":%b}}' % value
    expect(SERIALIZATION, "PutItem", raw=raw)


def test_row_13_nul_inside_a_value_survives() -> None:
    async def story(world: World) -> None:
        assert (await world.http("PutItem", put_of({"S": "a\0b"})))[0] == 200
        _, _, answer = await world.http(
            "GetItem", {"TableName": "Music", "Key": KEY, "ConsistentRead": True}
        )
        assert answer == {"Item": {**KEY, "v": {"S": "a\0b"}}}

    tell(story)


# Rows 14 to 17: values and keys.


@pytest.mark.parametrize(
    "number",
    [
        "1E10000000",
        "1E126",
        "1E-131",
        "9" * 39,
        "1" * 1_000_000,
        "NaN",
        "0x10",
        " 1",
        "1_0",
        "1e",
        "",
    ],
)
def test_row_14_number_that_is_none_or_too_much(number: str) -> None:
    async def story(world: World) -> None:
        body = put_of({"N": number})
        raw = orjson.dumps(body)
        seconds = []
        for _ in range(5):
            started = time.thread_time()
            assert await refusal(world, "PutItem", raw=raw) == VALIDATION
            seconds.append(time.thread_time() - started)
        assert len(number) > 1_000 or min(seconds) < ROW_14_SECONDS_MAX
        assert await is_well(world)

    tell(story)


@pytest.mark.parametrize(
    "value",
    [
        {"S": "a", "N": "1"},
        {},
        {"X": "a"},
        {"BOOL": "true"},
        {"NULL": False},
        {"B": "no base64!"},
        {"B": "YQ"},
        {"SS": []},
        {"SS": ["a", "a"]},
        {"NS": ["1", "1.0"]},
        {"SS": ["a", 1]},
        {"S": 1},
        {"N": 1},
        {"L": {}},
        {"M": []},
        "a",
        None,
    ],
)
def test_row_15_value_of_no_type_or_two(value: object) -> None:
    async def story(world: World) -> None:
        kind = await refusal(world, "PutItem", put_of(value))
        assert kind in (VALIDATION, SERIALIZATION)
        assert await is_well(world)

    tell(story)


@pytest.mark.parametrize(
    "item",
    [
        {**KEY, "v": {"S": "x" * (409_600 - 1 - 1 - 1 + 1)}},
        {"p": {"S": "x" * 2_049}},
        {"p": {"S": ""}},
        {"p": {"N": "1"}},
        {"v": {"S": "a"}},
    ],
)
def test_row_16_item_or_key_that_is_too_large_or_wrong(item: object) -> None:
    expect(VALIDATION, "PutItem", {"TableName": "Music", "Item": item})


def test_row_16_largest_item_is_taken() -> None:
    async def story(world: World) -> None:
        item = {**KEY, "v": {"S": "x" * (409_600 - 3)}}
        assert (await world.http("PutItem", {"TableName": "Music", "Item": item}))[0] == 200

    tell(story)


def test_row_17_attribute_name_of_64_kb() -> None:
    expect(VALIDATION, "PutItem", {"TableName": "Music", "Item": {**KEY, "n" * 65_536: {"S": "a"}}})


def test_row_17_key_attribute_name_of_256() -> None:
    name = "k" * 256
    expect(
        VALIDATION,
        "CreateTable",
        {
            "TableName": "Other",
            "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": name, "KeyType": "HASH"}],
            "BillingMode": "PAY_PER_REQUEST",
        },
    )


# Rows 20 to 23: operations.


def keys(count: int) -> list[dict[str, Any]]:
    return [{"p": {"S": str(number)}} for number in range(count)]


def puts(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"RequestItems": {"Music": [{"PutRequest": {"Item": item}} for item in items]}}


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("BatchWriteItem", puts(keys(26))),
        ("BatchWriteItem", puts([KEY, KEY])),
        ("BatchGetItem", {"RequestItems": {"Music": {"Keys": keys(101)}}}),
        ("BatchGetItem", {"RequestItems": {"Music": {"Keys": [KEY, KEY]}}}),
    ],
)
def test_row_20_batch_that_is_too_long_or_names_a_key_twice(operation: str, body: object) -> None:
    expect(VALIDATION, operation, body)


def update_of(expression: str, **more: object) -> dict[str, object]:
    return {"TableName": "Music", "Key": KEY, "UpdateExpression": expression, **more}


@pytest.mark.parametrize(
    "body",
    [
        update_of("SET a = b" + " " * 4_096),
        update_of("SET a = " + "(" * 100_000 + "b" + ")" * 100_000),
        update_of("SET a = " + "(" * 2_000 + "b" + ")" * 2_000),
        update_of("SET a = b", ConditionExpression="(" * 2_000 + "a = b" + ")" * 2_000),
        update_of("SET a = b", ConditionExpression="NOT " * 1_000 + "a = b"),
        update_of("SET a" + ".b" * 2_000 + " = c"),
        update_of("SET " + ",".join(f"a{n}=b+c" for n in range(301))),
        update_of("SET a = :v"),
        update_of("SET #n = b"),
        update_of("SET a = b", ExpressionAttributeValues={":v": {"S": "a"}}),
        update_of("SET a = b", ExpressionAttributeNames={"#n": "a"}),
        update_of("SET #n = b", ExpressionAttributeNames={"#n": "n" * (3 << 20)}),
        update_of("SET a = :v", ExpressionAttributeValues={":v": {"S": "v" * (3 << 20)}}),
        update_of("SET"),
        update_of(""),
    ],
)  # fmt: skip
def test_row_21_expression_that_is_too_long_too_deep_or_wrong(body: dict[str, object]) -> None:
    async def story(world: World) -> None:
        raw = orjson.dumps(body)
        seconds = []
        for _ in range(5):
            started = time.thread_time()
            assert await refusal(world, "UpdateItem", raw=raw) == VALIDATION
            seconds.append(time.thread_time() - started)
        assert len(raw) > 1 << 20 or min(seconds) < ROW_21_SECONDS_MAX
        assert await is_well(world)

    tell(story)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a", "x" * 256, "T\n[ERROR]", "Mus\u0456c", "", "a b", "Music\0"]
)
def test_row_22_table_name_that_is_none(name: str, caplog: pytest.LogCaptureFixture) -> None:
    expect(VALIDATION, "GetItem", {"TableName": name, "Key": KEY})

    assert not any("[ERROR]" in line for line in caplog.text.splitlines() if line[:1] == "[")


@pytest.mark.parametrize(
    "start_key",
    [
        {},
        {"q": {"S": "other table's"}},
        {**KEY, "more": {"S": "field"}},
        {"p": {"N": "1"}},
        {"p": {"S": ""}},
    ],
)
def test_row_23_forged_start_key(start_key: object) -> None:
    expect(VALIDATION, "Scan", {"TableName": "Music", "ExclusiveStartKey": start_key})


def test_row_23_start_key_of_another_partition() -> None:
    expect(
        VALIDATION,
        "Query",
        {
            "TableName": "Music",
            "KeyConditionExpression": "p = :p",
            "ExpressionAttributeValues": {":p": {"S": "k"}},
            "ExclusiveStartKey": {"p": {"S": "another"}},
        },
    )


# Row 34: more than can be served.


def test_row_34_overload_is_refused_at_the_door_and_passes() -> None:
    async def story(world: World) -> None:
        world.router.dispatch._pending_max = 20
        world.nodes[0].silent = True
        held = asyncio.gather(*(world.put(f"held-{n}") for n in range(20)))
        while world.router.dispatch.pending_count < 20:
            await asyncio.sleep(0.005)
        started = time.perf_counter()
        refused = await asyncio.gather(*(world.put(f"late-{n}") for n in range(180)))
        assert {str(document["__type"]) for _, document in refused} == {
            "com.amazon.coral.availability#ThrottlingException"
        }
        assert time.perf_counter() - started < 5.0, "refused at once, not at the deadline"

        world.lead(world.nodes[1].node_id, term=2)
        assert await held == [(200, {})] * 20
        assert await world.put("after") == (200, {})

    tell(story, request_timeout_ms=10_000)
