"""The operations on tables."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from quorate.client.caller import Caller
from quorate.client.requests import check_text
from quorate.values import ValueRefused, shown


class TableOperations(Caller):
    """Create, describe, change, list and delete tables."""

    async def create_table(
        self,
        table_name: str,
        *,
        partition_key: tuple[str, str],
        sort_key: tuple[str, str] | None = None,
        read_capacity_units: int | None = None,
        write_capacity_units: int | None = None,
        deletion_protection_enabled: bool = False,
        deadline_seconds: float | None = None,
    ) -> dict[str, Any]:
        """Create a table and return its TableDescription. Raises ResourceInUse if it exists.

        A key is (attribute name, type), the type being "S", "N" or "B". Without capacity units
        the table is PAY_PER_REQUEST.
        """
        keys = [("HASH", _name_and_type(partition_key, "partition_key"))]
        if sort_key is not None:
            keys.append(("RANGE", _name_and_type(sort_key, "sort_key")))
        body: dict[str, Any] = {
            "TableName": table_name,
            "KeySchema": [{"AttributeName": name, "KeyType": kind} for kind, (name, _) in keys],
            "AttributeDefinitions": [
                {"AttributeName": name, "AttributeType": attribute_type}
                for _, (name, attribute_type) in keys
            ],
            "BillingMode": "PAY_PER_REQUEST",
        }
        if read_capacity_units is not None or write_capacity_units is not None:
            body["BillingMode"] = "PROVISIONED"
            body["ProvisionedThroughput"] = {
                "ReadCapacityUnits": read_capacity_units or 1,
                "WriteCapacityUnits": write_capacity_units or 1,
            }
        if deletion_protection_enabled:
            body["DeletionProtectionEnabled"] = True
        response = await self.execute("CreateTable", body, deadline_seconds=deadline_seconds)
        description: dict[str, Any] = response["TableDescription"]
        return description

    async def update_table(
        self,
        table_name: str,
        *,
        billing_mode: str | None = None,
        read_capacity_units: int | None = None,
        write_capacity_units: int | None = None,
        max_read_request_units: int | None = None,
        max_write_request_units: int | None = None,
        deletion_protection_enabled: bool | None = None,
        deadline_seconds: float | None = None,
    ) -> dict[str, Any]:
        """Change a table and return its new TableDescription. Raises ResourceNotFound.

        `billing_mode` is "PROVISIONED", with both capacity units, or "PAY_PER_REQUEST", for which
        there may be maxima (-1: none). The new limits hold on every router within seconds.
        """
        body: dict[str, Any] = {"TableName": table_name}
        if billing_mode is not None:
            body["BillingMode"] = billing_mode
        provisioned = {
            "ReadCapacityUnits": read_capacity_units,
            "WriteCapacityUnits": write_capacity_units,
        }
        maxima = {
            "MaxReadRequestUnits": max_read_request_units,
            "MaxWriteRequestUnits": max_write_request_units,
        }
        for name, units in (("ProvisionedThroughput", provisioned), ("OnDemandThroughput", maxima)):
            given = {member: value for member, value in units.items() if value is not None}
            if given:
                body[name] = given
        if deletion_protection_enabled is not None:
            body["DeletionProtectionEnabled"] = deletion_protection_enabled
        response = await self.execute("UpdateTable", body, deadline_seconds=deadline_seconds)
        description: dict[str, Any] = response["TableDescription"]
        return description

    async def describe_table(
        self, table_name: str, *, deadline_seconds: float | None = None
    ) -> dict[str, Any]:
        """Return a table's TableDescription. Raises ResourceNotFound."""
        response = await self.execute(
            "DescribeTable", {"TableName": table_name}, deadline_seconds=deadline_seconds
        )
        description: dict[str, Any] = response["Table"]
        return description

    async def list_tables(
        self,
        *,
        exclusive_start_table_name: str | None = None,
        limit: int | None = None,
        deadline_seconds: float | None = None,
    ) -> tuple[list[str], str | None]:
        """Return a page of table names, and the last one if there are more pages."""
        body: dict[str, Any] = {}
        if exclusive_start_table_name is not None:
            body["ExclusiveStartTableName"] = exclusive_start_table_name
        if limit is not None:
            body["Limit"] = limit
        response = await self.execute("ListTables", body, deadline_seconds=deadline_seconds)
        return response["TableNames"], response.get("LastEvaluatedTableName")

    async def table_names(self) -> AsyncIterator[str]:
        """Yield the names of all tables."""
        last: str | None = None
        while True:
            names, last = await self.list_tables(exclusive_start_table_name=last)
            for name in names:
                yield name
            if last is None:
                return

    async def delete_table(
        self, table_name: str, *, deadline_seconds: float | None = None
    ) -> dict[str, Any]:
        """Delete a table with all its items and return its last TableDescription."""
        response = await self.execute(
            "DeleteTable", {"TableName": table_name}, deadline_seconds=deadline_seconds
        )
        description: dict[str, Any] = response["TableDescription"]
        return description


def _name_and_type(key: object, place: str) -> tuple[str, str]:
    if not isinstance(key, tuple | list) or len(key) != 2:
        raise ValueRefused(f"(attribute name, type) is wanted, not {shown(key)}", place)
    name, attribute_type = key
    return check_text(name, place), check_text(attribute_type, place)
