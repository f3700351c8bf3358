"""CreateTable and its kin: definitions, descriptions, refusals."""

import json
from collections.abc import Callable

import pytest

from model.errors import ModelError, SerializationFailed, ValidationError
from model.keys import KeySchema
from model.requests.tables import (
    changed_response,
    parse_create_table,
    parse_delete_table,
    parse_describe_table,
    parse_list_tables,
    parse_update_table,
)
from model.sentences import Sentence
from model.tables import Table, describe_table, load_table

NOW = 1_700_100_000.25
DAY = 86_400
UUID = "11111111-2222-3333-4444-555555555555"


def create(**members: object) -> dict[str, object]:
    return {
        "TableName": "orders",
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "N"},
        ],
        "KeySchema": [
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        "BillingMode": "PAY_PER_REQUEST",
        **members,
    }


def made(**members: object) -> Table:
    request = parse_create_table(create(**members))
    definition = request.definition(created_at=1700000000.5, table_uuid=UUID)
    return load_table(4, request.table_name, definition)


def test_definition_gives_the_table_back() -> None:
    table = made()

    assert (table.id, table.name) == (4, "orders")
    assert table.schema == KeySchema(
        partition_name="pk", partition_type="S", sort_name="sk", sort_type="N"
    )
    assert not table.is_provisioned
    assert not table.is_deletion_protected


def test_description_is_what_waiters_and_consoles_read() -> None:
    description = describe_table(made(), status="ACTIVE", now=NOW, item_count=3, size_bytes=77)

    assert json.loads(changed_response(description))["TableDescription"] == {
        "TableName": "orders",
        "TableId": UUID,
        "TableStatus": "ACTIVE",
        "CreationDateTime": 1700000000.5,
        "AttributeDefinitions": create()["AttributeDefinitions"],
        "KeySchema": create()["KeySchema"],
        "BillingModeSummary": {
            "BillingMode": "PAY_PER_REQUEST",
            "LastUpdateToPayPerRequestDateTime": 1700000000.5,
        },
        "ProvisionedThroughput": {
            "NumberOfDecreasesToday": 0,
            "ReadCapacityUnits": 0,
            "WriteCapacityUnits": 0,
        },
        "ItemCount": 3,
        "TableSizeBytes": 77,
        "TableArn": "arn:aws:dynamodb:local:000000000000:table/orders",
        "DeletionProtectionEnabled": False,
    }


def test_provisioned_table_keeps_its_units() -> None:
    table = provisioned(5, 6)
    description = describe_table(table, status="ACTIVE", now=NOW)

    assert table.is_provisioned
    assert table.throughput_units == (5, 6)
    assert "BillingModeSummary" not in description


def test_harmless_parameters_are_accepted() -> None:
    request = parse_create_table(
        create(
            Tags=[],
            TableClass="STANDARD",
            SSESpecification={"Enabled": False},
            StreamSpecification={"StreamEnabled": False},
            NoSuchParameter=1,
        )
    )

    assert request.table_name == "orders"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GlobalSecondaryIndexes", [{}]),
        ("LocalSecondaryIndexes", [{}]),
        ("StreamSpecification", {"StreamEnabled": True}),
        ("SSESpecification", {"Enabled": True}),
        ("Tags", [{"Key": "a", "Value": "b"}]),
        ("WarmThroughput", {"ReadUnitsPerSecond": 1}),
        ("VectorIndexes", [{}]),
    ],
)
def test_unsupported_parameters_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=f"{name} is not supported"):
        parse_create_table(create(**{name: value}))


@pytest.mark.parametrize(
    "parse", [parse_create_table, parse_describe_table, parse_delete_table, parse_update_table]
)
def test_table_must_be_named(parse: Callable[[object], object]) -> None:
    body = {"BillingMode": "NONSENSE"}
    with pytest.raises(ValidationError) as caught:
        parse(body)

    assert str(caught.value) == (
        "The parameter 'TableName' is required but was not present in the request"
    )
    with pytest.raises(SerializationFailed):
        parse({"BillingMode": 1, "TableName": 1})


HASH = {"AttributeName": "pk", "KeyType": "HASH"}
RANGE = {"AttributeName": "sk", "KeyType": "RANGE"}
PK = {"AttributeName": "pk", "AttributeType": "S"}
SK = {"AttributeName": "sk", "AttributeType": "N"}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"KeySchema": [RANGE]}, Sentence.KEY_SCHEMA_FIRST),
        ({"KeySchema": [HASH, {**RANGE, "KeyType": "HASH"}]}, Sentence.KEY_SCHEMA_SECOND),
        (
            {"KeySchema": [HASH, {**RANGE, "AttributeName": "pk"}]},
            Sentence.KEY_SCHEMA_SAME_NAME,
        ),
        ({"KeySchema": [HASH]}, Sentence.KEY_SCHEMA_COUNT),
        ({"AttributeDefinitions": [PK, SK, SK]}, Sentence.DEFINITIONS_DUPLICATE),
        ({"AttributeDefinitions": [PK]}, Sentence.KEY_SCHEMA_TOO_LONG),
        ({"AttributeDefinitions": []}, Sentence.KEY_SCHEMA_TOO_LONG),
        (
            {"AttributeDefinitions": [PK, {**SK, "AttributeName": "other"}]},
            "Some index key attributes are not defined in AttributeDefinitions. "
            "Keys: [pk, sk], AttributeDefinitions: [pk, other]",
        ),
        ({"GlobalSecondaryIndexes": []}, "List of GlobalSecondaryIndexes is empty"),
        ({"AttributeDefinitions": None}, Sentence.DEFINITIONS_MISSING),
        ({"KeySchema": None}, Sentence.KEY_SCHEMA_MISSING),
        ({"BillingMode": None}, Sentence.THROUGHPUT_MISSING),
        (
            {"ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}},
            Sentence.THROUGHPUT_FORBIDDEN,
        ),
        (
            {"ProvisionedThroughput": {"ReadCapacityUnits": 0}},
            "2 validation errors detected: "
            "Value null at 'provisionedThroughput.writeCapacityUnits' failed to satisfy "
            "constraint: Member must not be null; "
            "Value '0' at 'provisionedThroughput.readCapacityUnits' failed to satisfy "
            "constraint: Member must have value greater than or equal to 1",
        ),
        (
            {"KeySchema": [HASH, {**RANGE, "KeyType": "SORT"}]},
            "Value 'SORT' at 'keySchema.2.member.keyType' failed to satisfy constraint: "
            "Member must satisfy enum value set: [HASH, RANGE]",
        ),
        (
            {"AttributeDefinitions": [{**PK, "AttributeType": "BOOL"}, SK]},
            "Value 'BOOL' at 'attributeDefinitions.1.member.attributeType'",
        ),
        (
            {"KeySchema": [HASH, RANGE, RANGE]},
            "Value '[KeySchemaElement(attributeName=pk, keyType=HASH), "
            "KeySchemaElement(attributeName=sk, keyType=RANGE), "
            "KeySchemaElement(attributeName=sk, keyType=RANGE)]' at 'keySchema' failed to satisfy "
            "constraint: Member must have length less than or equal to 2",
        ),
        ({"KeySchema": [None]}, "'keySchema.1.member.attributeName'"),
        ({"KeySchema": [{**HASH, "AttributeName": "a" * 256}]}, "less than or equal to 255"),
        ({"BillingMode": "FREE"}, "[PROVISIONED, PAY_PER_REQUEST]"),
        ({"TableName": "ab"}, "Value 'ab' at 'tableName' failed to satisfy constraint: Member m"),
        (
            {"StreamSpecification": {"StreamEnabled": False, "StreamViewType": "NEW_IMAGE"}},
            "One or more parameter values were invalid: Table is being created with a stream "
            "disabled, UpdateViewType should not be specified",
        ),
        (
            {"StreamSpecification": {"StreamEnabled": False, "StreamViewType": "OTHER"}},
            "'streamSpecification.streamViewType' failed to satisfy constraint",
        ),
        ({"StreamSpecification": {}}, "Value null at 'streamSpecification.streamEnabled' failed"),
    ],
)
def test_bad_tables_are_refused(members: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        parse_create_table(create(**members))

    assert message in str(caught.value)


@pytest.mark.parametrize(
    "members",
    [
        {"KeySchema": {}},
        {"KeySchema": ["pk"]},
        {"AttributeDefinitions": [{"AttributeName": 1}]},
        {"ProvisionedThroughput": {"ReadCapacityUnits": "5"}},
        {"DeletionProtectionEnabled": "yes"},
    ],
)
def test_wrong_json_types_are_serialization_errors(members: dict[str, object]) -> None:
    with pytest.raises(SerializationFailed):
        parse_create_table(create(**members))


def test_names_are_listed_in_order_and_in_pages() -> None:
    names = ["ccc", "aaa", "bbb"]

    first = json.loads(parse_list_tables({"Limit": 2}).response(names))
    rest = json.loads(parse_list_tables({"ExclusiveStartTableName": "bbb"}).response(names))

    assert first == {"TableNames": ["aaa", "bbb"], "LastEvaluatedTableName": "bbb"}
    assert rest == {"TableNames": ["ccc"]}


@pytest.mark.parametrize(
    "body",
    [
        {"Limit": 0},
        {"Limit": 101},
        {"Limit": "1"},
        {"ExclusiveStartTableName": "a"},
        {"ExclusiveStartTableName": "a!c"},
    ],
)
def test_bad_pages_of_names_are_refused(body: dict[str, object]) -> None:
    with pytest.raises(ModelError):
        parse_list_tables(body)


def updated(table: Table, *, now: float = NOW, **members: object) -> Table:
    """The table after an UpdateTable that changes something."""
    request = parse_update_table({"TableName": "orders", **members})
    definition = request.definition(table, now=now)
    assert definition, "nothing has changed"
    return load_table(table.id, table.name, definition, table.version + 1)


def units(read: int, write: int) -> dict[str, int]:
    return {"ReadCapacityUnits": read, "WriteCapacityUnits": write}


def provisioned(read: int, write: int) -> Table:
    return made(BillingMode=None, ProvisionedThroughput=units(read, write))


def throughput(table: Table, now: float = NOW) -> object:
    return describe_table(table, status="ACTIVE", now=now)["ProvisionedThroughput"]


def test_units_change_and_the_changes_are_dated_and_counted() -> None:
    table = updated(provisioned(5, 5), ProvisionedThroughput=units(10, 5))
    assert throughput(table) == {
        **units(10, 5), "NumberOfDecreasesToday": 0, "LastIncreaseDateTime": NOW,
    }  # fmt: skip

    for hours, read in enumerate((9, 8)):
        table = updated(table, now=NOW + hours, ProvisionedThroughput=units(read, 6))
    assert throughput(table, NOW + 1) == {
        **units(8, 6), "NumberOfDecreasesToday": 2,
        "LastIncreaseDateTime": NOW, "LastDecreaseDateTime": NOW + 1,
    }  # fmt: skip

    later = throughput(table, NOW + DAY)
    assert isinstance(later, dict)
    assert later["NumberOfDecreasesToday"] == 0
    table = updated(table, now=NOW + DAY, ProvisionedThroughput=units(7, 6))
    assert table.throughput["NumberOfDecreasesToday"] == 1


def test_billing_mode_changes_both_ways() -> None:
    on_demand = updated(provisioned(5, 6), BillingMode="PAY_PER_REQUEST")
    description = describe_table(on_demand, status="ACTIVE", now=NOW)
    assert description["BillingModeSummary"] == {
        "BillingMode": "PAY_PER_REQUEST",
        "LastUpdateToPayPerRequestDateTime": NOW,
    }
    assert throughput(on_demand) == {**units(0, 0), "NumberOfDecreasesToday": 0}

    back = updated(on_demand, BillingMode="PROVISIONED", ProvisionedThroughput=units(3, 4))
    description = describe_table(back, status="ACTIVE", now=NOW + DAY)
    assert description["BillingModeSummary"] == {
        "BillingMode": "PROVISIONED",
        "LastUpdateToPayPerRequestDateTime": NOW,
    }
    assert back.throughput_units == (3, 4)


def test_protection_and_class_change() -> None:
    table = updated(made(), DeletionProtectionEnabled=True, TableClass="STANDARD_INFREQUENT_ACCESS")

    assert table.is_deletion_protected
    assert describe_table(table, status="ACTIVE", now=NOW)["TableClassSummary"] == {
        "TableClass": "STANDARD_INFREQUENT_ACCESS"
    }


@pytest.mark.parametrize(
    "members", [{"BillingMode": "PAY_PER_REQUEST"}, {"DeletionProtectionEnabled": False}]
)
def test_what_is_so_already_is_no_change(members: dict[str, object]) -> None:
    request = parse_update_table({"TableName": "orders", **members})

    assert request.definition(made(), now=NOW) == b""


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "At least one of ProvisionedThroughput, BillingMode, "),
        ({"AttributeDefinitions": [PK]}, "At least one of ProvisionedThroughput, "),
        ({"BillingMode": "PROVISIONED"}, "must be specified when BillingMode is PROVISIONED"),
        ({"BillingMode": "FREE"}, "[PROVISIONED, PAY_PER_REQUEST]"),
        ({"TableClass": "FREE"}, "[STANDARD, STANDARD_INFREQUENT_ACCESS]"),
        ({"ProvisionedThroughput": units(1, 10**12 + 1)}, "Given value 1000000000001 for Write"),
        ({"GlobalSecondaryIndexUpdates": [{}]}, "GlobalSecondaryIndexUpdates is not supported"),
        ({"StreamSpecification": {"StreamEnabled": True}}, "StreamSpecification is not supp"),
        ({"OnDemandThroughput": {}}, "OnDemandThroughput needs MaxReadRequestUnits, "),
        (
            {"OnDemandThroughput": {"MaxReadRequestUnits": 0}},
            "Given value 0 for MaxReadRequestUnits is out of bounds",
        ),
    ],
)
def test_bad_updates_are_refused(members: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        parse_update_table({"TableName": "orders", **members})

    assert message in str(caught.value)


def test_updates_that_do_not_go_with_the_table_are_refused() -> None:
    request = parse_update_table({"TableName": "orders", "ProvisionedThroughput": units(5, 6)})

    with pytest.raises(ValidationError, match="Neither ReadCapacityUnits nor WriteCapacity"):
        request.definition(made(), now=NOW)
    with pytest.raises(ValidationError) as caught:
        request.definition(provisioned(5, 6), now=NOW)
    assert str(caught.value) == (
        "The provisioned throughput for the table will not change. The requested value equals the "
        "current value. Current ReadCapacityUnits provisioned for the table: 5. Requested "
        "ReadCapacityUnits: 5. Current WriteCapacityUnits provisioned for the table: 6. Requested "
        "WriteCapacityUnits: 6. Refer to the Amazon DynamoDB Developer Guide for current limits "
        "and how to request higher limits."
    )


def test_protected_table_cannot_be_deleted() -> None:
    request = parse_delete_table({"TableName": "orders"})

    request.check(made())
    with pytest.raises(ValidationError, match="protected against deletion"):
        request.check(made(DeletionProtectionEnabled=True))


def test_describe_takes_a_name_or_an_arn() -> None:
    arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders"

    assert parse_describe_table({"TableName": arn}).table_name == "orders"
    assert parse_describe_table({"TableName": "orders"}).response({"TableName": "orders"}) == (
        b'{"Table":{"TableName":"orders"}}'
    )


def test_maximum_of_a_table_on_demand_is_kept_shown_and_taken_away() -> None:
    table = made(OnDemandThroughput={"MaxWriteRequestUnits": 50})
    assert (table.limit_units(reads=True), table.limit_units(reads=False)) == (None, 50.0)
    shown = describe_table(table, status="ACTIVE", now=NOW)
    assert shown["OnDemandThroughput"] == {"MaxWriteRequestUnits": 50}

    table = updated(
        table, OnDemandThroughput={"MaxReadRequestUnits": 9, "MaxWriteRequestUnits": -1}
    )
    assert (table.limit_units(reads=True), table.limit_units(reads=False)) == (9.0, None)

    table = updated(table, BillingMode="PROVISIONED", ProvisionedThroughput=units(3, 4))
    assert (table.limit_units(reads=True), table.limit_units(reads=False)) == (3.0, 4.0)
    assert "OnDemandThroughput" not in describe_table(table, status="ACTIVE", now=NOW)


def test_maximum_goes_with_on_demand_only() -> None:
    with pytest.raises(ValidationError, match="only when BillingMode is PAY_PER_REQUEST"):
        made(
            BillingMode=None,
            ProvisionedThroughput=units(1, 1),
            OnDemandThroughput={"MaxReadRequestUnits": 1},
        )
    request = parse_update_table(
        {"TableName": "orders", "OnDemandThroughput": {"MaxReadRequestUnits": 1}}
    )
    with pytest.raises(ValidationError, match="only when BillingMode is PAY_PER_REQUEST"):
        request.definition(provisioned(1, 1), now=NOW)
