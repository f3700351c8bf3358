"""Large requests are prepared beside the loop: one at a time, and each network in its turn."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from model.errors import ValidationError
from router import large_requests
from router.large_requests import (
    LARGE_BYTES,
    WAITING_BYTES_PER_NETWORK_MAX,
    LargeRequests,
    Outcome,
    take_apart,
)
from tests.router.cluster import SCANT
from tests.router.loops import run
from tests.router.world import World, tell


class Bench:
    """A thread, and the outcomes in the order in which they came."""

    def __init__(self) -> None:
        self.requests = LargeRequests()
        self.outcomes: list[Outcome] = []
        self.may_go_on = threading.Event()

    def put(self, network: str, work: Callable[[], Any], size_bytes: int = 1) -> bool:
        return self.requests.put(network, size_bytes, work, self.outcomes.append)

    def hold(self) -> None:
        """Keep the thread busy until told."""
        assert self.put("holder", self.may_go_on.wait)

    async def have(self, count: int) -> list[Outcome]:
        while len(self.outcomes) < count:
            await asyncio.sleep(0)
        return self.outcomes


@pytest.fixture(autouse=True)
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_requests, "REST_SECONDS_MIN", float("inf"))


def test_outcome_comes_on_the_loop_and_the_work_is_done_elsewhere() -> None:
    async def story() -> None:
        bench = Bench()
        bench.put("a", threading.get_ident)
        (outcome,) = await bench.have(1)
        assert outcome.result != threading.get_ident()
        assert gc.isenabled()

    run(story())


def test_refusal_keeps_nothing_of_what_was_refused() -> None:
    def refuse() -> None:
        try:
            raise KeyError
        except KeyError:
            raise ValidationError("no") from None

    async def story() -> None:
        bench = Bench()
        bench.put("a", refuse)
        bench.put("a", lambda: 1 / 0)
        refused, bug = await bench.have(2)
        assert isinstance(refused.error, ValidationError)
        assert refused.error.__traceback__ is refused.error.__context__ is None
        assert isinstance(bug.error, ZeroDivisionError)
        assert bug.error.__traceback__ is not None, "where the bug is"

    run(story())


def test_networks_have_their_turns() -> None:
    async def story() -> None:
        bench = Bench()
        bench.hold()
        for number in range(3):
            bench.put("greedy", partial(str, number))
        bench.put("other", lambda: "other")
        bench.may_go_on.set()
        done = [outcome.result for outcome in await bench.have(5)]
        assert done[1:3] == ["0", "other"]

    run(story())


def test_what_waits_is_bounded_for_each_network() -> None:
    async def story() -> None:
        bench = Bench()
        bench.hold()
        assert bench.put("a", int, WAITING_BYTES_PER_NETWORK_MAX * 2), "whatever its size"
        assert not bench.put("a", int)
        assert bench.put("b", int)
        bench.may_go_on.set()
        await bench.have(3)
        assert bench.put("a", int)

    run(story())


def test_nothing_comes_of_what_was_dropped() -> None:
    async def story() -> None:
        bench = Bench()
        bench.hold()
        bench.put("a", int)
        bench.requests.drop_all()
        bench.may_go_on.set()
        bench.put("a", lambda: "later")
        outcomes = await bench.have(2)
        assert outcomes[1].result == "later"

    run(story())


def test_thread_rests_for_as_long_as_it_worked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_requests, "REST_SECONDS_MIN", 0.0)
    clock = SimpleNamespace(monotonic=iter([0.0, 0.03, 0.0, 0.0]).__next__)
    monkeypatch.setattr(large_requests, "time", clock)

    async def story() -> None:
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        bench = Bench()
        bench.put("a", int)
        bench.put("a", loop.time)
        _, second = await bench.have(2)
        assert second.result - began_at >= 0.029

    run(story())


def test_value_is_emptied_from_within() -> None:
    inner: dict[str, object] = {"N": "1"}
    value = {"L": [inner, [inner]], "S": "text"}
    take_apart(value)
    assert value == inner == {}


LARGE = {"p": {"S": "k"}, "n": {"N": "1.50"}, "v": {"S": "x" * LARGE_BYTES}}


def test_large_put_is_what_a_small_one_is() -> None:
    async def story(world: World) -> None:
        status, _, answer = await world.http("PutItem", {"TableName": "Music", "Item": LARGE})
        assert (status, answer) == (200, {})
        (image,) = world.items.values()
        assert orjson.loads(image[12:]) == LARGE | {"n": {"N": "1.5"}}

    tell(story)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"TableName":"Music","Item":{},"x":"' + b"x" * LARGE_BYTES + b'"}', "Validation"),
        (b'{"TableName":"Nosuch","Item":' + orjson.dumps(LARGE) + b"}", "ResourceNotFound"),
        (b'{"a":1,"a":"' + b"x" * LARGE_BYTES + b'"}', "Serialization"),
        (b'{"a":"' + b"x" * LARGE_BYTES, "Serialization"),
    ],
)
def test_large_request_is_refused_as_a_small_one_is(body: bytes, kind: str) -> None:
    async def story(world: World) -> None:
        status, _, answer = await world.http("PutItem", None, raw=body)
        assert status == 400
        assert kind in str(answer["__type"])

    tell(story)


def test_unprocessed_items_of_a_large_batch_are_what_was_sent() -> None:
    """A table with next to no capacity."""

    async def story(world: World) -> None:
        items = [LARGE | {"p": {"S": str(number)}} for number in range(3)]
        body = {"RequestItems": {"Music": [{"PutRequest": {"Item": item}} for item in items]}}
        status, _, answer = await world.http("BatchWriteItem", body)
        assert status == 200
        left: Any = answer["UnprocessedItems"]
        assert left, "they have 33 units each"
        sent = {str(item["p"]["S"]): item | {"n": {"N": "1.5"}} for item in items}
        for request in left["Music"]:
            item = request["PutRequest"]["Item"]
            assert item == sent[item["p"]["S"]]

    tell(story, definition=SCANT)
