"""The whole router in one loop, against three stand-in nodes, through its HTTP and gRPC faces."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import grpc
import grpc.aio
import orjson
import pytest
from google.rpc import error_details_pb2, status_pb2

from quorate.cluster.catalog import TableRecord
from quorate.cluster.write_id import write_id
from quorate.v1 import api_pb2, node_pb2
from quorate.v1.api_pb2_grpc import QuorateServiceStub
from router.grpc_errors import DETAILS_KEY
from router.operations.not_served import STREAM_OPERATIONS
from router.options import RouterOptions
from router.process import Refused, RouterProcess
from router.upstream import RANGES_OUTSTANDING_MAX
from tests.router.cluster import CLUSTER_ID, DEFINITION, SCANT
from tests.router.loops import run
from tests.router.world import TIMEOUT_MS, World, tell


def test_item_put_over_http_is_read_back_strongly_and_eventually() -> None:
    async def story(world: World) -> None:
        assert await world.put("a", ReturnConsumedCapacity="TOTAL") == (
            200,
            {"ConsumedCapacity": {"TableName": "Music", "CapacityUnits": 1.0}},
        )
        for consistent in (True, False):
            status, _, answer = await world.http(
                "GetItem",
                {"TableName": "Music", "Key": {"p": {"S": "a"}}, "ConsistentRead": consistent},
            )
            assert (status, answer) == (200, {"Item": {"p": {"S": "a"}}})

    tell(story)


def test_write_lost_with_its_stream_takes_effect_once() -> None:
    """The leader applied it and died before answering: the new one knows the request id."""

    async def story(world: World) -> None:
        leader, heir = world.nodes[0], world.nodes[1]
        leader.break_after_write = True
        putting = asyncio.gather(world.put("a"))
        while not leader.applied:
            await asyncio.sleep(0.005)
        world.lead(heir.node_id, term=2)

        assert await putting == [(200, {})]
        assert leader.applied + heir.applied == 1
        ids = [
            request_id
            for node in (leader, heir)
            for batch in node.batches
            for request_id in batch.writes.request_ids
        ]
        assert len(ids) >= 2
        assert len(set(ids)) == 1

    tell(story)


def test_write_whose_leader_hangs_is_an_unknown_outcome() -> None:
    async def story(world: World) -> None:
        world.nodes[0].silent = True

        status, answer = await world.put("a")

        assert status == 500
        assert answer["__type"] == "com.amazonaws.dynamodb.v20120810#InternalServerError"
        assert "unknown" in str(answer["message"])

    tell(story)


def test_write_whose_leader_hangs_goes_to_the_new_leader() -> None:
    async def story(world: World) -> None:
        world.nodes[0].silent = True
        putting = asyncio.gather(world.put("a"))
        while not world.nodes[0].batches[-1].writes.slots:
            await asyncio.sleep(0.005)

        world.nodes[1].hint(1, 2, 2)

        assert await putting == [(200, {})]

    tell(story)


def test_partition_without_a_leader_is_unavailable_and_surely_unchanged() -> None:
    async def story(world: World) -> None:
        world.lead(0, term=2)

        status, answer = await world.put("a")

        assert status == 503
        assert str(answer["__type"]).endswith("#ServiceUnavailable")
        assert not world.items

    tell(story)


def test_one_hung_node_delays_no_other() -> None:
    async def story(world: World) -> None:
        by_leader = {
            partition.replicas[0]: partition.id
            for partition in world.router.view.catalog.partitions
        }
        assert len(by_leader) == 3
        world.nodes[0].silent = True
        loop = asyncio.get_running_loop()

        outcomes = await asyncio.gather(*(world.put(f"k{number}") for number in range(30)))

        # What left in the hung batch is unknown; what waited behind it surely was not proposed.
        statuses = [status for status, _ in outcomes]
        assert set(statuses) <= {200, 500, 503}
        assert statuses.count(200) == len(world.items) > 10
        started = loop.time()
        status, _, _ = await world.http(
            "BatchGetItem",
            {"RequestItems": {"Music": {"Keys": [{"p": {"S": f"k{n}"}} for n in range(30)]}}},
        )
        assert status == 200
        assert loop.time() - started < TIMEOUT_MS / 1000, "eventual reads go round a hung node"

    tell(story, partitions=3)


def test_requests_of_one_turn_leave_in_one_message() -> None:
    async def story(world: World) -> None:
        await asyncio.gather(*(world.put(f"k{number}") for number in range(50)))

        batches = [batch for batch in world.nodes[0].batches if batch.writes.slots]
        assert sum(len(batch.writes.slots) for batch in batches) == 50
        assert len(batches) < 50

    tell(story)


def test_retry_of_the_same_sdk_call_is_the_same_request() -> None:
    async def story(world: World) -> None:
        header = b"amz-sdk-invocation-id: 3b1f8a52-7d1e-4c55-9b0c-0d9f2b7c1e11\r\n"
        for _ in range(2):
            await world.http("PutItem", {"TableName": "Music", "Item": {"p": {"S": "a"}}}, header)

        ids = [i for batch in world.nodes[0].batches for i in batch.writes.request_ids]
        assert ids == [ids[0]] * 2
        assert world.nodes[0].applied == 1

    tell(story)


def test_request_id_used_for_two_items_is_two_writes() -> None:
    """Some clients send a fixed id: they must not lose writes without a word."""

    async def story(world: World) -> None:
        header = b"amz-sdk-invocation-id: 3b1f8a52-7d1e-4c55-9b0c-0d9f2b7c1e11\r\n"
        for key in ("a", "b"):
            await world.http("PutItem", {"TableName": "Music", "Item": {"p": {"S": key}}}, header)

        assert world.nodes[0].applied == 2

    tell(story)


def test_batch_gives_back_what_surely_was_not_written() -> None:
    async def story(world: World) -> None:
        catalog = world.router.view.catalog
        world.lead(0, term=2, partition=catalog.partitions[0].id)
        requests = [{"PutRequest": {"Item": {"p": {"S": f"k{number}"}}}} for number in range(25)]

        status, _, answer = await world.http(
            "BatchWriteItem", {"RequestItems": {"Music": requests}}
        )

        assert status == 200
        unprocessed = answer["UnprocessedItems"]["Music"]  # type: ignore[index]
        assert 0 < len(unprocessed) < 25
        assert len(world.items) == 25 - len(unprocessed)

    tell(story, partitions=3)


def test_batch_with_a_write_of_unknown_outcome_fails_as_a_whole() -> None:
    """Reporting it as unprocessed would say that it was not written."""

    async def story(world: World) -> None:
        world.nodes[0].silent = True
        requests = [{"PutRequest": {"Item": {"p": {"S": f"k{number}"}}}} for number in range(25)]

        status, _, _ = await world.http("BatchWriteItem", {"RequestItems": {"Music": requests}})

        assert status == 500

    tell(story, partitions=3)


def test_scan_walks_the_ring_and_pages_meet_without_gap_or_overlap() -> None:
    async def story(world: World) -> None:
        await asyncio.gather(*(world.put(f"k{number}") for number in range(60)))
        found: list[str] = []
        request: dict[str, object] = {"TableName": "Music", "Limit": 7}
        while True:
            _, _, answer = await world.http("Scan", request)
            found += [item["p"]["S"] for item in answer["Items"]]  # type: ignore[attr-defined]
            if "LastEvaluatedKey" not in answer:
                break
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

        assert sorted(found) == sorted(f"k{number}" for number in range(60))

    tell(story, partitions=5)


def test_more_range_reads_than_may_be_outstanding_take_turns() -> None:
    async def story(world: World) -> None:
        await asyncio.gather(*(world.put(f"k{number}") for number in range(10)))

        answers = await asyncio.gather(
            *(world.http("Scan", {"TableName": "Music"}) for _ in range(3 * RANGES_OUTSTANDING_MAX))
        )

        assert {answer["Count"] for _, _, answer in answers} == {10}
        assert max(len(batch.ranges) for batch in world.nodes[0].batches) <= RANGES_OUTSTANDING_MAX

    tell(story)


def test_stream_to_a_node_that_was_away_is_opened_again() -> None:
    async def story(world: World) -> None:
        node = world.nodes[0]
        port = int(world.router.view.catalog.node_by_id[1].address.rpartition(":")[2])
        await node.stop()
        while world.router.is_ready:
            await asyncio.sleep(0.005)

        await node.start(port)
        while not world.router.is_ready:
            await asyncio.sleep(0.005)

        assert (await world.put("a"))[0] == 200

    tell(story)


def test_query_reads_its_one_partition() -> None:
    async def story(world: World) -> None:
        await asyncio.gather(*(world.put(f"k{number}") for number in range(10)))

        _, _, answer = await world.http(
            "Query",
            {
                "TableName": "Music",
                "KeyConditionExpression": "p = :p",
                "ExpressionAttributeValues": {":p": {"S": "k3"}},
            },
        )

        assert answer["Items"] == [{"p": {"S": "k3"}}]
        assert answer["Count"] == 1

    tell(story, partitions=3)


def test_table_made_elsewhere_is_found_at_the_first_question() -> None:
    async def story(world: World) -> None:
        known = world.router.view.catalog
        record = TableRecord(id=2, name="Films", definition=DEFINITION)
        newer = replace(known, epoch=2, tables=(*known.tables, record))
        world.nodes[2].catalog = newer  # and its watchers are not told

        status, _, answer = await world.http(
            "PutItem", {"TableName": "Films", "Item": {"p": {"S": "a"}}}
        )

        assert (status, answer) == (200, {})

    tell(story)


def test_unknown_table_is_not_found_after_the_nodes_were_asked() -> None:
    async def story(world: World) -> None:
        status, _, answer = await world.http(
            "PutItem", {"TableName": "Nothing", "Item": {"p": {"S": "a"}}}
        )

        assert status == 400
        assert answer["__type"] == "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException"

    tell(story)


def test_create_table_answers_when_its_own_catalog_has_the_table() -> None:
    async def story(world: World) -> None:
        known = world.router.view.catalog
        record = TableRecord(id=2, name="Films", definition=DEFINITION)
        newer = replace(known, epoch=2, tables=(*known.tables, record))

        async def publish_soon() -> None:
            while not any(node.commands for node in world.nodes):
                await asyncio.sleep(0.005)
            for node in world.nodes:
                node.publish(newer)

        for node in world.nodes:
            node.catalog = replace(known, epoch=2)  # what ChangeCatalog answers
        (status, _, answer), _ = await asyncio.gather(
            world.http(
                "CreateTable",
                {
                    "TableName": "Films",
                    "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}],
                    "AttributeDefinitions": [{"AttributeName": "p", "AttributeType": "S"}],
                    "BillingMode": "PAY_PER_REQUEST",
                },
            ),
            publish_soon(),
        )

        assert status == 200
        assert answer["TableDescription"]["TableStatus"] == "CREATING"  # type: ignore[index]

    tell(story)


def test_describe_table_counts_each_partition_once() -> None:
    async def story(world: World) -> None:
        await asyncio.gather(*(world.put(f"k{number}") for number in range(5)))

        _, _, answer = await world.http("DescribeTable", {"TableName": "Music"})

        table = answer["Table"]
        assert table["TableStatus"] == "ACTIVE"  # type: ignore[index]
        assert table["ItemCount"] == 5  # type: ignore[index]

    tell(story)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "SerializationException"),
        (b"}}}", "SerializationException"),
        (b'{"TableName": NaN}', "SerializationException"),
        (b'{"TableName": "\xff"}', "SerializationException"),
        (b'{"TableName": "\\ud800"}', "SerializationException"),
        (b'{"":' * 200_000, "SerializationException"),
        (b"[]", "SerializationException"),
        (b"{}", "ValidationException"),
        (b'{"TableName":"Music","Item":{}}', "ValidationException"),
    ],
)
def test_body_that_is_no_request_is_the_clients_fault(raw: bytes, code: str) -> None:
    async def story(world: World) -> None:
        status, _, answer = await world.http("PutItem", None, raw=raw)

        assert status == 400
        assert str(answer["__type"]).endswith("#" + code)

    tell(story)


def test_unknown_operation_is_refused_by_name() -> None:
    async def story(world: World) -> None:
        status, _, answer = await world.http("SearchVectors", {})

        assert status == 400
        assert answer["__type"] == "com.amazon.coral.service#UnknownOperationException"

    tell(story)


async def refused(world: World, target: bytes, body: bytes) -> tuple[str, object]:
    """Send a body for a target; return the error's name and what it says."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.router.http_port)
    writer.write(
        b"POST / HTTP/1.1\r\nContent-Type: application/x-amz-json-1.0\r\nConnection: close\r\n"
        b"%bContent-Length: %d\r\n\r\n%b" % (target, len(body), body)
    )
    answer = orjson.loads((await reader.read()).partition(b"\r\n\r\n")[2])
    writer.close()
    return answer["__type"].partition("#")[2], answer.get("message")


@pytest.mark.parametrize(
    "target",
    [
        b"",
        b"X-Amz-Target: DynamoDB_20120810.NoSuchThing\r\n",
        b"X-Amz-Target: DynamoDB_20120810.PutItem\r\n",
        b"X-Amz-Target: DynamoDBStreams_20120810.ListStreams\r\n",
        b"X-Amz-Target: Other_20120810.PutItem\r\n",
    ],
)
def test_json_comes_before_the_operation(target: bytes) -> None:
    async def story(world: World) -> None:
        error, _ = await refused(world, target, b"hi")
        assert error == "SerializationException"

    tell(story)


@pytest.mark.parametrize("operation", sorted(STREAM_OPERATIONS))
def test_operation_of_streams_is_refused_by_name(operation: str) -> None:
    async def story(world: World) -> None:
        name = operation.encode()
        target = b"X-Amz-Target: DynamoDBStreams_20120810.%b\r\n" % name
        assert await refused(world, target, b"{}") == (
            "UnknownOperationException",
            f"{operation} is not supported by this server.",
        )
        for other in (b"DynamoDBStreams_20120810.PutItem", b"DynamoDB_20120810.%b" % name):
            target = b"X-Amz-Target: %b\r\n" % other
            assert await refused(world, target, b"{}") == ("UnknownOperationException", None)

    tell(story)


async def read_page(world: World, path: bytes) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.router.admin_port)
    writer.write(b"GET %b HTTP/1.1\r\nConnection: close\r\n\r\n" % path)
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head[9:12]), body


def test_admin_face_shows_metrics_readiness_and_status() -> None:
    async def story(world: World) -> None:
        await world.put("a")

        assert await read_page(world, b"/health") == (200, b"ok\n")
        assert await read_page(world, b"/ready") == (200, b"ready\n")
        _, metrics = await read_page(world, b"/metrics")
        assert b'code="OK",name="r1",operation="PutItem",outcome="ok"} 1.0' in metrics
        assert b'quorate_router_catalog_epoch{az="az-a",cluster="' in metrics
        _, status = await read_page(world, b"/status")
        document = orjson.loads(status)
        assert document["partitions"][0]["leader"] == "a1"
        assert [node["healthy"] for node in document["nodes"]] == [True, True, True]
        assert document["tables"][0]["item_count"] == 1
        assert (await read_page(world, b"/nothing"))[0] == 404

        world.lead(0, term=2)
        while (await read_page(world, b"/ready"))[0] == 200:
            await asyncio.sleep(0.01)
        assert await read_page(world, b"/ready") == (503, b"no leader known for partitions 1\n")
        assert await read_page(world, b"/serving") == (200, b"serving\n")

    tell(story)


def test_router_without_leaders_lets_clients_in_after_a_while_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a start-up probe asks: all that has a leader, or needs none, is to be served."""
    monkeypatch.setattr("router.process.START_SECONDS_MAX", 0.3)

    async def story(world: World) -> None:
        world.lead(0, term=2)
        late = World(RouterProcess(world.router.options), world.nodes, world.items)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(late.router.run())
            while not late.router.admin_port:
                await asyncio.sleep(0.001)
            before = await read_page(late, b"/serving")
            await late.router.listening.wait()
            assert before == (503, b"not listening yet\n")
            assert await read_page(late, b"/serving") == (200, b"serving\n")
            assert (await read_page(late, b"/ready"))[0] == 503
            late.router.stop_wanted.set()

    tell(story)


def test_typed_grpc_calls_do_the_same() -> None:
    async def story(world: World) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{world.router.grpc_port}") as channel:
            stub = QuorateServiceStub(channel)
            put = api_pb2.PutItemRequest(table_name="Music")
            put.item["p"].s = "a"
            put.item["data"].b = b"\x00\xff"
            await stub.PutItem(put, metadata=(("x-quorate-request-id", "0f" * 16),))
            get = api_pb2.GetItemRequest(table_name="Music", consistent_read=True)
            get.key["p"].s = "a"
            answer = await stub.GetItem(get)

            assert answer.found
            assert answer.item["data"].b == b"\x00\xff"
            ids = [i for batch in world.nodes[0].batches for i in batch.writes.request_ids]
            writes = [batch.writes for batch in world.nodes[0].batches]
            asked = [
                each for w in writes for each in zip(w.keys, w.images, w.programs, strict=True)
            ]
            assert ids == [write_id(b"\x0f" * 16, *each) for each in asked]

    tell(story)


def test_grpc_error_has_the_dynamodb_code_as_its_reason() -> None:
    async def story(world: World) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{world.router.grpc_port}") as channel:
            world.nodes[0].outcome = node_pb2.OUTCOME_CONDITION_FAILED
            put = api_pb2.PutItemRequest(table_name="Music")
            put.item["p"].s = "a"
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await QuorateServiceStub(channel).PutItem(put)

        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        (raw,) = [value for key, value in caught.value.trailing_metadata() if key == DETAILS_KEY]
        status = status_pb2.Status.FromString(raw)
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert (info.reason, info.domain) == ("ConditionalCheckFailedException", "quorate")

    tell(story)


def test_pipeline_answers_many_calls_in_few_messages() -> None:
    async def story(world: World) -> None:
        count = 300
        async with grpc.aio.insecure_channel(f"127.0.0.1:{world.router.grpc_port}") as channel:
            call = QuorateServiceStub(channel).Pipeline()
            bodies = [
                orjson.dumps({"TableName": "Music", "Item": {"p": {"S": f"k{number}"}}})
                for number in range(count)
            ]
            await call.write(
                api_pb2.PipelineRequest(
                    id=range(count),
                    operation=["PutItem"] * (count - 1) + ["Nonsense"],
                    body=bodies,
                    request_id=[number.to_bytes(16, "big") for number in range(count)],
                    deadline_ms=[0] * count,
                )
            )
            await call.done_writing()
            answers = [message async for message in call]

        statuses = {
            call_id: status
            for message in answers
            for call_id, status in zip(message.id, message.http_status, strict=True)
        }
        assert statuses == dict.fromkeys(range(count - 1), 200) | {count - 1: 400}
        assert len(answers) < 10
        assert len(world.items) == count - 1

    tell(story)


def test_stopping_router_answers_what_it_has_taken() -> None:
    async def story(world: World) -> None:
        leader = world.nodes[0]
        leader.silent = True
        async with grpc.aio.insecure_channel(f"127.0.0.1:{world.router.grpc_port}") as channel:
            call = QuorateServiceStub(channel).Pipeline()
            body = orjson.dumps({"TableName": "Music", "Item": {"p": {"S": "a"}}})
            await call.write(
                api_pb2.PipelineRequest(
                    id=[1], operation=["PutItem"], body=[body], request_id=[b""], deadline_ms=[0]
                )
            )
            putting = asyncio.gather(world.put("b"))
            while world.router.dispatch.pending_count < 2:
                await asyncio.sleep(0.005)

            world.router.stop_wanted.set()
            await asyncio.sleep(0.05)
            leader.silent = False
            world.lead(2, term=2)

            assert await putting == [(200, {})]
            (answer,) = [message async for message in call]
            assert list(answer.http_status) == [200]

    tell(story)


WRONG_REQUESTS: list[tuple[str, dict[str, object]]] = [
    ("PutItem", {"Item": {"p": {"S": "a"}, "v": {"S": "v" * (400 << 10)}}}),
    ("PutItem", {"Item": {"v": {"S": "a"}}}),
    ("PutItem", {"Item": {"p": {"N": "1"}}}),
    ("PutItem", {"Item": {"p": {"S": ""}}}),
    ("PutItem", {"Item": {"p": {"S": "a"}}, "ConditionExpression": "foo("}),
    ("DeleteItem", {"Key": {"p": {"S": "a"}, "q": {"S": "a"}}}),
    (
        "UpdateItem",
        {
            "Key": {"p": {"S": "a"}},
            "UpdateExpression": "SET p = :v",
            "ExpressionAttributeValues": {":v": {"S": "b"}},
        },
    ),
    ("GetItem", {"Key": {"p": {"N": "1"}}, "ConsistentRead": True}),
    ("Query", {"KeyConditionExpression": "foo("}),
    ("Scan", {"FilterExpression": "foo("}),
]


def test_table_without_capacity_still_tells_what_is_wrong_with_a_request() -> None:
    """SDKs send what was throttled again; what is wrong by itself they must not."""

    async def story(world: World) -> None:
        key = {"p": {"S": "a"}}
        good: dict[str, dict[str, object]] = {
            "PutItem": {"Item": key},
            "DeleteItem": {"Key": key},
            "UpdateItem": {"Key": key},
            "GetItem": {"Key": key, "ConsistentRead": True},
            "Query": {
                "KeyConditionExpression": "p = :p",
                "ExpressionAttributeValues": {":p": {"S": "a"}},
                "ConsistentRead": True,
            },
            "Scan": {"ConsistentRead": True},
        }
        status, answer = await world.put("a")
        assert status == 200, "a router spends a second's units before it has asked"
        status, _, _ = await world.http("GetItem", {"TableName": "Music", **good["GetItem"]})
        assert status == 200
        for operation, body in good.items():
            _, _, answer = await world.http(operation, {"TableName": "Music", **body})
            assert str(answer["__type"]).endswith("#ProvisionedThroughputExceededException")
        for operation, body in WRONG_REQUESTS:
            _, _, answer = await world.http(operation, {"TableName": "Music", **body})
            assert str(answer["__type"]).endswith("#ValidationException"), (operation, answer)

    tell(story, definition=SCANT)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"http": "0.0.0.0:0"}, "--insecure"),
        ({"grpc": "example.com:0"}, "--insecure"),
        ({"http": "nonsense"}, "host:port"),
        ({"admin": "127.0.0.1:99999"}, "port"),
        ({"nodes": ()}, "node"),
    ],
)
def test_options_that_cannot_be_served_are_refused(changed: dict[str, object], reason: str) -> None:
    options = RouterOptions(
        name="r1",
        az="az-a",
        http="127.0.0.1:0",
        grpc="127.0.0.1:0",
        admin="127.0.0.1:0",
        cluster_id=CLUSTER_ID,
        nodes=("127.0.0.1:1",),
    )

    async def start() -> None:
        with pytest.raises(Refused, match=reason):
            RouterProcess(replace(options, **changed))  # type: ignore[arg-type]

    run(start())
