"""PynamoDB: models with a range key and with a version, conditions, batches, counters, pages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from pynamodb.attributes import (
    BinaryAttribute,
    BooleanAttribute,
    JSONAttribute,
    ListAttribute,
    MapAttribute,
    NumberAttribute,
    UnicodeAttribute,
    UnicodeSetAttribute,
    UTCDateTimeAttribute,
    VersionAttribute,
)
from pynamodb.connection import Connection
from pynamodb.exceptions import (
    DeleteError,
    DoesNotExist,
    PutError,
    PynamoDBException,
    TransactWriteError,
    UpdateError,
)
from pynamodb.models import Model
from pynamodb.transactions import TransactWrite

CONDITION_FAILED = "ConditionalCheckFailedException"


class Place(MapAttribute):
    street = UnicodeAttribute()
    number = NumberAttribute()


class Thread(Model):
    class Meta:
        table_name = "pynamodb-threads"
        host = os.environ["AWS_ENDPOINT_URL_DYNAMODB"]
        region = "local"
        aws_access_key_id = "any"
        aws_secret_access_key = "any"
        billing_mode = "PAY_PER_REQUEST"

    forum = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)
    views = NumberAttribute(default=0)
    is_open = BooleanAttribute(default=True)
    tags = UnicodeSetAttribute(null=True)
    notes: ListAttribute[Any] = ListAttribute(default=list)
    data = JSONAttribute(null=True)
    raw = BinaryAttribute(null=True, legacy_encoding=False)
    place = Place(null=True)
    posted = UTCDateTimeAttribute(null=True)


class Account(Model):
    class Meta(Thread.Meta):
        table_name = "pynamodb-accounts"

    name = UnicodeAttribute(hash_key=True)
    balance = NumberAttribute(default=0)
    version = VersionAttribute()


@contextmanager
def refusal(kind: type[PynamoDBException], code: str) -> Iterator[None]:
    """Expect PynamoDB's exception of a kind, with DynamoDB's code as its cause."""
    try:
        yield
    except kind as refused:
        if refused.cause_response_code != code:
            raise
        return
    raise AssertionError(f"no {kind.__name__}")


def creates_the_tables_of_its_models_and_waits() -> None:
    Thread.create_table(wait=True)
    Account.create_table(wait=True)
    assert Thread.exists()
    described = Thread.describe_table()
    assert described["TableStatus"] == "ACTIVE"
    assert described["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    connection = Connection(host=Thread.Meta.host, region="local")
    assert "pynamodb-threads" in connection.list_tables()["TableNames"]


def saves_every_kind_of_attribute_and_gets_it_back() -> None:
    thread = Thread(
        "python",
        1,
        tags={"grüße", "news"},
        notes=["first", 2, {"deep": [True, None]}],
        data={"any": ["json"]},
        raw=b"\x00\xff",
        place=Place(street="High Street", number=12),
        posted=datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC),
    )
    thread.save()
    got = Thread.get("python", 1, consistent_read=True)
    assert got.serialize() == thread.serialize()
    assert got.place.street == "High Street"
    assert got.posted == thread.posted


def says_that_an_item_does_not_exist() -> None:
    try:
        Thread.get("python", 99, consistent_read=True)
    except DoesNotExist:
        return
    raise AssertionError("an item that nobody saved was found")


def updates_with_actions() -> None:
    thread = Thread.get("python", 1, consistent_read=True)
    thread.update(
        actions=[
            Thread.views.add(5),
            Thread.is_open.set(False),
            Thread.tags.delete({"news"}),
            Thread.notes.set(Thread.notes.append(["last"])),
            Thread.place.number.set(Thread.place.number + 1),
            Thread.data.remove(),
        ]
    )
    # The model takes over what ALL_NEW answered.
    assert (thread.views, thread.is_open, thread.tags) == (5, False, {"grüße"})
    assert (thread.notes[-1], thread.place.number, thread.data) == ("last", 13, None)
    assert Thread.get("python", 1, consistent_read=True).serialize() == thread.serialize()


def is_refused_when_a_condition_fails() -> None:
    fresh = Thread("python", 1)
    with refusal(PutError, CONDITION_FAILED):
        fresh.save(condition=Thread.forum.does_not_exist())
    with refusal(DeleteError, CONDITION_FAILED):
        fresh.delete(condition=(Thread.views > 5) | Thread.raw.does_not_exist())
    with refusal(UpdateError, CONDITION_FAILED):
        fresh.update(actions=[Thread.views.set(0)], condition=Thread.views.between(6, 9))
    assert Thread.get("python", 1, consistent_read=True).views == 5


def keeps_versions_so_that_a_stale_copy_cannot_be_saved() -> None:
    account = Account("ada", balance=10)
    account.save()
    stale = Account.get("ada", consistent_read=True)
    account.balance += 5
    account.save()
    assert account.version == 2
    stale.balance -= 5
    with refusal(PutError, CONDITION_FAILED):
        stale.save()
    stale.refresh(consistent_read=True)
    assert (stale.balance, stale.version) == (15, 2)
    stale.update(actions=[Account.balance.add(1)])
    assert (stale.balance, stale.version) == (16, 3)


def counts_to_40_with_concurrent_updates() -> None:
    def add(_: int) -> None:
        Thread("counter", 0).update(actions=[Thread.views.add(1)])

    with ThreadPoolExecutor(8) as executor:
        list(executor.map(add, range(40)))
    assert Thread.get("counter", 0, consistent_read=True).views == 40


def writes_and_gets_batches() -> None:
    with Thread.batch_write() as batch:
        for number in range(60):
            batch.save(Thread("rust", number, views=number))
    with Thread.batch_write() as batch:
        for number in range(50, 60):
            batch.delete(Thread("rust", number))
    keys = [("rust", number) for number in range(60)]
    found = list(Thread.batch_get(keys, consistent_read=True))
    assert sorted(thread.number for thread in found) == list(range(50))


def queries_a_range_in_pages_and_goes_on_from_a_key() -> None:
    in_range = Thread.number.between(10, 29)
    result = Thread.query("rust", in_range, page_size=6, consistent_read=True)
    assert [thread.number for thread in result] == list(range(10, 30))

    first = Thread.query("rust", in_range, limit=5, scan_index_forward=False, consistent_read=True)
    assert [thread.number for thread in first] == [29, 28, 27, 26, 25]
    rest = Thread.query(
        "rust",
        in_range,
        scan_index_forward=False,
        last_evaluated_key=first.last_evaluated_key,
        consistent_read=True,
    )
    assert [thread.number for thread in rest] == list(range(24, 9, -1))

    even = Thread.query(
        "rust",
        filter_condition=Thread.views.is_in(2, 4, 60) & (Thread.is_open == True),  # noqa: E712
        attributes_to_get=["number"],
        consistent_read=True,
    )
    assert [thread.number for thread in even] == [2, 4]
    assert Thread.count("rust", Thread.number < 7, consistent_read=True) == 7


def scans_whole_and_in_segments() -> None:
    assert sum(1 for _ in Thread.scan(page_size=9, consistent_read=True)) == 52
    segments = [
        Thread.scan(Thread.forum == "rust", segment=segment, total_segments=3, consistent_read=True)
        for segment in range(3)
    ]
    assert sum(1 for segment in segments for _ in segment) == 50


def is_told_that_transactions_are_not_there() -> None:
    connection = Connection(host=Thread.Meta.host, region="local")
    with (
        refusal(TransactWriteError, "UnknownOperationException"),
        TransactWrite(connection=connection) as transaction,
    ):
        transaction.save(Thread("never", 0))
    assert Thread.count("never", consistent_read=True) == 0


def deletes_items_and_tables() -> None:
    Thread.get("python", 1, consistent_read=True).delete()
    assert Thread.count("python", consistent_read=True) == 0
    Thread.delete_table()
    Account.delete_table()
    assert not Thread.exists()


STORY = (
    creates_the_tables_of_its_models_and_waits,
    saves_every_kind_of_attribute_and_gets_it_back,
    says_that_an_item_does_not_exist,
    updates_with_actions,
    is_refused_when_a_condition_fails,
    keeps_versions_so_that_a_stale_copy_cannot_be_saved,
    counts_to_40_with_concurrent_updates,
    writes_and_gets_batches,
    queries_a_range_in_pages_and_goes_on_from_a_key,
    scans_whole_and_in_segments,
    is_told_that_transactions_are_not_there,
    deletes_items_and_tables,
)

for step in STORY:
    sentence = step.__name__.replace("_", " ")
    try:
        step()
    except BaseException:
        print(f"FAILED: {sentence}")
        raise
    print(f"  {sentence}")
