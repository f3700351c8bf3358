"""PutItem, DeleteItem, UpdateItem: what to send to the leader, and how to answer.

A put or delete without condition and return values is *plain*: its image alone says everything.
Anything else travels with a program (model.program), which the leader evaluates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import orjson

from model.capacity import consumed_capacity
from model.errors import ModelError, ValidationError, as_write_says, invalid
from model.expressions import (
    Condition,
    Update,
    check_key_paths,
    check_unused,
    check_update_keys,
    compile_condition,
    compile_update,
)
from model.expressions.sentences import OPERAND_DATA_TYPE
from model.image import encode_image
from model.keys import KeySchema, item_storage_key, storage_key
from model.members import (
    CONDITIONAL_OPERATOR,
    RETURN_CONSUMED_CAPACITY,
    RETURN_ITEM_COLLECTION_METRICS,
    RETURN_ON_FAILURE,
    RETURN_VALUES,
    TABLE_NAME,
    TABLE_NAME_ALONE,
    Body,
    Member,
    Members,
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
from model.requests import parameters
from model.requests.legacy import ATTRIBUTE_UPDATES, EXPECTED, without_legacy
from model.requests.parameters import check_together
from model.requests.placeholders import Placeholders, placeholders_of
from model.sentences import Sentence
from model.shapes import check_attribute_map
from model.tables import Table
from model.values import check_item_size, measure_item

EMPTY_RESPONSE: Final = b"{}"

_KEY: Final = structure(check_attribute_map, required=True)
_EXPECTED: Final[dict[str, Member]] = {
    "ConditionalOperator": CONDITIONAL_OPERATOR,
    "Expected": EXPECTED,
}
_EXPRESSIONS: Final[dict[str, Member]] = {
    "ConditionExpression": string(),
    "ExpressionAttributeNames": name_map(),
    "ExpressionAttributeValues": structure(check_attribute_map),
    "ReturnValuesOnConditionCheckFailure": RETURN_ON_FAILURE,
}

PUT_ITEM: Final = Members(
    {
        "ReturnConsumedCapacity": RETURN_CONSUMED_CAPACITY,
        "TableName": TABLE_NAME_ALONE,
        "Item": structure(check_attribute_map, required=True),
        **_EXPECTED,
        "ReturnValues": RETURN_VALUES,
        "ReturnItemCollectionMetrics": RETURN_ITEM_COLLECTION_METRICS,
        **_EXPRESSIONS,
    }
)
DELETE_ITEM: Final = Members(
    {
        "ReturnConsumedCapacity": RETURN_CONSUMED_CAPACITY,
        "TableName": TABLE_NAME,
        "Key": _KEY,
        **_EXPECTED,
        "ReturnValues": RETURN_VALUES,
        "ReturnItemCollectionMetrics": RETURN_ITEM_COLLECTION_METRICS,
        **_EXPRESSIONS,
    }
)
UPDATE_ITEM: Final = Members(
    {
        "TableName": TABLE_NAME_ALONE,
        "ReturnValues": replace(RETURN_VALUES, alone=True),
        "ReturnConsumedCapacity": RETURN_CONSUMED_CAPACITY,
        "ReturnItemCollectionMetrics": RETURN_ITEM_COLLECTION_METRICS,
        "Key": _KEY,
        **_EXPECTED,
        "AttributeUpdates": ATTRIBUTE_UPDATES,
        "UpdateExpression": string(),
        **_EXPRESSIONS,
    }
)


@dataclass(slots=True)
class Write:
    """What the leader gets: at `key` put `image` (empty: delete), or what `program` makes of it.

    The image is made when it is asked for: a write that is refused needs none.
    """

    key: bytes
    program: bytes = b""
    item: dict[str, object] | None = None
    size_bytes: int = 0
    made_image: bytes | None = None

    @property
    def image(self) -> bytes:
        """Return the image of the item that the write brings, empty for none."""
        if self.made_image is not None:
            return self.made_image
        return b"" if self.item is None else encode_image(self.item, self.size_bytes)

    def pack(self) -> dict[str, object] | None:
        """Make the image now, where that holds nobody up, and give up the item, if there is one."""
        self.made_image = self.image
        item, self.item = self.item, None
        return item


@dataclass(slots=True)
class Conditions:
    """The expressions of one write, checked, with what they refer to."""

    placeholders: Placeholders
    condition_text: str | None = None
    condition: Condition | None = None
    update_text: str | None = None
    update: Update | None = None

    def check_keys(self, schema: KeySchema) -> None:
        """Raise ValidationError if an expression does what it must not with a key attribute."""
        names = schema.names
        if self.update is not None:
            check_update_keys(self.update, names)
        check_key_paths((self.update, self.condition), names)


_NO_CONDITIONS: Final = Conditions(Placeholders(None, None))


@dataclass(slots=True)
class WriteRequest:
    """What the three writes have in common."""

    table_name: str
    return_values: str | None
    capacity_mode: str | None
    return_on_failure: str | None
    conditions: Conditions | None

    def check_keys(self, schema: KeySchema) -> None:
        """Raise ValidationError if an expression does what it must not with a key attribute."""
        if self.conditions is not None:
            self.conditions.check_keys(schema)

    def explain(self, error: ModelError) -> ModelError:
        """Return the error that the caller gets for one that ended the write."""
        return error

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

    def pack(self) -> None:
        """Forget what is needed no longer once this was bound."""

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
        self.check_keys(table.schema)
        program = b"" if self.is_plain else self.program("put")
        return Write(key, program, self.item, self.size_bytes)

    def pack(self) -> None:
        """Forget the item, which was bound."""
        self.item = {}


@dataclass(slots=True)
class DeleteItem(WriteRequest):
    """A checked DeleteItem."""

    key: dict[str, object]

    def bind(self, table: Table) -> Write:
        """Return what to send; raises ValidationError if the key does not fit."""
        key = storage_key(table.id, table.schema, self.key)
        self.check_keys(table.schema)
        program = b"" if self.is_plain else self.program("delete")
        return Write(key, program)


@dataclass(slots=True)
class UpdateItem(WriteRequest):
    """A checked UpdateItem; it is never plain, as its image depends on the old one."""

    key: dict[str, object]
    is_legacy: bool  # has AttributeUpdates

    def bind(self, table: Table) -> Write:
        """Return what to send; raises ValidationError if the key does not fit or is updated."""
        key = storage_key(table.id, table.schema, self.key)
        self.check_keys(table.schema)
        return Write(key, self.program("update", self.key))

    def explain(self, error: ModelError) -> ModelError:
        """AttributeUpdates have a sentence of their own for a type that does not fit."""
        if self.is_legacy and error.message == OPERAND_DATA_TYPE:
            return invalid(Sentence.UPDATE_TYPE_MISMATCH)
        return error


def parse_put_item(body: object) -> PutItem:
    """Check a PutItem body; raises SerializationFailed or ValidationError."""
    checked = check_members(body, PUT_ITEM)
    try:
        check_together(checked, parameters.PUT)
        item = map_of(checked, "Item")
        size_bytes = measure_item(item)
        return_values = _old_or_none(checked)
        check_item_size(size_bytes)
        conditions = _conditions(without_legacy(checked))
    except ValidationError as fault:
        raise first_fault(checked, PUT_ITEM, as_write_says(fault)) from None
    return PutItem(*_common(checked, return_values, conditions), item, size_bytes)


def parse_delete_item(body: object) -> DeleteItem:
    """Check a DeleteItem body; raises SerializationFailed or ValidationError."""
    checked = check_members(body, DELETE_ITEM)
    try:
        check_together(checked, parameters.DELETE)
        key = map_of(checked, "Key")
        measure_item(key)
        return_values = _old_or_none(checked)
        conditions = _conditions(without_legacy(checked))
    except ValidationError as fault:
        raise first_fault(checked, DELETE_ITEM, fault) from None
    return DeleteItem(*_common(checked, return_values, conditions), key)


def parse_update_item(body: object) -> UpdateItem:
    """Check an UpdateItem body; raises SerializationFailed or ValidationError."""
    checked = check_members(body, UPDATE_ITEM)
    try:
        check_together(checked, parameters.UPDATE)
        key = map_of(checked, "Key")
        measure_item(key)
        conditions = _conditions(without_legacy(checked))
    except ValidationError as fault:
        raise first_fault(checked, UPDATE_ITEM, as_write_says(fault)) from None
    return_values = text_of(checked, "ReturnValues")
    is_legacy = checked.get("AttributeUpdates") is not None
    return UpdateItem(*_common(checked, return_values, conditions), key, is_legacy)


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


def _conditions(body: Body) -> Conditions | None:
    """Check the expressions of a write; None if it has none."""
    if _EXPRESSION_MEMBERS.isdisjoint(body):
        return None
    update_text = text_of(body, "UpdateExpression")
    condition_text = text_of(body, "ConditionExpression")
    if update_text is None and condition_text is None:
        return None
    placeholders = placeholders_of(body)
    names, values = placeholders.names, placeholders.values
    update = condition = None
    if update_text is not None:
        update = compile_update(update_text, names, values)
    if condition_text is not None:
        condition = compile_condition(condition_text, names, values)
    check_unused(names, values, (update, condition))
    return Conditions(placeholders, condition_text, condition, update_text, update)


_EXPRESSION_MEMBERS: Final = frozenset({"UpdateExpression", "ConditionExpression"})
