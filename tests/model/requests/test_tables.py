"""CreateTable and its kin: definitions, descriptions, refusals."""

import json

import pytest

from model.errors import ModelError, Sentence, SerializationFailed, ValidationError
from model.keys import KeySchema
from model.requests.tables import (
    created_response,
    parse_create_table,
    parse_delete_table,
    parse_describe_table,
    parse_list_tables,
)
from model.tables import Table, describe_table, load_table

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
    description = describe_table(made(), status="ACTIVE", item_count=3, size_bytes=77)

    assert json.loads(created_response(description))["TableDescription"] == {
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
    units = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6}
    table = made(BillingMode=None, ProvisionedThroughput=units)
    description = describe_table(table, status="ACTIVE", item_count=0, size_bytes=0)

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
            GlobalSecondaryIndexes=[],
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
        ("TableClass", "STANDARD_INFREQUENT_ACCESS"),
        ("WarmThroughput", {"ReadUnitsPerSecond": 1}),
        ("VectorIndexes", [{}]),
    ],
)
def test_unsupported_parameters_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=f"{name} is not supported"):
        parse_create_table(create(**{name: value}))


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
        ({"AttributeDefinitions": [PK, PK]}, Sentence.DEFINITIONS_DUPLICATE),
        (
            {"AttributeDefinitions": [PK]},
            "Some index key attributes are not defined in AttributeDefinitions. "
            "Keys: [pk, sk], AttributeDefinitions: [pk]",
        ),
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
        ({"KeySchema": [HASH, RANGE, RANGE]}, "Member must have length less than or equal to 2"),
        ({"KeySchema": [None]}, "'keySchema.1.member.attributeName'"),
        ({"KeySchema": [{**HASH, "AttributeName": "a" * 256}]}, "less than or equal to 255"),
        ({"BillingMode": "FREE"}, "[PROVISIONED, PAY_PER_REQUEST]"),
        ({"TableName": "ab"}, "Member must have length greater than or equal to 3"),
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
