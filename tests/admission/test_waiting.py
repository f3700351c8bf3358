"""Who waits at a router, for capacity or for the pool's word: in one line, and never for ever."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.cluster.catalog import Catalog
from router.admission.lease import ASK_SECONDS, SILENCE_SECONDS, Ask, Lease
from router.admission.tables import QUEUED_MAX, TableAdmission, TableAsk
from tests.admission.test_tables import (
    RING,
    CheckedAdmission,
    Clock,
    catalog,
    exhaust,
    spend,
    table,
)

UNTIL = 103.7
"""Until when a part of a batch waits that came when the clock began."""


class Line:
    """Parts of batches that wait for capacity, by name, and with how many units they went on."""

    def __init__(self, admission: TableAdmission) -> None:
        self.admission = admission
        self.gone_on: dict[str, float] = {}

    def join(self, name: str, units: float = 1, until: float = UNTIL) -> bool:
        go_on = partial(self.gone_on.__setitem__, name)
        return self.admission.queue(table(4), units, until, go_on, reads=False)


def answer(admission: TableAdmission, clock: Clock, tokens: float) -> list[TableAsk]:
    """Let the pool grant writes so much, and let it be spent."""
    clock.now += ASK_SECONDS
    asks = admission.tick(clock.now)
    admission.granted(asks, [(0.0 if each.reads else tokens, 0.0) for each in asks])
    clock.now += ASK_SECONDS
    admission.serve_queues()
    return asks


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admission(clock: Clock) -> CheckedAdmission:
    """Accounts of a router that has spent what a table of 4 write units had."""
    admission = CheckedAdmission(clock)
    exhaust(admission, clock)
    return admission


def test_parts_go_on_in_order_as_capacity_comes(admission: CheckedAdmission, clock: Clock) -> None:
    line = Line(admission)
    for name in "abc":
        assert line.join(name, 2)
    owed = 4
    answer(admission, clock, owed + 3)

    assert line.gone_on == {"a": 2, "b": 2}
    answer(admission, clock, 4)
    assert line.gone_on == {"a": 2, "b": 2, "c": 2}


def test_part_whose_time_is_up_goes_on_with_nothing(
    admission: CheckedAdmission, clock: Clock
) -> None:
    line = Line(admission)
    line.join("patient")
    line.join("late", until=clock.now + ASK_SECONDS / 2)
    answer(admission, clock, 0.0)

    assert line.gone_on == {"late": 0.0}


def test_parts_go_on_under_new_limits(admission: CheckedAdmission, clock: Clock) -> None:
    """They have waited for capacity, and UpdateTable has brought some."""
    line = Line(admission)
    line.join("a", 2)
    line.join("b", 2)
    asked: list[None] = []
    admission.on_credit = lambda: asked.append(None)
    admission.catalog_changed(catalog(400, 1), RING)
    assert line.gone_on == {}, "they wait on"
    assert asked, "and the pool is asked at once"
    asks = answer(admission, clock, 100.0)

    assert next(each.ask.wanted for each in asks if not each.reads) >= 4
    assert line.gone_on == {"a": 2, "b": 2}
    debt, came_in = 4, 400 * ASK_SECONDS
    assert spend(admission, table(400, 1)) == 100 - debt - 4 + came_in, "they have spent theirs"


def test_parts_go_on_when_their_table_has_no_limit_any_more(admission: CheckedAdmission) -> None:
    line = Line(admission)
    line.join("a", 2)
    admission.catalog_changed(catalog(None, 1), RING)

    assert line.gone_on == {"a": 2}


def test_parts_of_a_dropped_table_are_not_done(admission: CheckedAdmission) -> None:
    line = Line(admission)
    line.join("a", 2)
    admission.catalog_changed(Catalog(epoch=9), RING)

    assert line.gone_on == {"a": 0.0}


def test_parts_wait_no_longer_under_new_limits_than_before(
    admission: CheckedAdmission, clock: Clock
) -> None:
    line = Line(admission)
    line.join("a")
    admission.catalog_changed(catalog(2, 1), RING)
    clock.now = UNTIL
    admission.serve_queues()

    assert line.gone_on == {"a": 0.0}


def test_line_has_a_bound(admission: CheckedAdmission, clock: Clock) -> None:
    line = Line(admission)
    for place in range(QUEUED_MAX):
        assert line.join(str(place))
    assert not line.join("one too many")
    answer(admission, clock, 4 + 10)

    assert len(line.gone_on) == 10
    assert line.join("another")


def test_answer_from_before_the_limit_was_lifted_gives_back_nothing(clock: Clock) -> None:
    """The lease there is now has never asked: what it may give back is not less than nothing."""
    admission = CheckedAdmission(clock)
    spend(admission, table(4))
    clock.now += ASK_SECONDS
    admission.granted(admission.tick(clock.now), [(100.0, 0.0)])
    while not (asks := admission.tick(clock.now)) or not asks[0].ask.returned:
        admission.granted(asks, [(0.0, 0.0) for _ in asks])
        clock.now += ASK_SECONDS
    admission.catalog_changed(catalog(None, 1), RING)
    admission.catalog_changed(catalog(4, 2), RING)
    admission.granted(asks, [(0.0, 0.0)])

    admission.check()


class OneLease:
    """A lease that anything may happen to, with a pool that answers or not."""

    def __init__(self) -> None:
        self.now = 100.0
        self.lease = Lease(10.0, self.now)
        self.ask: Ask | None = None
        self.gone_on: list[int] = []
        self.waiting = 0

    def offer(self, units: float) -> None:
        if not self.lease.admit(units, self.now):
            if self.lease.is_undecided:
                self.lease.wait(units, self._go_on())
            else:
                self.lease.refuse(units)

    def queue(self, units: float) -> None:
        self.lease.wait(units, self._go_on(self.lease.spend), until=self.now + 4)

    def _go_on(self, spend: object = None) -> partial[None]:
        number = self.waiting
        self.waiting += 1
        return partial(self._gone_on, number, spend)

    def _gone_on(self, number: int, spend: object, units: float) -> None:
        self.gone_on.append(number)
        if spend is not None:
            self.lease.spend(units)

    def settle(self, units: float) -> None:
        self.lease.spend(-units)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.lease.serve(self.now)

    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.ask = self.lease.tick(self.now) or self.ask

    def grant(self, share: float) -> None:
        if self.ask is not None:
            tokens = self.ask.wanted * min(share, 1.0)
            self.lease.granted(self.ask, tokens, share * 100, self.now)
            self.ask = None

    def change(self, rate: float) -> None:
        self.lease.change(rate, self.now)


STEPS = st.one_of(
    st.tuples(st.sampled_from(["offer", "queue", "settle"]), st.floats(0.5, 50)),
    st.tuples(st.sampled_from(["pass_time", "tick"]), st.floats(0.001, SILENCE_SECONDS * 1.5)),
    st.tuples(st.just("grant"), st.floats(0, 1.5)),
    st.tuples(st.just("change"), st.floats(1, 1000)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_invariants_hold_whatever_happens_and_nobody_waits_for_ever(
    steps: list[tuple[str, float]],
) -> None:
    one = OneLease()
    for what, amount in steps:
        getattr(one, what)(amount)
        one.lease.check()
    for _ in range(10):
        one.tick(SILENCE_SECONDS)
        one.lease.check()

    assert sorted(one.gone_on) == list(range(one.waiting)), "each goes on, and once"
