"""CreateTable, UpdateTable, DescribeTable, ListTables, DeleteTable; see model.tables for tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import orjson

from model.errors import ValidationError, invalid
from model.limits import (
    KEY_NAME_LENGTH_MAX,
    LIST_TABLES_MAX,
    TABLE_NAME_LENGTH_MAX,
    TABLE_NAME_LENGTH_MIN,
    THROUGHPUT_UNITS_MAX,
)
from model.members import (
    TABLE_NAME,
    TABLE_NAME_PATTERN,
    VIOLATIONS_MAX,
    Body,
    Member,
    Members,
    Violation,
    boolean,
    check_members,
    integer,
    is_empty,
    length_violations,
    member_violations,
    optional_map_of,
    path_of,
    string,
    table_name_of,
    text_of,
    unsupported,
)
from model.sentences import Sentence
from model.shapes import (
    BOOLEAN,
    ELEMENT,
    LIST,
    LONG,
    STRING,
    STRUCTURE,
    check_list,
    check_map,
    check_type,
)
from model.tables import NO_MAXIMUM, PAY_PER_REQUEST, PROVISIONED, Table, next_throughput

_KEY_NAME: Final = Member(shape=STRING, required=True, length_min=1, length_max=KEY_NAME_LENGTH_MAX)
_DEFINITION: Final = {
    "AttributeName": _KEY_NAME,
    "AttributeType": Member(shape=STRING, required=True, values=("B", "N", "S")),
}
_KEY_ELEMENT: Final = {
    "AttributeName": _KEY_NAME,
    "KeyType": Member(shape=STRING, required=True, values=("HASH", "RANGE")),
}
_STREAM: Final = {
    "StreamEnabled": Member(shape=BOOLEAN, required=True),
    "StreamViewType": string("NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES", "KEYS_ONLY"),
}
_UNITS: Final = Member(shape=LONG, required=True, value_min=1)
_THROUGHPUT: Final = {"WriteCapacityUnits": _UNITS, "ReadCapacityUnits": _UNITS}
_MAXIMA: Final = ("MaxReadRequestUnits", "MaxWriteRequestUnits")


def _check_structures(value: object) -> None:
    """Check the JSON types of a list of structures whose members are strings."""
    for structure in check_list(value, ELEMENT):
        check_map(structure, STRING)


def _definitions_violations(path: str, value: object) -> list[Violation]:
    return _list_violations(path, value, _DEFINITION)


def _key_schema_violations(path: str, value: object) -> list[Violation]:
    assert isinstance(value, list)
    violations = length_violations(path, value, 1, 2)
    return violations + _list_violations(path, value, _KEY_ELEMENT)


def _list_violations(path: str, value: object, members: Mapping[str, Member]) -> list[Violation]:
    assert isinstance(value, list)
    violations: list[Violation] = []
    for position, structure in enumerate(value, start=1):
        given = structure if isinstance(structure, dict) else {}
        violations.extend(_violations(f"{path}.{position}.member", given, members))
        if len(violations) >= VIOLATIONS_MAX:  # no more are shown, and the list may be long
            break
    return violations


def _throughput_violations(path: str, value: object) -> list[Violation]:
    assert isinstance(value, dict)
    return _violations(path, value, _THROUGHPUT)


def _violations(
    path: str, given: dict[str, object], members: Mapping[str, Member]
) -> list[Violation]:
    return [
        violation
        for name, member in members.items()
        for violation in member_violations(f"{path}.{path_of(name)}", given.get(name), member)
    ]


def _check_throughput(value: object) -> None:
    """Check the JSON types in ProvisionedThroughput."""
    check_type(value, STRUCTURE)
    assert isinstance(value, dict)
    for name in _THROUGHPUT:
        check_type(value.get(name), LONG)


def _check_maxima(value: object) -> None:
    """Check the JSON types in OnDemandThroughput."""
    check_type(value, STRUCTURE)
    assert isinstance(value, dict)
    for name in _MAXIMA:
        check_type(value.get(name), LONG)


def _check_stream(value: object) -> None:
    """Check the JSON types in StreamSpecification."""
    check_type(value, STRUCTURE)
    assert isinstance(value, dict)
    check_type(value.get("StreamEnabled"), BOOLEAN)
    check_type(value.get("StreamViewType"), STRING)


def _stream_violations(path: str, value: object) -> list[Violation]:
    assert isinstance(value, dict)
    return _violations(path, value, _STREAM)


def _is_off(flag: str) -> Member:
    """Return an unsupported structure that is harmless while its flag is not set."""
    return unsupported(STRUCTURE, lambda value: isinstance(value, dict) and not value.get(flag))


_STREAM_MEMBER: Final = replace(
    _is_off("StreamEnabled"), check_outline=_check_stream, violations_inside=_stream_violations
)
_DEFINITIONS_MEMBER: Final = Member(
    shape=LIST, check_outline=_check_structures, violations_inside=_definitions_violations
)
_KEY_SCHEMA_MEMBER: Final = Member(
    shape=LIST, check_outline=_check_structures, violations_inside=_key_schema_violations
)
_THROUGHPUT_MEMBER: Final = Member(
    shape=STRUCTURE, check_outline=_check_throughput, violations_inside=_throughput_violations
)
_ON_DEMAND_MEMBER: Final = Member(shape=STRUCTURE, check_outline=_check_maxima)
_BILLING_MODE: Final = string(PROVISIONED, PAY_PER_REQUEST)
_TABLE_CLASS: Final = string("STANDARD", "STANDARD_INFREQUENT_ACCESS")

CREATE_TABLE: Final = Members(
    {
        "AttributeDefinitions": _DEFINITIONS_MEMBER,
        "TableName": TABLE_NAME,
        "BillingMode": _BILLING_MODE,
        "ProvisionedThroughput": _THROUGHPUT_MEMBER,
        "KeySchema": _KEY_SCHEMA_MEMBER,
        "DeletionProtectionEnabled": boolean(),
        "TableClass": _TABLE_CLASS,
        "LocalSecondaryIndexes": unsupported(LIST, is_empty),
        "GlobalSecondaryIndexes": unsupported(LIST, is_empty),
        "VectorIndexes": unsupported(LIST, is_empty),
        "Tags": unsupported(LIST, is_empty),
        "StreamSpecification": _STREAM_MEMBER,
        "SSESpecification": _is_off("Enabled"),
        "WarmThroughput": unsupported(STRUCTURE, is_empty),
        "OnDemandThroughput": _ON_DEMAND_MEMBER,
        "ResourcePolicy": unsupported(STRING, is_empty),
        "GlobalTableSourceArn": unsupported(STRING),
        "GlobalTableSettingsReplicationMode": unsupported(STRING),
    },
    control=True,
)
UPDATE_TABLE: Final = Members(
    {
        # Only an index can need another attribute; AWS drops those that nothing needs.
        "AttributeDefinitions": _DEFINITIONS_MEMBER,
        "TableName": TABLE_NAME,
        "BillingMode": _BILLING_MODE,
        "ProvisionedThroughput": _THROUGHPUT_MEMBER,
        "DeletionProtectionEnabled": boolean(),
        "TableClass": _TABLE_CLASS,
        "GlobalSecondaryIndexUpdates": unsupported(LIST, is_empty),
        "VectorIndexUpdates": unsupported(LIST, is_empty),
        "ReplicaUpdates": unsupported(LIST),
        "GlobalTableWitnessUpdates": unsupported(LIST),
        "StreamSpecification": unsupported(STRUCTURE),
        "SSESpecification": unsupported(STRUCTURE),
        "WarmThroughput": unsupported(STRUCTURE),
        "OnDemandThroughput": _ON_DEMAND_MEMBER,
        "MultiRegionConsistency": unsupported(STRING),
        "GlobalTableSettingsReplicationMode": unsupported(STRING),
        "DisassociationProtectionEnabled": unsupported(BOOLEAN),
    },
    control=True,
)
ONE_TABLE: Final = Members({"TableName": TABLE_NAME}, control=True)
LIST_TABLES: Final = Members(
    {
        "Limit": integer(1, LIST_TABLES_MAX),
        "ExclusiveStartTableName": Member(
            shape=STRING,
            length_min=TABLE_NAME_LENGTH_MIN,
            length_max=TABLE_NAME_LENGTH_MAX,
            pattern=TABLE_NAME_PATTERN,
        ),
    },
    control=True,
)


@dataclass(slots=True, kw_only=True)
class CreateTable:
    """A checked CreateTable."""

    table_name: str
    attribute_definitions: list[dict[str, object]]
    key_schema: list[dict[str, object]]
    billing_mode: str
    read_units: int
    write_units: int
    deletion_protected: bool
    table_class: str | None
    maxima: dict[str, int] | None  # OnDemandThroughput

    def definition(self, *, created_at: float, table_uuid: str) -> bytes:
        """Return what the catalog keeps: JSON bytes, for `model.tables.load_table`.

        `created_at` is in seconds since the epoch; `table_uuid` is the TableId that callers see.
        """
        definition: dict[str, object] = {
            "TableName": self.table_name,
            "TableId": table_uuid,
            "CreationDateTime": created_at,
            "AttributeDefinitions": self.attribute_definitions,
            "KeySchema": self.key_schema,
            "BillingMode": self.billing_mode,
            "ProvisionedThroughput": {
                "ReadCapacityUnits": self.read_units,
                "WriteCapacityUnits": self.write_units,
            },
            "DeletionProtectionEnabled": self.deletion_protected,
        }
        if self.billing_mode == PAY_PER_REQUEST:
            definition["LastUpdateToPayPerRequestDateTime"] = created_at
        if self.maxima is not None:
            definition["OnDemandThroughput"] = self.maxima
        if self.table_class is not None:
            definition["TableClass"] = self.table_class
        return orjson.dumps(definition)


@dataclass(slots=True, kw_only=True)
class UpdateTable:
    """A checked UpdateTable; None is what it does not ask for."""

    table_name: str
    billing_mode: str | None
    units: tuple[int, int] | None  # read, write
    deletion_protected: bool | None
    table_class: str | None
    maxima: dict[str, int] | None  # OnDemandThroughput

    def definition(self, table: Table, *, now: float) -> bytes:
        """Return the next definition of a table, empty if nothing changes.

        `now` is in seconds since the epoch. Raises ValidationError if the throughput does not go
        with the billing mode, or is what the table has.
        """
        changed = dict(table.definition)
        billing_mode = self.billing_mode or table.definition["BillingMode"]
        if billing_mode == PAY_PER_REQUEST:
            if self.units is not None:
                raise invalid(Sentence.THROUGHPUT_FORBIDDEN)
            changed["ProvisionedThroughput"] = {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0}
            if table.is_provisioned:
                changed["LastUpdateToPayPerRequestDateTime"] = now
            if self.maxima is not None:
                changed["OnDemandThroughput"] = {**table.on_demand_maxima, **self.maxima}
        elif self.maxima is not None:
            raise invalid(Sentence.MAXIMA_FORBIDDEN)
        elif self.units is not None:
            changed["ProvisionedThroughput"] = next_throughput(table, self.units, now=now)
        changed["BillingMode"] = billing_mode
        if billing_mode == PROVISIONED:
            changed.pop("OnDemandThroughput", None)
        if self.deletion_protected is not None:
            changed["DeletionProtectionEnabled"] = self.deletion_protected
        if self.table_class is not None:
            changed["TableClass"] = self.table_class
        return b"" if changed == table.definition else orjson.dumps(changed)


@dataclass(slots=True)
class DescribeTable:
    """A checked DescribeTable."""

    table_name: str

    def response(self, description: dict[str, object]) -> bytes:
        """Return the JSON response; `description` is `model.tables.describe_table`'s."""
        return orjson.dumps({"Table": description})


@dataclass(slots=True)
class DeleteTable:
    """A checked DeleteTable."""

    table_name: str

    def check(self, table: Table) -> None:
        """Raise ValidationError if the table is protected against deletion."""
        if table.is_deletion_protected:
            raise invalid(Sentence.DELETION_PROTECTED)


@dataclass(slots=True)
class ListTables:
    """A checked ListTables."""

    start_name: str | None
    limit: int

    def response(self, names: Iterable[str]) -> bytes:
        """Return one page of all tables' names, in any order given."""
        after = sorted(name for name in names if self.start_name is None or name > self.start_name)
        document: dict[str, object] = {"TableNames": after[: self.limit]}
        if len(after) > self.limit:
            document["LastEvaluatedTableName"] = after[self.limit - 1]
        return orjson.dumps(document)


def parse_create_table(body: object) -> CreateTable:
    """Check a CreateTable body; raises SerializationFailed or ValidationError."""
    checked = check_members(body, CREATE_TABLE)
    billing_mode = text_of(checked, "BillingMode") or PROVISIONED
    read_units, write_units = _throughput(checked, billing_mode)
    maxima = _maxima(checked)
    if maxima is not None and billing_mode == PROVISIONED:
        raise invalid(Sentence.MAXIMA_FORBIDDEN)
    definitions = _structures(checked, "AttributeDefinitions", Sentence.DEFINITIONS_MISSING)
    elements = _structures(checked, "KeySchema", Sentence.KEY_SCHEMA_MISSING)
    _check_key_schema(elements, definitions)
    for name in ("LocalSecondaryIndexes", "GlobalSecondaryIndexes"):
        if checked.get(name) is not None:
            raise invalid(Sentence.INDEX_LIST_EMPTY, name=name)
    stream = optional_map_of(checked, "StreamSpecification")
    if stream is not None and stream.get("StreamViewType") is not None:
        raise invalid(Sentence.STREAM_VIEW_OF_NONE)
    return CreateTable(
        table_name=table_name_of(text_of(checked, "TableName") or ""),
        attribute_definitions=[_only(definition, _DEFINITION) for definition in definitions],
        key_schema=[_only(element, _KEY_ELEMENT) for element in elements],
        billing_mode=billing_mode,
        read_units=read_units,
        write_units=write_units,
        deletion_protected=checked.get("DeletionProtectionEnabled") is True,
        table_class=text_of(checked, "TableClass"),
        maxima=maxima,
    )


def parse_update_table(body: object) -> UpdateTable:
    """Check an UpdateTable body; raises SerializationFailed or ValidationError."""
    checked = check_members(body, UPDATE_TABLE)
    billing_mode = text_of(checked, "BillingMode")
    throughput = optional_map_of(checked, "ProvisionedThroughput")
    protected = checked.get("DeletionProtectionEnabled")
    table_class = text_of(checked, "TableClass")
    maxima = _maxima(checked)
    asked = (billing_mode, throughput, protected, table_class, maxima)
    if all(given is None for given in asked):
        raise invalid(Sentence.NOTHING_TO_UPDATE)
    if billing_mode == PROVISIONED and throughput is None:
        raise invalid(Sentence.THROUGHPUT_NEEDED)
    return UpdateTable(
        table_name=table_name_of(text_of(checked, "TableName") or ""),
        billing_mode=billing_mode,
        units=None if throughput is None else _both_units(throughput),
        deletion_protected=protected if isinstance(protected, bool) else None,
        table_class=table_class,
        maxima=maxima,
    )


def parse_describe_table(body: object) -> DescribeTable:
    """Check a DescribeTable body; raises SerializationFailed or ValidationError."""
    checked = check_members(body, ONE_TABLE)
    return DescribeTable(table_name_of(text_of(checked, "TableName") or ""))


def parse_delete_table(body: object) -> DeleteTable:
    """Check a DeleteTable body; raises SerializationFailed or ValidationError."""
    checked = check_members(body, ONE_TABLE)
    return DeleteTable(table_name_of(text_of(checked, "TableName") or ""))


def parse_list_tables(body: object) -> ListTables:
    """Check a ListTables body; raises SerializationFailed or ValidationError."""
    checked = check_members(body, LIST_TABLES)
    limit = checked.get("Limit")
    return ListTables(
        text_of(checked, "ExclusiveStartTableName"),
        limit if isinstance(limit, int) else LIST_TABLES_MAX,
    )


def changed_response(description: dict[str, object]) -> bytes:
    """Return the JSON response of CreateTable, UpdateTable and DeleteTable."""
    return orjson.dumps({"TableDescription": description})


def _structures(body: Body, name: str, absent: Sentence) -> list[dict[str, object]]:
    given = body.get(name)
    if not isinstance(given, list):
        raise invalid(absent)
    return [structure for structure in given if isinstance(structure, dict)]


def _only(structure: Mapping[str, object], members: Mapping[str, Member]) -> dict[str, object]:
    return {name: structure[name] for name in members}


def _throughput(body: Body, billing_mode: str) -> tuple[int, int]:
    """Return (read, write) units; (0, 0) for an on-demand table."""
    given = optional_map_of(body, "ProvisionedThroughput")
    if billing_mode == PAY_PER_REQUEST:
        if given is not None:
            raise invalid(Sentence.THROUGHPUT_FORBIDDEN)
        return 0, 0
    if given is None:
        raise invalid(Sentence.THROUGHPUT_MISSING)
    return _both_units(given)


def _both_units(given: dict[str, object]) -> tuple[int, int]:
    return _units(given, "ReadCapacityUnits"), _units(given, "WriteCapacityUnits")


def _units(given: dict[str, object], name: str) -> int:
    value = given[name]
    assert isinstance(value, int)
    if value > THROUGHPUT_UNITS_MAX:
        raise invalid(Sentence.THROUGHPUT_TOO_LARGE, value=value, name=name)
    return value


def _maxima(body: Body) -> dict[str, int] | None:
    """Return the OnDemandThroughput that is asked for, with at least one maximum in it."""
    given = optional_map_of(body, "OnDemandThroughput")
    if given is None:
        return None
    maxima: dict[str, int] = {}
    for name in _MAXIMA:
        units = given.get(name)
        if isinstance(units, int):
            if units != NO_MAXIMUM and not 1 <= units <= THROUGHPUT_UNITS_MAX:
                raise invalid(Sentence.THROUGHPUT_TOO_LARGE, value=units, name=name)
            maxima[name] = units
    if not maxima:
        raise invalid(Sentence.MAXIMA_MISSING)
    return maxima


def _check_key_schema(
    elements: list[dict[str, object]], definitions: list[dict[str, object]]
) -> None:
    """Check that the key schema is one partition key and perhaps a sort key, both defined."""
    names = [str(element["AttributeName"]) for element in elements]
    defined = [str(definition["AttributeName"]) for definition in definitions]
    if len(names) > len(defined):
        raise invalid(Sentence.KEY_SCHEMA_TOO_LONG)
    if any(name not in defined for name in names):
        raise _undefined(names, defined)
    if len(set(names)) != len(names):
        raise invalid(Sentence.KEY_SCHEMA_SAME_NAME)
    if elements[0]["KeyType"] != "HASH":
        raise invalid(Sentence.KEY_SCHEMA_FIRST)
    if len(elements) > 1 and elements[1]["KeyType"] != "RANGE":
        raise invalid(Sentence.KEY_SCHEMA_SECOND)
    if len(set(defined)) != len(defined):
        raise invalid(Sentence.DEFINITIONS_DUPLICATE)
    if len(names) != len(defined):
        raise invalid(Sentence.KEY_SCHEMA_COUNT)


def _undefined(names: list[str], defined: list[str]) -> ValidationError:
    shown = ", ".join(defined[:VIOLATIONS_MAX])
    return invalid(Sentence.KEY_SCHEMA_UNDEFINED, keys=", ".join(names), definitions=shown)
