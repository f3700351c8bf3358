"""Tables: what the catalog keeps of one, and how it is described to callers.

A table's definition is JSON bytes, made by `CreateTable.definition` (model.requests.tables) when it
is created, kept by the catalog, and read only here. The requests about tables are in
model.requests.tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from model.keys import KeySchema

PROVISIONED: Final = "PROVISIONED"
PAY_PER_REQUEST: Final = "PAY_PER_REQUEST"

_DESCRIBED_AS_DEFINED: Final = ("AttributeDefinitions", "TableName", "KeySchema", "TableId")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table as routers and nodes know it."""

    id: int
    name: str
    schema: KeySchema
    definition: Mapping[str, object]
    version: int = 0  # how often the definition was replaced

    @property
    def is_provisioned(self) -> bool:
        """Whether the table has provisioned throughput, not on-demand."""
        return self.definition["BillingMode"] == PROVISIONED

    @property
    def throughput_units(self) -> tuple[int, int]:
        """Provisioned (read, write) units a second; (0, 0) for on-demand."""
        throughput = self.definition["ProvisionedThroughput"]
        assert isinstance(throughput, dict)
        return throughput["ReadCapacityUnits"], throughput["WriteCapacityUnits"]

    @property
    def is_deletion_protected(self) -> bool:
        """Whether DeleteTable must be refused."""
        return bool(self.definition["DeletionProtectionEnabled"])


def schema_of(definition: Mapping[str, object]) -> KeySchema:
    """Return the key schema in a table's definition."""
    attributes = definition["AttributeDefinitions"]
    elements = definition["KeySchema"]
    assert isinstance(attributes, list)
    assert isinstance(elements, list)
    types = {attribute["AttributeName"]: attribute["AttributeType"] for attribute in attributes}
    names = [element["AttributeName"] for element in elements]
    partition, sort = names[0], names[1] if len(names) > 1 else None
    return KeySchema(
        partition_name=partition,
        partition_type=types[partition],
        sort_name=sort,
        sort_type=None if sort is None else types[sort],
    )


def load_table(table_id: int, name: str, definition: bytes, version: int = 0) -> Table:
    """Return the table of a catalog record."""
    document = orjson.loads(definition)
    return Table(
        id=table_id,
        name=name,
        schema=schema_of(document),
        definition=document,
        version=version,
    )


def table_arn(name: str, region: str) -> str:
    """Return the ARN of a table; the account is always 000000000000."""
    return f"arn:aws:dynamodb:{region}:000000000000:table/{name}"


def describe_table(
    table: Table, *, status: str, item_count: int, size_bytes: int, region: str = "local"
) -> dict[str, object]:
    """Return the TableDescription of a table, to be put under `Table` or `TableDescription`."""
    definition = table.definition
    description = {name: definition[name] for name in _DESCRIBED_AS_DEFINED}
    description["TableStatus"] = status
    description["CreationDateTime"] = definition["CreationDateTime"]
    read_units, write_units = table.throughput_units
    description["ProvisionedThroughput"] = {
        "NumberOfDecreasesToday": 0,
        "ReadCapacityUnits": read_units,
        "WriteCapacityUnits": write_units,
    }
    if not table.is_provisioned:
        description["BillingModeSummary"] = {
            "BillingMode": PAY_PER_REQUEST,
            "LastUpdateToPayPerRequestDateTime": definition["CreationDateTime"],
        }
    description["TableSizeBytes"] = size_bytes
    description["ItemCount"] = item_count
    description["TableArn"] = table_arn(table.name, region)
    description["DeletionProtectionEnabled"] = table.is_deletion_protected
    return description
