"""The client against a router that answers from a dict, over real gRPC on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from quorate.client import (
    Client,
    ConditionalCheckFailed,
    Credentials,
    DeadlineExceeded,
    OutcomeUnknown,
    Put,
    RequestRefused,
    ResourceNotFound,
    Throttled,
    Unreachable,
    ValueRefused,
)
from quorate.local.background import free_ports
from quorate.v1 import api_pb2
from tests.client.fake_router import (
    Answer,
    FakeRouter,
    Received,
    babbling,
    failure,
    run,
    serving,
    succeed,
)


def answering(*answers: Answer | None) -> FakeRouter:
    """Return a router that gives these answers in turn, and success after the last."""
    left = list(answers)
    return FakeRouter(lambda _received: left.pop(0) if left else (200, {}))


@contextmanager
def nobody_there() -> Iterator[str]:
    """Yield an address that is taken, and where nobody listens: all connections are refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def test_client_puts_and_gets_python_values() -> None:
    stored: dict[str, Any] = {}

    def answer(received: Received) -> Answer:
        if received.operation == "PutItem":
            stored.update(received.body["Item"])
            return 200, {}
        return 200, {"Item": stored}

    async def story() -> None:
        async with serving(FakeRouter(answer)) as address, Client(address) as client:
            await client.put_item("t", {"pk": "a", "n": 7})

            assert await client.get_item("t", {"pk": "a"}) == {"pk": "a", "n": 7}

    run(story())


def test_client_gets_none_when_there_is_no_item() -> None:
    async def story() -> None:
        async with serving(answering()) as address, Client(address) as client:
            assert await client.get_item("t", {"pk": "a"}) is None

    run(story())


def test_raw_client_passes_dynamodb_json_through() -> None:
    async def story() -> None:
        router = answering((200, {"Attributes": {"n": {"N": "1"}}}))
        async with serving(router) as address, Client(address, raw=True) as client:
            written = await client.update_item(
                "t",
                {"pk": {"S": "a"}},
                update_expression="ADD n :one",
                expression_attribute_values={":one": {"N": "1"}},
                return_values="UPDATED_NEW",
            )

            assert written.attributes == {"n": {"N": "1"}}
            assert router.received[0].body == {
                "TableName": "t",
                "Key": {"pk": {"S": "a"}},
                "UpdateExpression": "ADD n :one",
                "ExpressionAttributeValues": {":one": {"N": "1"}},
                "ReturnValues": "UPDATED_NEW",
            }

    run(story())


def test_calls_of_one_turn_share_a_message() -> None:
    async def story() -> None:
        router = answering()
        async with serving(router) as address, Client(address) as client:
            await client.wait_connected()

            await asyncio.gather(*(client.put_item("t", {"pk": str(n)}) for n in range(500)))

            assert router.message_sizes == [500]
            assert len({received.request_id for received in router.received}) == 500

    run(story())


def test_failed_condition_brings_the_item_along() -> None:
    async def story() -> None:
        router = answering(
            failure(
                400, "ConditionalCheckFailedException", Item={"pk": {"S": "a"}, "n": {"N": "2"}}
            )
        )
        async with serving(router) as address, Client(address) as client:
            with pytest.raises(ConditionalCheckFailed) as caught:
                await client.put_item(
                    "t", {"pk": "a"}, condition_expression="attribute_not_exists(pk)"
                )

            assert caught.value.item == {"pk": "a", "n": 2}
            assert len(router.received) == 1

    run(story())


def test_a_refused_request_is_not_tried_again() -> None:
    async def story() -> None:
        router = answering(failure(400, "ValidationException", "wrong"))
        async with serving(router) as address, Client(address) as client:
            with pytest.raises(RequestRefused, match="wrong"):
                await client.put_item("t", {"pk": "a"})

            assert len(router.received) == 1

    run(story())


def test_a_missing_table_has_its_own_exception() -> None:
    async def story() -> None:
        router = answering(failure(400, "ResourceNotFoundException"))
        async with serving(router) as address, Client(address) as client:
            with pytest.raises(ResourceNotFound):
                await client.describe_table("t")

    run(story())


def test_every_attempt_of_a_write_carries_the_same_request_id() -> None:
    async def story() -> None:
        router = answering(
            failure(500, "InternalServerError"),
            failure(503, "ServiceUnavailable"),
            failure(400, "ThrottlingException"),
        )
        async with serving(router) as address, Client(address) as client:
            await client.put_item("t", {"pk": "a"})

            ids = [received.request_id for received in router.received]
            assert len(ids) == 4
            assert len(set(ids)) == 1
            assert len(ids[0]) == 16

    run(story())


def test_calls_on_a_broken_stream_are_sent_again_with_their_ids() -> None:
    async def story() -> None:
        router = answering()
        router.break_after_messages = [1]
        async with serving(router) as address, Client(address) as client:
            await asyncio.gather(*(client.put_item("t", {"pk": str(n)}) for n in range(20)))

            ids = [received.request_id for received in router.received]
            assert len(set(ids)) == 20
            assert len(ids) > 20

    run(story())


def test_client_goes_on_when_the_router_is_restarted_elsewhere() -> None:
    async def story() -> None:
        second = f"127.0.0.1:{free_ports(1)[0]}"
        async with serving(answering()) as first:
            client = Client([first, second])
            await client.__aenter__()
            await client.put_item("t", {"pk": "a"})
        try:
            async with serving(answering(), second):
                await client.put_item("t", {"pk": "b"})
        finally:
            await client.close()

    run(story())


def test_an_unanswered_write_is_reported_as_unknown_with_its_id() -> None:
    async def story() -> None:
        router = answering(None)
        async with serving(router) as address, Client(address) as client:
            with pytest.raises(OutcomeUnknown) as caught:
                await client.put_item("t", {"pk": "a"}, deadline_seconds=0.2)

            assert caught.value.request_id == router.received[0].request_id

    run(story())


def test_a_write_that_ends_in_server_errors_is_reported_as_unknown() -> None:
    async def story() -> None:
        router = FakeRouter(lambda _received: failure(500, "InternalServerError"))
        async with serving(router) as address, Client(address) as client:
            with pytest.raises(OutcomeUnknown):
                await client.put_item("t", {"pk": "a"}, deadline_seconds=0.8)

    run(story())


def test_once_unknown_a_write_stays_unknown_when_its_access_key_is_deleted_meanwhile() -> None:
    async def story() -> None:
        refused = failure(400, "UnrecognizedClientException")
        left = [failure(500, "InternalServerError")]
        router = FakeRouter(lambda _received: left.pop() if left else refused)
        async with serving(router) as address, Client(address) as client:
            with pytest.raises(OutcomeUnknown):
                await client.put_item("t", {"pk": "a"})
            with pytest.raises(RequestRefused):
                await client.put_item("t", {"pk": "a"})

    run(story())


def test_once_unknown_a_write_stays_unknown_when_later_attempts_surely_failed() -> None:
    async def story() -> None:
        left = [failure(500, "InternalServerError")]
        router = FakeRouter(
            lambda _received: left.pop() if left else failure(503, "ServiceUnavailable")
        )
        async with serving(router) as address, Client(address) as client:
            with pytest.raises(OutcomeUnknown):
                await client.put_item("t", {"pk": "a"}, deadline_seconds=0.8)

    run(story())


def test_a_write_that_was_surely_never_done_is_not_called_unknown() -> None:
    async def story() -> None:
        router = FakeRouter(lambda _received: failure(503, "ServiceUnavailable", "no leader"))
        async with serving(router) as address, Client(address) as client:
            with pytest.raises(DeadlineExceeded, match="no leader"):
                await client.put_item("t", {"pk": "a"}, deadline_seconds=0.8)

    run(story())


def test_an_unanswered_read_is_not_called_unknown() -> None:
    async def story() -> None:
        async with serving(answering(None)) as address, Client(address) as client:
            with pytest.raises(DeadlineExceeded):
                await client.get_item("t", {"pk": "a"}, deadline_seconds=0.2)

    run(story())


def test_throttling_until_the_deadline_is_reported_as_throttling() -> None:
    async def story() -> None:
        router = FakeRouter(lambda _received: failure(400, "ThrottlingException", "slow down"))
        async with serving(router) as address, Client(address) as client:
            with pytest.raises(Throttled, match="slow down"):
                await client.put_item("t", {"pk": "a"}, deadline_seconds=0.8)

            assert len(router.received) > 1

    run(story())


def test_a_cluster_that_is_not_there_is_unreachable() -> None:
    async def story() -> None:
        with nobody_there() as address:
            async with Client(address) as client:
                with pytest.raises(Unreachable, match=address):
                    await client.put_item("t", {"pk": "a"}, deadline_seconds=0.3)
                with pytest.raises(Unreachable, match=address):
                    await client.wait_connected(0.1)

    run(story())


def test_more_calls_than_may_be_open_wait_their_turn() -> None:
    async def story() -> None:
        router = answering()
        async with serving(router) as address, Client(address, open_calls_max=8) as client:
            await asyncio.gather(*(client.put_item("t", {"pk": str(n)}) for n in range(100)))

            assert len(router.received) == 100
            assert max(router.message_sizes) <= 8

    run(story())


def test_a_call_that_waits_for_its_turn_keeps_its_deadline() -> None:
    async def story() -> None:
        router = FakeRouter(lambda _received: None)
        async with serving(router) as address, Client(address, open_calls_max=1) as client:
            outcomes = await asyncio.gather(
                client.put_item("t", {"pk": "a"}, deadline_seconds=0.5),
                client.put_item("t", {"pk": "b"}, deadline_seconds=0.2),
                return_exceptions=True,
            )

            assert isinstance(outcomes[0], OutcomeUnknown)
            assert isinstance(outcomes[1], DeadlineExceeded)

    run(story())


def test_a_cancelled_call_leaves_the_others_alone() -> None:
    async def story() -> None:
        router = answering(None)
        async with serving(router) as address, Client(address, open_calls_max=1) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await client.put_item("t", {"pk": "a"})

            await client.put_item("t", {"pk": "b"})

    run(story())


def test_closing_ends_open_calls() -> None:
    async def story() -> None:
        arrived = asyncio.Event()
        async with serving(FakeRouter(lambda _received: arrived.set())) as address:
            async with Client(address) as client:
                call = asyncio.get_running_loop().create_task(client.put_item("t", {"pk": "a"}))
                await arrived.wait()
            with pytest.raises(OutcomeUnknown):
                await call

    run(story())


def test_query_items_goes_through_all_pages() -> None:
    pages = [
        (200, {"Items": [{"sk": {"N": "1"}}], "Count": 1, "LastEvaluatedKey": {"sk": {"N": "1"}}}),
        (200, {"Items": [], "Count": 0, "LastEvaluatedKey": {"sk": {"N": "2"}}}),
        (200, {"Items": [{"sk": {"N": "3"}}], "Count": 1}),
    ]

    async def story() -> None:
        router = answering(*pages)
        async with serving(router) as address, Client(address) as client:
            items = [
                item
                async for item in client.query_items(
                    "t",
                    key_condition_expression="pk = :p",
                    expression_attribute_values={":p": "a"},
                )
            ]

            assert items == [{"sk": 1}, {"sk": 3}]
            starts = [received.body.get("ExclusiveStartKey") for received in router.received]
            assert starts == [None, {"sk": {"N": "1"}}, {"sk": {"N": "2"}}]

    run(story())


def test_scan_passes_its_segment_on() -> None:
    async def story() -> None:
        router = answering((200, {"Items": [{"pk": {"S": "a"}}], "Count": 1, "ScannedCount": 2}))
        async with serving(router) as address, Client(address) as client:
            page = await client.scan("t", segment=0, total_segments=4, limit=10)

            assert (page.items, page.count, page.scanned_count) == ([{"pk": "a"}], 1, 2)
            assert router.received[0].body == {
                "TableName": "t",
                "Segment": 0,
                "TotalSegments": 4,
                "Limit": 10,
            }

    run(story())


def test_batch_write_sends_what_was_not_got_to_again() -> None:
    seen: list[str] = []

    def answer(received: Received) -> Answer:
        requests = received.body["RequestItems"]["t"]
        done, left = requests[:10], requests[10:]
        seen.extend(request["PutRequest"]["Item"]["pk"]["S"] for request in done)
        return 200, {"UnprocessedItems": {"t": left} if left else {}}

    async def story() -> None:
        async with serving(FakeRouter(answer)) as address, Client(address) as client:
            count = await client.batch_write("t", puts=[{"pk": str(n)} for n in range(60)])

            assert count == 60
            assert sorted(seen, key=int) == [str(n) for n in range(60)]

    run(story())


def test_batch_write_raises_the_error_itself_and_not_a_group() -> None:
    async def story() -> None:
        router = FakeRouter(lambda _received: failure(400, "ValidationException", "too large"))
        async with serving(router) as address, Client(address) as client:
            with pytest.raises(RequestRefused, match="too large"):
                await client.batch_write("t", puts=[{"pk": str(n)} for n in range(60)])

    run(story())


def test_batch_get_collects_what_comes_late() -> None:
    def answer(received: Received) -> Answer:
        keys = received.body["RequestItems"]["t"]["Keys"]
        return 200, {
            "Responses": {"t": keys[:30]},
            "UnprocessedKeys": {"t": {"Keys": keys[30:]}} if keys[30:] else {},
        }

    async def story() -> None:
        async with serving(FakeRouter(answer)) as address, Client(address) as client:
            items = await client.batch_get("t", [{"pk": n} for n in range(150)])

            assert sorted(item["pk"] for item in items) == list(range(150))

    run(story())


def test_batch_write_item_returns_what_was_not_got_to() -> None:
    async def story() -> None:
        left = {"t": [{"PutRequest": {"Item": {"pk": {"S": "b"}}}}]}
        router = answering((200, {"UnprocessedItems": left}))
        async with serving(router) as address, Client(address) as client:
            written = await client.batch_write_item({"t": [Put({"pk": "a"}), Put({"pk": "b"})]})

            assert written.unprocessed == {"t": [Put({"pk": "b"})]}

    run(story())


def test_table_operations_speak_dynamodbs_shape() -> None:
    def answer(received: Received) -> Answer:
        if received.operation == "ListTables":
            if "ExclusiveStartTableName" in received.body:
                return 200, {"TableNames": ["b"]}
            return 200, {"TableNames": ["a"], "LastEvaluatedTableName": "a"}
        return 200, {"TableDescription": {"TableName": "t"}, "Table": {"TableName": "t"}}

    async def story() -> None:
        router = FakeRouter(answer)
        async with serving(router) as address, Client(address) as client:
            await client.create_table("t", partition_key=("pk", "S"), sort_key=("sk", "N"))
            await client.create_table("u", partition_key=("pk", "S"), write_capacity_units=5)
            names = [name async for name in client.table_names()]
            await client.delete_table("t")

            assert names == ["a", "b"]
            assert router.received[0].body == {
                "TableName": "t",
                "KeySchema": [
                    {"AttributeName": "pk", "KeyType": "HASH"},
                    {"AttributeName": "sk", "KeyType": "RANGE"},
                ],
                "AttributeDefinitions": [
                    {"AttributeName": "pk", "AttributeType": "S"},
                    {"AttributeName": "sk", "AttributeType": "N"},
                ],
                "BillingMode": "PAY_PER_REQUEST",
            }
            assert router.received[1].body["BillingMode"] == "PROVISIONED"

    run(story())


def test_an_endpoint_is_needed() -> None:
    with pytest.raises(ValueRefused, match="endpoint"):
        Client(" , ")


def test_success_needs_no_answer_body_to_be_read() -> None:
    async def story() -> None:
        async with serving(FakeRouter(succeed)) as address, Client(address) as client:
            written = await client.delete_item("t", {"pk": "a"})

            assert (written.attributes, written.consumed_capacity) == (None, None)

    run(story())


def test_a_request_that_no_router_takes_is_refused_here() -> None:
    """Sent, it would break the stream for all other calls, again and again."""

    async def story() -> None:
        router = answering()
        async with serving(router) as address, Client(address) as client:
            with pytest.raises(RequestRefused, match="bytes"):
                await client.put_item("t", {"pk": "a", "huge": "x" * (17 << 20)})

            assert router.received == []

    run(story())


def test_an_endless_deadline_is_possible() -> None:
    async def story() -> None:
        router = answering()
        async with serving(router) as address, Client(address) as client:
            await client.put_item("t", {"pk": "a"}, deadline_seconds=1e12)

            assert router.received[0].deadline_ms == 3_600_000

    run(story())


def test_a_write_is_taken_up_again_under_its_request_id() -> None:
    async def story() -> None:
        router = answering(None)
        async with serving(router) as address, Client(address) as client:
            with pytest.raises(OutcomeUnknown) as caught:
                await client.put_item("t", {"pk": "a"}, deadline_seconds=0.2)
            await client.put_item("t", {"pk": "a"}, request_id=caught.value.request_id)

            assert router.received[0].request_id == router.received[1].request_id
            with pytest.raises(ValueRefused, match="16 bytes"):
                await client.put_item("t", {"pk": "a"}, request_id=b"short")

    run(story())


def test_a_closed_client_answers_at_once() -> None:
    async def story() -> None:
        async with serving(answering()) as address:
            async with Client(address) as client:
                await client.put_item("t", {"pk": "a"})
            with pytest.raises(Unreachable):
                await client.put_item("t", {"pk": "b"})

    run(story())


def test_a_failure_of_the_client_itself_is_said_at_once() -> None:
    class Broken(Credentials):
        def metadata(self, *_given: object, **_named: object) -> tuple[tuple[str, str], ...]:
            raise RuntimeError("no clock")

    async def story() -> None:
        async with (
            serving(answering()) as address,
            Client(address, credentials=Broken("a", "b")) as client,
        ):
            for _ in range(2):
                with pytest.raises(Unreachable, match=r"the client has failed: .*no clock"):
                    await client.put_item("t", {"pk": "a"}, deadline_seconds=float("inf"))

    run(story())


def test_bytes_that_are_no_answer_are_as_a_broken_stream() -> None:
    """Whatever sent them: the call is sent again, and nothing is logged with a traceback."""

    async def story() -> None:
        router = answering()
        columns = api_pb2.PipelineResponse(id=[1, 2], http_status=[200])
        nonsense = (b"\x0a\x50abc", b"\xff" * 20, columns.SerializeToString())
        async with serving(babbling(*nonsense, then=router)) as address, Client(address) as client:
            await client.put_item("t", {"pk": "a"})

            assert len(router.received) == 1

    run(story())
