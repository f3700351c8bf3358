"""The operations on one item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from quorate.client.answers import Item, Written
from quorate.client.caller import Caller


class ItemOperations(Caller):
    """Put, get, delete and update one item."""

    async def put_item(
        self,
        table_name: str,
        item: Mapping[str, object],
        *,
        condition_expression: str | None = None,
        expression_attribute_names: Mapping[str, str] | None = None,
        expression_attribute_values: Mapping[str, object] | None = None,
        return_values: str | None = None,
        return_consumed_capacity: str | None = None,
        return_values_on_condition_check_failure: str | None = None,
        deadline_seconds: float | None = None,
        request_id: bytes | None = None,
    ) -> Written:
        """Put a whole item in the place of any that has its key.

        Raises ConditionalCheckFailed if the condition is false on the item there, whose
        attributes come along with `return_values_on_condition_check_failure="ALL_OLD"`.
        `return_values="ALL_OLD"` asks for the item replaced.
        """
        body: dict[str, Any] = {"TableName": table_name, "Item": self.encode(item, "item")}
        if condition_expression is not None:
            body["ConditionExpression"] = condition_expression
        self.add_names_and_values(body, expression_attribute_names, expression_attribute_values)
        _add_write_options(
            body, return_values, return_consumed_capacity, return_values_on_condition_check_failure
        )
        return self._written(await self.call("PutItem", body, deadline_seconds, request_id))

    async def get_item(
        self,
        table_name: str,
        key: Mapping[str, object],
        *,
        consistent_read: bool = False,
        projection_expression: str | None = None,
        expression_attribute_names: Mapping[str, str] | None = None,
        deadline_seconds: float | None = None,
    ) -> Item | None:
        """Return the item of this key, None if there is none.

        With `consistent_read` it holds every write acknowledged before the call; without, it may
        be a little older.
        """
        body: dict[str, Any] = {"TableName": table_name, "Key": self.encode(key, "key")}
        if consistent_read:
            body["ConsistentRead"] = True
        if projection_expression is not None:
            body["ProjectionExpression"] = projection_expression
        self.add_names_and_values(body, expression_attribute_names, None)
        response = orjson.loads(await self.call("GetItem", body, deadline_seconds))
        item = response.get("Item")
        return None if item is None else self.decode(item)

    async def delete_item(
        self,
        table_name: str,
        key: Mapping[str, object],
        *,
        condition_expression: str | None = None,
        expression_attribute_names: Mapping[str, str] | None = None,
        expression_attribute_values: Mapping[str, object] | None = None,
        return_values: str | None = None,
        return_consumed_capacity: str | None = None,
        return_values_on_condition_check_failure: str | None = None,
        deadline_seconds: float | None = None,
        request_id: bytes | None = None,
    ) -> Written:
        """Delete the item of this key; deleting what is not there is no error.

        Raises ConditionalCheckFailed as `put_item` does. `return_values="ALL_OLD"` asks for the
        item deleted.
        """
        body: dict[str, Any] = {"TableName": table_name, "Key": self.encode(key, "key")}
        if condition_expression is not None:
            body["ConditionExpression"] = condition_expression
        self.add_names_and_values(body, expression_attribute_names, expression_attribute_values)
        _add_write_options(
            body, return_values, return_consumed_capacity, return_values_on_condition_check_failure
        )
        return self._written(await self.call("DeleteItem", body, deadline_seconds, request_id))

    async def update_item(
        self,
        table_name: str,
        key: Mapping[str, object],
        *,
        update_expression: str | None = None,
        condition_expression: str | None = None,
        expression_attribute_names: Mapping[str, str] | None = None,
        expression_attribute_values: Mapping[str, object] | None = None,
        return_values: str | None = None,
        return_consumed_capacity: str | None = None,
        return_values_on_condition_check_failure: str | None = None,
        deadline_seconds: float | None = None,
        request_id: bytes | None = None,
    ) -> Written:
        """Change attributes of the item of this key, which comes into being if there is none.

        `ADD n :one` counts exactly once however often the call is tried again. Raises
        ConditionalCheckFailed as `put_item` does. `return_values` is "ALL_OLD", "UPDATED_OLD",
        "ALL_NEW" or "UPDATED_NEW".
        """
        body: dict[str, Any] = {"TableName": table_name, "Key": self.encode(key, "key")}
        if update_expression is not None:
            body["UpdateExpression"] = update_expression
        if condition_expression is not None:
            body["ConditionExpression"] = condition_expression
        self.add_names_and_values(body, expression_attribute_names, expression_attribute_values)
        _add_write_options(
            body, return_values, return_consumed_capacity, return_values_on_condition_check_failure
        )
        return self._written(await self.call("UpdateItem", body, deadline_seconds, request_id))

    def _written(self, response: bytes) -> Written:
        if response == b"{}":
            return _NOTHING_ASKED
        document = orjson.loads(response)
        attributes = document.get("Attributes")
        return Written(
            attributes=None if attributes is None else self.decode(attributes),
            consumed_capacity=document.get("ConsumedCapacity"),
        )


_NOTHING_ASKED = Written()


def _add_write_options(
    body: dict[str, Any],
    return_values: str | None,
    return_consumed_capacity: str | None,
    return_values_on_condition_check_failure: str | None,
) -> None:
    if return_values is not None:
        body["ReturnValues"] = return_values
    if return_consumed_capacity is not None:
        body["ReturnConsumedCapacity"] = return_consumed_capacity
    if return_values_on_condition_check_failure is not None:
        body["ReturnValuesOnConditionCheckFailure"] = return_values_on_condition_check_failure
