"""The bookkeeping of open calls, without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from quorate.client.calls import MESSAGE_BYTES_MAX, MESSAGE_CALLS_MAX, Call, Calls


def in_loop(story: Callable[[], None]) -> None:
    """Run a story that only needs futures to belong to some loop."""

    async def run() -> None:
        story()

    asyncio.run(run())


def call(deadline: float = 10.0, body: bytes = b"{}") -> Call:
    made = Call("PutItem", body, b"r" * 16, deadline)
    made.future = asyncio.get_running_loop().create_future()
    return made


def test_calls_leave_in_order_and_only_once() -> None:
    def story() -> None:
        calls, first, second = Calls(10), call(), call()
        calls.add(first)
        calls.add(second)

        assert calls.take_batch() == [first, second]
        assert calls.take_batch() == []
        assert first.sent

    in_loop(story)


def test_a_message_is_bounded_in_calls_and_in_bytes() -> None:
    def story() -> None:
        calls = Calls(5000)
        for _ in range(MESSAGE_CALLS_MAX + 1):
            calls.add(call())
        assert len(calls.take_batch()) == MESSAGE_CALLS_MAX
        assert len(calls.take_batch()) == 1

        for _ in range(3):
            calls.add(call(body=b"x" * (MESSAGE_BYTES_MAX // 2)))
        assert len(calls.take_batch()) == 2
        assert len(calls.take_batch()) == 1

    in_loop(story)


def test_a_large_call_leaves_alone() -> None:
    def story() -> None:
        calls = Calls(10)
        calls.add(call())
        calls.add(call(body=b"x" * (MESSAGE_BYTES_MAX + 1)))
        calls.add(call())

        assert [len(calls.take_batch()) for _ in range(4)] == [1, 1, 1, 0]

    in_loop(story)


def test_an_answer_resolves_its_call_and_a_second_answer_is_ignored() -> None:
    def story() -> None:
        calls, one = Calls(10), call()
        calls.add(one)
        calls.take_batch()

        calls.answer(one.id, 200, b"{}")
        calls.answer(one.id, 500, b"late")

        assert one.future.result() == (200, b"{}")
        assert len(calls) == 0

    in_loop(story)


def test_a_broken_stream_makes_unanswered_calls_doubtful_and_sends_them_again() -> None:
    def story() -> None:
        calls, sent, answered, unsent = Calls(10), call(), call(), call()
        calls.add(sent)
        calls.add(answered)
        calls.take_batch()
        calls.answer(answered.id, 200, b"")
        calls.add(unsent)

        calls.resend_all()

        assert (sent.doubtful, unsent.doubtful) == (True, False)
        assert calls.take_batch() == [sent, unsent]

    in_loop(story)


def test_expiry_resolves_the_late_and_tells_the_next_deadline() -> None:
    def story() -> None:
        calls, early, late = Calls(10), call(deadline=1.0), call(deadline=2.0)
        calls.add(early)
        calls.add(late)

        assert calls.expire(1.0) == 2.0
        assert early.future.result() is None
        assert not late.future.done()
        assert calls.expire(2.0) is None

    in_loop(story)


def test_a_forgotten_call_is_not_sent() -> None:
    def story() -> None:
        calls, one = Calls(1), call()
        calls.add(one)
        assert calls.is_full

        calls.forget(one)

        assert not calls.is_full
        assert calls.take_batch() == []

    in_loop(story)
