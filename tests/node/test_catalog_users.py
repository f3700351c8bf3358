"""Users and their access keys: the catalog's part of it, as pure functions and over the wire."""

from __future__ import annotations

import pytest

from node.machine.catalog_changes import (
    CHANGED,
    EXISTS,
    HAS_USERS,
    LIMIT,
    MISSING,
    Refused,
    change,
)
from quorate.cluster.catalog import AccessKeyRecord, Catalog, Grant, UserRecord
from quorate.cluster.codec import decode_catalog, encode_catalog
from quorate.cluster.commands import (
    CatalogCommand,
    CreateAccessKey,
    CreateUser,
    DeleteAccessKey,
    DeleteUser,
    OpenCluster,
    ReplaceGrants,
    decode_catalog_command,
    wire_catalog_command,
)
from tests.node.builders import new_id

FIRST = AccessKeyRecord(id="FIRST", sealed_secret=b"sealed 1")
SECOND = AccessKeyRecord(id="SECOND", sealed_secret=b"sealed 2")
RESEALED = AccessKeyRecord(id="FIRST", sealed_secret=b"sealed 1, for other grants")
READS = Grant(actions=("read",), tables=("orders", "log-*"))
WRITES = Grant(actions=("PutItem", "DeleteItem"), tables=("log-*",))
ADA = UserRecord(name="ada", access_keys=(FIRST,))


@pytest.fixture
def catalog() -> Catalog:
    """One user, ada, with one key, FIRST."""
    return change(Catalog(), CreateUser(new_id(), "ada", FIRST))


def refusal(catalog: Catalog, command: CatalogCommand) -> str:
    with pytest.raises(Refused) as refused:
        change(catalog, command)
    return refused.value.reason


def test_user_begins_with_a_key(catalog: Catalog) -> None:
    assert catalog.user_by_name == {"ada": ADA}
    assert refusal(catalog, CreateUser(new_id(), "ada", SECOND)) == EXISTS


def test_second_key_takes_over_from_the_first(catalog: Catalog) -> None:
    """While keys are rotated both are valid."""
    catalog = change(catalog, CreateAccessKey(new_id(), "ada", SECOND))
    assert catalog.user_by_name["ada"].access_keys == (FIRST, SECOND)

    catalog = change(catalog, DeleteAccessKey(new_id(), "ada", "FIRST"))
    assert catalog.user_by_name["ada"].access_keys == (SECOND,)


def test_user_has_two_keys_at_most(catalog: Catalog) -> None:
    catalog = change(catalog, CreateAccessKey(new_id(), "ada", SECOND))

    third = AccessKeyRecord(id="THIRD", sealed_secret=b"sealed 3")
    assert refusal(catalog, CreateAccessKey(new_id(), "ada", third)) == LIMIT


def test_user_without_keys_is_still_a_user(catalog: Catalog) -> None:
    """Else taking the last key away would open the cluster to everybody."""
    catalog = change(catalog, DeleteAccessKey(new_id(), "ada", "FIRST"))

    assert catalog.users == (UserRecord(name="ada", access_keys=()),)


def test_deleted_user_leaves_with_all_keys(catalog: Catalog) -> None:
    assert change(catalog, DeleteUser(new_id(), "ada")).users == ()


def test_new_grants_take_the_place_of_the_old(catalog: Catalog) -> None:
    for grants in ((READS, WRITES), (WRITES,)):
        catalog = change(catalog, ReplaceGrants(new_id(), "ada", grants, (RESEALED,)))
        assert catalog.user_by_name["ada"].grants == grants
        assert catalog.user_by_name["ada"].access_keys == (RESEALED,)

    catalog = change(catalog, CreateAccessKey(new_id(), "ada", SECOND, (WRITES,)))
    assert catalog.user_by_name["ada"].grants == (WRITES,), "keys come and go, grants stay"


def test_grants_and_keys_that_do_not_belong_together_are_refused(catalog: Catalog) -> None:
    """A key opens only with the grants that it was sealed for: one of the two has changed since."""
    for keys in ((), (SECOND,), (RESEALED, SECOND)):
        assert refusal(catalog, ReplaceGrants(new_id(), "ada", (READS,), keys)) == CHANGED
    assert refusal(catalog, CreateAccessKey(new_id(), "ada", SECOND, (READS,))) == CHANGED


def test_what_was_closed_stays_closed_until_it_is_opened(catalog: Catalog) -> None:
    assert not Catalog().must_sign
    assert catalog.must_sign
    assert refusal(catalog, OpenCluster(new_id())) == HAS_USERS

    catalog = change(catalog, DeleteUser(new_id(), "ada"))
    assert catalog.must_sign
    assert decode_catalog(encode_catalog(catalog)) == catalog

    opened = change(catalog, OpenCluster(new_id()))
    assert not opened.must_sign
    assert change(opened, OpenCluster(new_id())) is opened


@pytest.mark.parametrize(
    "command",
    [
        DeleteUser(b"", "bob"),
        CreateAccessKey(b"", "bob", SECOND),
        DeleteAccessKey(b"", "bob", "FIRST"),
        ReplaceGrants(b"", "bob", (READS,), ()),
        DeleteAccessKey(b"", "ada", "SECOND"),
    ],
)
def test_what_is_not_there_is_not_changed(catalog: Catalog, command: CatalogCommand) -> None:
    assert refusal(catalog, command) == MISSING


@pytest.mark.parametrize(
    "command",
    [
        CreateUser(b"id", "ada", FIRST),
        CreateUser(b"id", "ada", FIRST, (READS, WRITES)),
        ReplaceGrants(b"id", "ada", (WRITES, READS), (FIRST, SECOND)),
        CreateAccessKey(b"id", "ada", SECOND, (READS,)),
        OpenCluster(b"id"),
        DeleteUser(b"id", "ada"),
        CreateAccessKey(b"id", "ada", SECOND),
        DeleteAccessKey(b"id", "ada", "FIRST"),
    ],
)
def test_command_travels_unchanged(command: CatalogCommand) -> None:
    assert decode_catalog_command(wire_catalog_command(command)) == command


def test_users_travel_with_the_catalog(catalog: Catalog) -> None:
    catalog = change(catalog, CreateUser(new_id(), "bob", SECOND, (READS, WRITES)))

    assert decode_catalog(encode_catalog(catalog)).users == (
        ADA,
        UserRecord(name="bob", access_keys=(SECOND,), grants=(READS, WRITES)),
    )
