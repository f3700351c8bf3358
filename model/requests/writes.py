"""PutItem, DeleteItem, UpdateItem: what to send to the leader, and how to answer.

A put or delete without condition and return values is *plain*: its image alone says everything.
Anything else travels with a program (model.program), which the leader evaluates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from model.capacity import consumed_capacity
from model.errors import Sentence, ValidationError, invalid
from model.expressions import (
    Update,
    check_unused,
    check_update_keys,
    compile_condition,
    compile_update,
)
from model.image import encode_image
from model.keys import item_storage_key, storage_key
from model.members import (
    CONDITIONAL_OPERATOR,
    RETURN_CONSUMED_CAPACITY,
    RETURN_ITEM_COLLECTION_METRICS,
    RETURN_ON_FAILURE,
    RETURN_VALUES,
    TABLE_NAME,
    Body,
    Member,
    check_members,
    first_fault,
    map_of,
    name_map,
    string,
    structure,
    table_name_of,
    text_of,
)
from model.program import Program, encode_program
from model.requests.legacy import check_attribute_updates, check_condition_map, without_legacy
from model.requests.placeholders import Placeholders, placeholders_of
from model.shapes import check_attribute_map
from model.tables import Table
from model.values import check_item_size, measure_item

EMPTY_RESPONSE: Final = b"{}"

_EVERY_WRITE: Final[dict[str, Member]] = {
    "TableName": TABLE_NAME,
    "ConditionExpression": string(),
    "ExpressionAttributeNames": name_map(),
    "ExpressionAttributeValues": structure(check_attribute_map),
    "ReturnValues": RETURN_VALUES,
    "ReturnConsumedCapacity": RETURN_CONSUMED_CAPACITY,
    "ReturnItemCollectionMetrics": RETURN_ITEM_COLLECTION_METRICS,
    "ReturnValuesOnConditionCheckFailure": RETURN_ON_FAILURE,
    "Expected": structure(check_condition_map),
    "ConditionalOperator": CONDITIONAL_OPERATOR,
}

PUT_ITEM: Final[Mapping[str, Member]] = {
    "Item": structure(check_attribute_map, required=True),
    **_EVERY_WRITE,
}
DELETE_ITEM: Final[Mapping[str, Member]] = {
    "Key": structure(check_attribute_map, required=True),
    **_EVERY_WRITE,
}
UPDATE_ITEM: Final[Mapping[str, Member]] = {
    "Key": structure(check_attribute_map, required=True),
    "UpdateExpression": string(),
    "AttributeUpdates": structure(check_attribute_updates),
    **_EVERY_WRITE,
}


@dataclass(slots=True)
class Write:
    """What the leader gets: at `key` put `image` (empty: delete), or what `program` makes of it."""

    key: bytes
    image: bytes
    program: bytes


@dataclass(slots=True)
class Conditions:
    """The expressions of one write, checked, with what they refer to."""

    placeholders: Placeholders
    condition_text: str | None
    update_text: str | None
    update: Update | None


_NO_CONDITIONS: Final = Conditions(Placeholders(None, None), None, None, None)


@dataclass(slots=True)
class WriteRequest:
    """What the three writes have in common."""

    table_name: str
    return_values: str | None
    capacity_mode: str | None
    return_on_failure: str | None
    conditions: Conditions | None

    def response(self, table: Table, units: int, returned: bytes) -> bytes:
        """Return the JSON response; `returned` is the JSON of the attributes, empty for none."""
        if not returned and self.capacity_mode is None:
            return EMPTY_RESPONSE
        document: dict[str, object] = {}
        if returned:
            document["Attributes"] = orjson.Fragment(returned)
        capacity = consumed_capacity(table.name, units, self.capacity_mode)
        if capacity is not None:
            document["ConsumedCapacity"] = capacity
        return orjson.dumps(document)

    @property
    def is_plain(self) -> bool:
        """Whether the image alone says everything, unless this is an update."""
        return self.conditions is None and self.return_values in {None, "NONE"}

    def program(self, kind: str, key: dict[str, object] | None = None) -> bytes:
        """Return the encoded program; `key` is that of an update."""
        conditions = self.conditions or _NO_CONDITIONS
        return encode_program(
            Program(
                kind=kind,
                condition=conditions.condition_text,
                update=conditions.update_text,
                names=conditions.placeholders.names,
                values=conditions.placeholders.values,
                return_values=self.return_values or "NONE",
                return_old_on_failure=self.return_on_failure == "ALL_OLD",
                key=key,
            )
        )


@dataclass(slots=True)
class PutItem(WriteRequest):
    """A checked PutItem."""

    item: dict[str, object]
    size_bytes: int

    def bind(self, table: Table) -> Write:
        """Return what to send; raises ValidationError if the item lacks a fitting key."""
        key = item_storage_key(table.id, table.schema, self.item)
        program = b"" if self.is_plain else self.program("put")
        return Write(key, encode_image(self.item, self.size_bytes), program)


@dataclass(slots=True)
class DeleteItem(WriteRequest):
    """A checked DeleteItem."""

    key: dict[str, object]

    def bind(self, table: Table) -> Write:
        """Return what to send; raises ValidationError if the key does not fit."""
        key = storage_key(table.id, table.schema, self.key)
        program = b"" if self.is_plain else self.program("delete")
        return Write(key, b"", program)


@dataclass(slots=True)
class UpdateItem(WriteRequest):
    """A checked UpdateItem; it is never plain, as its image depends on the old one."""

    key: dict[str, object]

    def bind(self, table: Table) -> Write:
        """Return what to send; raises ValidationError if the key does not fit or is updated."""
        key = storage_key(table.id, table.schema, self.key)
        if self.conditions is not None and self.conditions.update is not None:
            check_update_keys(self.conditions.update, table.schema.names)
        return Write(key, b"", self.program("update", self.key))


def parse_put_item(body: object) -> PutItem:
    """Check a PutItem body; raises SerializationFailed or ValidationError."""
    checked = check_members(body, PUT_ITEM)
    try:
        item = map_of(checked, "Item")
        size_bytes = measure_item(item)
        return_values = _old_or_none(checked)
        check_item_size(size_bytes)
        conditions = _conditions(without_legacy(checked), PUT_ITEM)
    except ValidationError as fault:
        raise first_fault(checked, PUT_ITEM, fault) from None
    return PutItem(*_common(checked, return_values, conditions), item, size_bytes)


def parse_delete_item(body: object) -> DeleteItem:
    """Check a DeleteItem body; raises SerializationFailed or ValidationError."""
    checked = check_members(body, DELETE_ITEM)
    try:
        key = map_of(checked, "Key")
        measure_item(key)
        return_values = _old_or_none(checked)
        conditions = _conditions(without_legacy(checked), DELETE_ITEM)
    except ValidationError as fault:
        raise first_fault(checked, DELETE_ITEM, fault) from None
    return DeleteItem(*_common(checked, return_values, conditions), key)


def parse_update_item(body: object) -> UpdateItem:
    """Check an UpdateItem body; raises SerializationFailed or ValidationError."""
    checked = check_members(body, UPDATE_ITEM)
    try:
        key = map_of(checked, "Key")
        measure_item(key)
        conditions = _conditions(without_legacy(checked), UPDATE_ITEM)
    except ValidationError as fault:
        raise first_fault(checked, UPDATE_ITEM, fault) from None
    return_values = text_of(checked, "ReturnValues")
    return UpdateItem(*_common(checked, return_values, conditions), key)


def _old_or_none(body: Body) -> str | None:
    """Return ReturnValues of a put or delete."""
    return_values = text_of(body, "ReturnValues")
    if return_values not in {None, "NONE", "ALL_OLD"}:
        raise invalid(Sentence.RETURN_VALUES_OLD_ONLY)
    return return_values


def _common(
    body: Body, return_values: str | None, conditions: Conditions | None
) -> tuple[str, str | None, str | None, str | None, Conditions | None]:
    """Return the fields of a WriteRequest."""
    return (
        table_name_of(text_of(body, "TableName") or ""),
        return_values,
        text_of(body, "ReturnConsumedCapacity"),
        text_of(body, "ReturnValuesOnConditionCheckFailure"),
        conditions,
    )


def _conditions(body: Body, members: Mapping[str, Member]) -> Conditions | None:
    """Check the expressions of a write; None if it has none."""
    if _EXPRESSION_MEMBERS.isdisjoint(body):
        return None
    texts = {name: text_of(body, name) for name in _EXPRESSIONS if name in members}
    placeholders = placeholders_of(body, texts)
    names, values = placeholders.names, placeholders.values
    update_text, condition_text = texts.get("UpdateExpression"), texts["ConditionExpression"]
    update = condition = None
    if update_text is not None:
        update = compile_update(update_text, names, values)
    if condition_text is not None:
        condition = compile_condition(condition_text, names, values)
    check_unused(names, values, (update, condition))
    if update is None and condition is None:
        return None
    return Conditions(placeholders, condition_text, update_text, update)


_EXPRESSIONS: Final = ("UpdateExpression", "ConditionExpression")

_EXPRESSION_MEMBERS: Final = frozenset(
    {*_EXPRESSIONS, "ExpressionAttributeNames", "ExpressionAttributeValues"}
)
