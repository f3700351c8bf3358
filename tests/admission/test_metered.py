"""What a request costs its table in the end: what it did, what it failed on, or nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from model.errors import ConditionFailed, ModelError, ProvisionedThroughputExceeded
from model.requests.writes import Write
from router.admission.tables import TableAdmission
from router.call import Call
from router.operations.metered import WriteOwner
from router.refusals import router_full
from router.routed import Routed, RoutedWrite
from tests.admission.test_tables import CREDIT, CheckedAdmission, Clock, lease, spend, table

TOKENS = 50


class Owner(WriteOwner):
    """An owner of a write that is told of its end, as the operations are."""

    __slots__ = ("errors", "routed")

    def __init__(self, admission: TableAdmission) -> None:
        super().__init__(admission, table(100), a_call("PutItem"), Write(b"key"))
        self.errors: list[ModelError] = []
        self.routed = RoutedWrite(self, 1, 1.0, b"i" * 16, b"key", b"image", b"")

    def route(self, service: object) -> RoutedWrite:
        return self.routed

    def refused(self, error: ModelError) -> None:
        self.errors.append(error)

    def answered(self, routed: Routed, units: int, payload: bytes) -> None:
        self.settle(units)

    def failed(self, routed: Routed, error: ModelError) -> None:
        self.settle_failed(routed)
        self.errors.append(error)


class FullDispatch:
    def submit(self, routed: Routed) -> None:
        raise router_full()


class TakingDispatch:
    def submit(self, routed: Routed) -> None:
        pass


class SilentCall(Call):
    __slots__ = ()

    def send_answer(self, body: bytes) -> None:
        raise AssertionError("nobody answers it here")

    def send_error(self, error: ModelError) -> None:
        raise AssertionError("nobody answers it here")


def a_call(operation: str) -> Call:
    call = SilentCall(None, b"i" * 16, 0.0, 1.0)  # type: ignore[arg-type]
    call.operation = operation
    return call


@pytest.fixture
def admission() -> TableAdmission:
    """Accounts of a router that has so many tokens of the table, and owes nothing."""
    clock = Clock()
    admission = CheckedAdmission(clock)
    spend(admission, table(100))
    lease(admission, clock, CREDIT + TOKENS)
    return admission


def submitted(
    admission: TableAdmission, dispatch: Any = TakingDispatch, units: float = 2
) -> tuple[Owner, RoutedWrite]:
    owner = Owner(admission)
    service: Any = SimpleNamespace(dispatch=dispatch())
    owner.submit(service, units)
    return owner, owner.routed


def used(admission: TableAdmission) -> float:
    ((_, account),) = admission.accounts()
    return account.usage.units.get(("PutItem", False), 0.0)


def test_write_costs_what_its_leader_says(admission: TableAdmission) -> None:
    owner, routed = submitted(admission)
    owner.answered(routed, 7, b"")

    assert used(admission) == 7
    assert spend(admission, table(100)) == TOKENS - 7


def test_failed_condition_costs_what_the_item_does(admission: TableAdmission) -> None:
    owner, routed = submitted(admission)
    routed.refused_units = 3
    owner.failed(routed, ConditionFailed())

    assert used(admission) == 3
    assert spend(admission, table(100)) == TOKENS - 3


def test_write_that_its_partition_throttles_costs_nothing(admission: TableAdmission) -> None:
    owner, routed = submitted(admission)
    owner.failed(routed, owner.throttled(routed))

    assert used(admission) == 0
    assert spend(admission, table(100)) == TOKENS
    (error,) = owner.errors
    assert isinstance(error, ProvisionedThroughputExceeded)
    assert error.reasons[0][0] == "TableWriteKeyRangeThroughputExceeded"


def test_write_that_a_full_router_refuses_costs_nothing(admission: TableAdmission) -> None:
    submitted(admission, FullDispatch)

    assert used(admission) == 0
    assert spend(admission, table(100)) == TOKENS


def test_write_that_may_have_been_done_keeps_what_it_was_admitted_for(
    admission: TableAdmission,
) -> None:
    owner, routed = submitted(admission)
    routed.maybe_proposed = True
    owner.failed(routed, router_full())

    assert spend(admission, table(100)) == TOKENS - 2


def test_refused_write_is_not_sent_and_costs_nothing(admission: TableAdmission) -> None:
    spend(admission, table(100))
    owner, _ = submitted(admission, FullDispatch)

    (error,) = owner.errors
    assert isinstance(error, ProvisionedThroughputExceeded), "it has not come to the dispatcher"
    assert used(admission) == 0


class BrokenOwner(Owner):
    """An owner with a bug."""

    __slots__ = ()

    def route(self, service: object) -> RoutedWrite:
        raise ZeroDivisionError


def test_bug_met_by_who_has_waited_ends_its_call_alone() -> None:
    clock = Clock()
    admission = CheckedAdmission(clock)
    spend(admission, table(100))
    service: Any = SimpleNamespace(dispatch=TakingDispatch())
    broken, other = BrokenOwner(admission), Owner(admission)
    broken.submit(service, 1)
    other.submit(service, 1)
    clock.now += 0.1
    asks = admission.tick(clock.now)
    admission.granted(asks, [(each.ask.wanted, 100.0) for each in asks])

    assert [error.code for error in broken.errors] == ["InternalServerError"]
    assert other.admitted == 1
    assert not other.errors
