"""Calls run in slices, in order, after what has arrived was read; the delay closes the door."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from quorate.http.exchange import Exchange
from router.run_queue import AVERAGED, DELAY_SECONDS_MAX, SLICE_SECONDS, RunQueue


class Loop:
    """A loop and its clock: runs what it was given, one pass at a time."""

    def __init__(self, seconds_each: float = 0.0) -> None:
        self.now = 10.0
        self.soon: list[Callable[[], None]] = []
        self.served: list[tuple[bytes, float]] = []
        self.statuses: list[int] = []
        self.seconds_each = seconds_each
        self.queue = RunQueue(self.serve, lambda: self.now, self.soon.append)

    def serve(self, exchange: Exchange, arrived: float) -> None:
        self.now += self.seconds_each
        if exchange.path == b"bug":
            raise ZeroDivisionError
        self.served.append((exchange.path, arrived))

    def reply(self, exchange: Exchange, status: int, headers: bytes, body: bytes) -> None:
        assert not exchange.keep_alive
        self.statuses.append(status)

    def put(self, *paths: bytes) -> None:
        for path in paths:
            exchange = Exchange(self, b"POST", path, {}, keep_alive=True)  # type: ignore[arg-type]
            self.queue.put(exchange, self.now)

    def run_pass(self) -> None:
        soon, self.soon[:] = list(self.soon), []
        for run in soon:
            run()


def test_calls_run_in_order_in_the_next_pass() -> None:
    loop = Loop()
    loop.put(b"1", b"2", b"3")
    assert not loop.served
    loop.run_pass()
    assert loop.served == [(b"1", 10.0), (b"2", 10.0), (b"3", 10.0)]
    assert not loop.soon


def test_slice_ends_and_the_rest_waits_for_the_next_pass() -> None:
    loop = Loop(seconds_each=SLICE_SECONDS * 0.6)
    loop.put(b"1", b"2", b"3")
    loop.run_pass()
    assert [path for path, _ in loop.served] == [b"1", b"2"]
    loop.put(b"4")
    loop.run_pass()
    assert [path for path, _ in loop.served] == [b"1", b"2", b"3", b"4"]


def test_queue_is_behind_when_as_many_wait_as_take_too_long() -> None:
    loop = Loop(seconds_each=SLICE_SECONDS)
    assert not loop.queue.is_behind
    for _ in range(AVERAGED * 4):
        loop.put(b"x")
        loop.run_pass()
    assert not loop.queue.is_behind, "nothing waits"

    fitting = int(DELAY_SECONDS_MAX / SLICE_SECONDS)
    loop.put(*[b"x"] * (fitting - 2))
    assert not loop.queue.is_behind
    loop.put(*[b"x"] * 4)
    assert loop.queue.is_behind
    while loop.soon:
        loop.run_pass()
    assert not loop.queue.is_behind


def test_time_that_the_loop_spends_on_refusals_counts() -> None:
    """What is read between two slices delays the calls as well."""
    loop = Loop(seconds_each=SLICE_SECONDS)
    loop.put(*[b"x"] * 200)
    for _ in range(100):
        loop.now += SLICE_SECONDS * 4
        loop.run_pass()
    while len(loop.served) < 195:
        assert loop.queue.is_behind == ((200 - len(loop.served)) * SLICE_SECONDS * 5 > 0.1)
        loop.now += SLICE_SECONDS * 4
        loop.run_pass()


def test_time_in_which_nothing_waited_does_not_count() -> None:
    loop = Loop()
    loop.put(b"1")
    loop.run_pass()
    loop.now += 1000.0
    loop.put(b"2")
    loop.run_pass()
    loop.put(*[b"x"] * 50)
    assert not loop.queue.is_behind


def test_bug_ends_its_own_exchange_only(caplog: pytest.LogCaptureFixture) -> None:
    loop = Loop()
    loop.put(b"bug", b"2")
    loop.run_pass()
    assert loop.statuses == [500]
    assert [path for path, _ in loop.served] == [b"2"]
    assert "exchange_failed" in caplog.text
