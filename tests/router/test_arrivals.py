"""Messages over gRPC have places, for some time, and a network a share of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine

import pytest

from model.errors import SerializationFailed, Throttled
from router import arrivals
from router.arrivals import COMING_MAX, COMING_PER_NETWORK_MAX, Arrivals
from tests.router.loops import run


async def comes(*messages: bytes, after: asyncio.Event | None = None) -> AsyncIterator[bytes]:
    if after is not None:
        await after.wait()
    for message in messages:
        yield message


def begun(call: Coroutine[object, object, bytes]) -> asyncio.Task[bytes]:
    return asyncio.get_running_loop().create_task(call)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_message_that_is_there_is_returned() -> None:
    async def story() -> None:
        assert await Arrivals().receive("a", comes(b"one", b"two")) == b"one"

    run(story())


def test_call_without_a_message_is_refused() -> None:
    async def story() -> None:
        with pytest.raises(SerializationFailed):
            await Arrivals().receive("a", comes())

    run(story())


def test_message_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "MESSAGE_SECONDS_MAX", 0.01)

    async def story() -> None:
        with pytest.raises(Throttled):
            await Arrivals().receive("a", comes(after=asyncio.Event()))

    run(story())


@pytest.mark.parametrize(
    ("networks", "free"),
    [
        (["a"] * COMING_PER_NETWORK_MAX, "b"),
        ([f"n{number % 16}" for number in range(COMING_MAX - 1)], "b"),
    ],
)
def test_others_have_their_places_while_a_networks_messages_do_not_come(
    networks: list[str], free: str
) -> None:
    async def story() -> None:
        gate = Arrivals()
        slow = [begun(gate.receive(network, comes(after=asyncio.Event()))) for network in networks]
        await turns()
        assert await gate.receive(free, comes(b"quick")) == b"quick"
        for task in slow:
            task.cancel()

    run(story())


def test_message_of_a_network_that_has_its_share_waits_for_one_to_come() -> None:
    async def story() -> None:
        gate, here = Arrivals(), asyncio.Event()
        coming = [
            begun(gate.receive("a", comes(b"slow", after=here)))
            for _ in range(COMING_PER_NETWORK_MAX)
        ]
        await turns()
        last = begun(gate.receive("a", comes(b"last")))
        await turns()
        assert not last.done()

        here.set()
        assert await last == b"last"
        assert set(await asyncio.gather(*coming)) == {b"slow"}

    run(story())


def test_those_that_take_their_time_give_their_places_to_those_that_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arrivals, "PATIENCE_SECONDS", 0.0)

    async def story() -> None:
        gate = Arrivals()
        slow = [
            begun(gate.receive("a", comes(after=asyncio.Event())))
            for _ in range(COMING_PER_NETWORK_MAX)
        ]
        await turns()
        assert await gate.receive("a", comes(b"quick")) == b"quick"

        ended = [task for task in slow if task.done()]
        assert len(ended) == 1
        with pytest.raises(Throttled):
            await ended[0]
        for task in slow:
            task.cancel()

    run(story())


def test_calls_that_leave_while_they_wait_leave_nothing() -> None:
    async def story() -> None:
        gate = Arrivals()
        tasks = [
            begun(gate.receive("a", comes(after=asyncio.Event())))
            for _ in range(2 * COMING_PER_NETWORK_MAX)
        ]
        await turns()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

        quick = [gate.receive("a", comes(b"quick")) for _ in range(COMING_PER_NETWORK_MAX)]
        assert len(await asyncio.gather(*quick)) == COMING_PER_NETWORK_MAX

    run(story())
