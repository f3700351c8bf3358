"""DynamoDB's expression language: compile a text once, evaluate it many times.

An item is DynamoDB's JSON (`{"a": {"S": "x"}}`) with normalised numbers; `names` and `values` are
the request's ExpressionAttributeNames and ExpressionAttributeValues (None = not given), the values
already validated and normalised. Every refusal is a `ValidationError` with AWS's sentence.

At the router, once per request (parses from a bounded cache, then checks the request's values):

    check_placeholders(names, values) -> None
    compile_condition(text, names, values, label="ConditionExpression") -> Condition
    compile_update(text, names, values) -> Update
    compile_projection(text, names) -> Projection
    compile_key_condition(text, names, values) -> KeyConditionShape
    check_unused(names, values, (condition, update, ...)) -> None    all expressions of the request
    check_key_paths((condition, update, ...), key_names) -> None
    check_update_keys(update, key_names) -> None

At the leader, for texts that a router has checked already:

    condition_of(text, names) -> Condition
    update_of(text, names) -> Update

What they do:

    Condition.holds(item | None, values) -> bool
    Update.apply(item | None, key, values) -> dict       the new item; the old one is not touched
    Update.touched_before(item | None) -> dict           what UPDATED_OLD returns
    Update.touched_after(item) -> dict                   what UPDATED_NEW returns
    Update.may_create -> bool                            whether a missing item comes into being
    Update.top_names -> tuple[str, ...]                  top-level attributes it may change
    Projection.project(item) -> dict
    KeyConditionShape.bind(schema, values) -> KeyCondition
    KeyCondition.partition_value -> {"S": ...}; KeyCondition.sort -> SortCondition | None
    SortCondition.operator: = < <= > >= BETWEEN begins_with; .values -> (low[, high])

Absent on purpose: where an item lives, and how large it may be (see model.program).
"""

from model.expressions.compiled import (
    Compiled,
    Condition,
    check_key_paths,
    check_unused,
    compile_condition,
    compile_key_condition,
    compile_projection,
    compile_update,
    condition_of,
    update_of,
)
from model.expressions.key_condition import (
    KeyCondition,
    KeyConditionShape,
    SortCondition,
    legacy_key_condition,
)
from model.expressions.placeholders import check_placeholders
from model.expressions.projection import Projection
from model.expressions.update import Update, check_update_keys

__all__ = [
    "Compiled",
    "Condition",
    "KeyCondition",
    "KeyConditionShape",
    "Projection",
    "SortCondition",
    "Update",
    "check_key_paths",
    "check_placeholders",
    "check_unused",
    "check_update_keys",
    "compile_condition",
    "compile_key_condition",
    "compile_projection",
    "compile_update",
    "condition_of",
    "legacy_key_condition",
    "update_of",
]
