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

from model.errors import invalid
from model.keys import KeySchema
from model.sentences import Sentence

PROVISIONED: Final = "PROVISIONED"
PAY_PER_REQUEST: Final = "PAY_PER_REQUEST"

REGION: Final = "local"
"""The region in ARNs. Ours: a cluster is in none of Amazon's."""

DAY_SECONDS: Final = 86_400

NO_MAXIMUM: Final = -1
"""In OnDemandThroughput: no maximum. Source: API reference."""

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
    def throughput(self) -> dict[str, object]:
        """ProvisionedThroughput with its last changes, as defined."""
        throughput = self.definition["ProvisionedThroughput"]
        assert isinstance(throughput, dict)
        return throughput

    @property
    def throughput_units(self) -> tuple[int, int]:
        """Provisioned (read, write) units a second; (0, 0) for on-demand."""
        read_units = self.throughput["ReadCapacityUnits"]
        write_units = self.throughput["WriteCapacityUnits"]
        assert isinstance(read_units, int)
        assert isinstance(write_units, int)
        return read_units, write_units

    def limit_units(self, *, reads: bool) -> float | None:
        """Return the read or write units a second that the table may use, None for no limit."""
        if self.is_provisioned:
            read_units, write_units = self.throughput_units
            return float(read_units if reads else write_units)
        maxima = self.on_demand_maxima
        units = maxima.get("MaxReadRequestUnits" if reads else "MaxWriteRequestUnits", NO_MAXIMUM)
        return None if units == NO_MAXIMUM else float(units)

    @property
    def on_demand_maxima(self) -> Mapping[str, int]:
        """The OnDemandThroughput of the definition, empty if it has none."""
        maxima = self.definition.get("OnDemandThroughput", {})
        assert isinstance(maxima, dict)
        return maxima

    @property
    def is_deletion_protected(self) -> bool:
        """Whether DeleteTable must be refused."""
        return bool(self.definition["DeletionProtectionEnabled"])


def is_provisioned(definition: bytes) -> bool:
    """Return whether a table so defined has provisioned throughput, without all the rest."""
    return bool(orjson.loads(definition).get("BillingMode") == PROVISIONED)


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


def next_throughput(table: Table, units: tuple[int, int], *, now: float) -> dict[str, object]:
    """Return the ProvisionedThroughput of a definition with other (read, write) units.

    `now` is in seconds since the epoch. Raises ValidationError if the table has these units.
    """
    old, before = table.throughput, table.throughput_units
    read_units, write_units = units
    throughput = {**old, "ReadCapacityUnits": read_units, "WriteCapacityUnits": write_units}
    if not table.is_provisioned:
        return throughput
    if before == units:
        raise invalid(Sentence.THROUGHPUT_SAME, read=read_units, write=write_units)
    if read_units > before[0] or write_units > before[1]:
        throughput["LastIncreaseDateTime"] = now
    if read_units < before[0] or write_units < before[1]:
        throughput["NumberOfDecreasesToday"] = 1 + _decreases(old, now)
        throughput["LastDecreaseDateTime"] = now
    return throughput


def _decreases(throughput: Mapping[str, object], now: float) -> int:
    """Return how often the units were lowered on the UTC day of `now`."""
    last, count = throughput.get("LastDecreaseDateTime"), throughput.get("NumberOfDecreasesToday")
    if not isinstance(last, float | int) or not isinstance(count, int):
        return 0
    return count if last // DAY_SECONDS == now // DAY_SECONDS else 0


def table_arn(name: str, region: str = REGION) -> str:
    """Return the ARN of a table; the account is always 000000000000."""
    return f"arn:aws:dynamodb:{region}:000000000000:table/{name}"


def describe_table(
    table: Table,
    *,
    status: str,
    now: float,
    item_count: int = 0,
    size_bytes: int = 0,
    region: str = REGION,
) -> dict[str, object]:
    """Return the TableDescription of a table, to be put under `Table` or `TableDescription`.

    `now` is in seconds since the epoch.
    """
    definition = table.definition
    description = {name: definition[name] for name in _DESCRIBED_AS_DEFINED}
    description["TableStatus"] = status
    description["CreationDateTime"] = definition["CreationDateTime"]
    description["ProvisionedThroughput"] = {
        **table.throughput,
        "NumberOfDecreasesToday": _decreases(table.throughput, now),
    }
    on_demand_since = definition.get("LastUpdateToPayPerRequestDateTime")
    if on_demand_since is not None:  # a table that never was on-demand has no summary
        description["BillingModeSummary"] = {
            "BillingMode": definition["BillingMode"],
            "LastUpdateToPayPerRequestDateTime": on_demand_since,
        }
    if table.on_demand_maxima:
        description["OnDemandThroughput"] = table.on_demand_maxima
    if "TableClass" in definition:
        description["TableClassSummary"] = {"TableClass": definition["TableClass"]}
    description["TableSizeBytes"] = size_bytes
    description["ItemCount"] = item_count
    description["TableArn"] = table_arn(table.name, region)
    description["DeletionProtectionEnabled"] = table.is_deletion_protected
    return description
