"""Legacy parameters as expressions: Expected, AttributeUpdates, KeyConditions and their kin.

A translation only: what comes out is compiled like any other expression, so the two ways of asking
cannot come to mean different things. Both in one request are refused before this (AWS never mixes
them), so the placeholders made here meet no others; each parameter has its own letter all the same,
as Expected and AttributeUpdates do go together.

Source: Developer Guide, "Legacy conditional parameters".
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Final

from model.errors import ModelError, Sentence, ValidationError, invalid
from model.expressions.comparison import ordered, type_of
from model.expressions.tree import AttributeValue
from model.members import constraints_broken, violation
from model.shapes import BOOLEAN, STRING, STRUCTURE, check_attribute_map, check_map, check_type
from model.values import measure_name, measure_value

_INVALID: Final = "One or more parameter values were invalid: "


@unique
class LegacySentence(StrEnum):
    """AWS's sentences about legacy parameters, with `{}` fields where they quote the request."""

    VALUE_WITH_EXISTS_FALSE = (
        _INVALID + "Value cannot be used when Exists is false for Attribute: {name}"
    )
    NO_VALUE_WITH_EXISTS = (
        _INVALID + "Value must be provided when Exists is {exists} for Attribute: {name}"
    )
    EXISTS_AND_OPERATOR = (
        _INVALID + "Exists and ComparisonOperator cannot be used together for Attribute: {name}"
    )
    VALUE_AND_LIST = (
        _INVALID + "Value and AttributeValueList cannot be used together for Attribute: {name}"
    )
    LIST_WITHOUT_OPERATOR = (
        _INVALID + "AttributeValueList can only be used with a ComparisonOperator "
        "for Attribute: {name}"
    )
    NO_LIST = (
        _INVALID + "Value or AttributeValueList must be used with ComparisonOperator: {operator} "
        "for Attribute: {name}"
    )
    ARGUMENT_COUNT = (
        _INVALID + "Invalid number of argument(s) for the {operator} ComparisonOperator"
    )
    ARGUMENT_TYPE = (
        _INVALID + "ComparisonOperator {operator} is not valid for {type} AttributeValue type"
    )
    MIXED_TYPES = _INVALID + "AttributeValues inside AttributeValueList must be of same type"
    BOUNDS = (
        "The BETWEEN condition was provided a range where the lower bound "
        "is greater than the upper bound"
    )
    OPERATOR_ALONE = "ConditionalOperator cannot be used without Filter or Expected"
    OPERATOR_FOR_ONE = (
        "ConditionalOperator can only be used when Filter or Expected has two or more elements"
    )
    NOT_INDEXABLE = "Attempted conditional constraint is not an indexable operation"
    UPDATE_WITHOUT_VALUE = (
        _INVALID + "Only DELETE action is allowed when no attribute value is specified"
    )
    ADD_TYPE = _INVALID + "ADD action is not supported for the type {type}"
    DELETE_TYPE = _INVALID + "DELETE action with value is not supported for the type {type}"


@dataclass(slots=True)
class Translation:
    """An expression with its names and values, the values validated and normalised."""

    text: str = ""
    names: dict[str, str] = field(default_factory=dict)
    values: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Operator:
    """How a ComparisonOperator reads as an expression, `{n}` the name and `{v}` the values."""

    text: str
    count_min: int = 1
    count_max: int | None = 1
    types: frozenset[str] | None = None  # None: any


_SCALARS: Final = frozenset({"S", "N", "B"})
_TEXTUAL: Final = frozenset({"S", "B"})
_SETS: Final = frozenset({"SS", "NS", "BS"})

_OPERATORS: Final = {
    "IN": _Operator("{n} IN ({v})", 1, None, _SCALARS),
    "NULL": _Operator("attribute_not_exists({n})", 0, 0),
    "BETWEEN": _Operator("{n} BETWEEN {v}", 2, 2, _SCALARS),
    "LT": _Operator("{n} < {v}", types=_SCALARS),
    # Of a missing attribute nothing is said, neither that it contains nor that it does not.
    "NOT_CONTAINS": _Operator("(attribute_exists({n}) AND NOT contains({n}, {v}))", types=_SCALARS),
    "EQ": _Operator("{n} = {v}"),
    "GT": _Operator("{n} > {v}", types=_SCALARS),
    "NOT_NULL": _Operator("attribute_exists({n})", 0, 0),
    "NE": _Operator("{n} <> {v}"),
    "LE": _Operator("{n} <= {v}", types=_SCALARS),
    "BEGINS_WITH": _Operator("begins_with({n}, {v})", types=_TEXTUAL),
    "GE": _Operator("{n} >= {v}", types=_SCALARS),
    "CONTAINS": _Operator("contains({n}, {v})", types=_SCALARS),
}
"""By name, in the order in which AWS lists them."""

_KEY_OPERATORS: Final = frozenset({"EQ", "LT", "LE", "GT", "GE", "BETWEEN", "BEGINS_WITH"})
_CONDITIONAL_OPERATORS: Final = ("OR", "AND")
_ACTIONS: Final = ("ADD", "DELETE", "PUT")


def check_conditions(value: object) -> None:
    """Check the JSON types of Expected, KeyConditions, QueryFilter or ScanFilter."""
    for condition in check_map(value, STRUCTURE).values():
        assert isinstance(condition, dict)
        check_type(condition.get("ComparisonOperator"), STRING)
        check_type(condition.get("Exists"), BOOLEAN)
        if condition.get("Value") is not None:
            check_attribute_map({"": condition["Value"]})
        if condition.get("AttributeValueList") is not None:
            check_attribute_map({"": {"L": condition["AttributeValueList"]}})


def check_attribute_updates(value: object) -> None:
    """Check the JSON types of AttributeUpdates."""
    for update in check_map(value, STRUCTURE).values():
        assert isinstance(update, dict)
        check_type(update.get("Action"), STRING)
        if update.get("Value") is not None:
            check_attribute_map({"": update["Value"]})


def legacy_condition(
    expected: Mapping[str, object] | None, conditional_operator: str | None = None
) -> Translation | None:
    """Translate Expected; None if it asks for nothing. Raises ValidationError."""
    return _conditions("expected", "e", expected, conditional_operator)


def legacy_filter(
    filters: Mapping[str, object] | None,
    conditional_operator: str | None = None,
    path: str = "queryFilter",
) -> Translation | None:
    """Translate QueryFilter or ScanFilter; None if it asks for nothing. Raises ValidationError."""
    return _conditions(path, "f", filters, conditional_operator)


def legacy_key_condition(conditions: Mapping[str, object]) -> Translation:
    """Translate KeyConditions for `compile_key_condition`. Raises ValidationError."""
    for name, condition in conditions.items():
        if _structure(condition).get("ComparisonOperator") is None:
            raise _missing_operator("keyConditions", name)
    translation = _conditions("keyConditions", "k", conditions, None)
    for condition in conditions.values():
        if _structure(condition)["ComparisonOperator"] not in _KEY_OPERATORS:
            raise _refusal(LegacySentence.NOT_INDEXABLE)
    return Translation() if translation is None else translation


def legacy_update(updates: Mapping[str, object] | None) -> Translation | None:
    """Translate AttributeUpdates; None if it asks for nothing. Raises ValidationError."""
    if not updates:
        return None
    translation = Translation()
    sections: dict[str, list[str]] = {}
    for name, update in updates.items():
        measure_name(name)
        section, text = _update_action(name, _structure(update), translation)
        sections.setdefault(section, []).append(text)
    translation.text = " ".join(f"{name} {', '.join(texts)}" for name, texts in sections.items())
    return translation


def legacy_projection(attributes: Sequence[str]) -> Translation:
    """Translate AttributesToGet, which has at least one name. Raises ValidationError."""
    translation = Translation()
    seen: set[str] = set()
    for name in attributes:
        measure_name(name)
        if name in seen:
            raise invalid(Sentence.LIST_DUPLICATES, name=name)
        seen.add(name)
        _name(translation, "p", name)
    translation.text = ", ".join(translation.names)
    return translation


def _conditions(
    path: str,
    letter: str,
    conditions: Mapping[str, object] | None,
    conditional_operator: str | None,
) -> Translation | None:
    joiner = conditional_operator or "AND"
    if joiner not in _CONDITIONAL_OPERATORS:
        raise _not_in("conditionalOperator", joiner, _CONDITIONAL_OPERATORS)
    if not conditions:
        if conditional_operator is not None:
            raise _refusal(LegacySentence.OPERATOR_ALONE)
        return None
    translation = Translation()
    texts: list[str] = []
    for name, condition in conditions.items():
        measure_name(name)
        chosen, values = _comparison(path, name, _structure(condition))
        _check_arguments(chosen, values)
        placeholder = _name(translation, letter, name)
        shown = [_value(translation, letter, value) for value in values]
        separator = " AND " if chosen == "BETWEEN" else ", "
        texts.append(_OPERATORS[chosen].text.format(n=placeholder, v=separator.join(shown)))
    if conditional_operator is not None and len(texts) == 1:
        raise _refusal(LegacySentence.OPERATOR_FOR_ONE)
    translation.text = f" {joiner} ".join(texts)
    return translation


def _comparison(
    path: str, name: str, condition: Mapping[str, object]
) -> tuple[str, list[AttributeValue]]:
    """Return operator and values of one condition, whichever way it is put."""
    value, listed = condition.get("Value"), condition.get("AttributeValueList")
    chosen, exists = condition.get("ComparisonOperator"), condition.get("Exists")
    if chosen is None:
        return _existence(name, exists, value, listed)
    if chosen not in _OPERATORS:
        raise _not_in(f"{path}.{name}.member.comparisonOperator", chosen, tuple(_OPERATORS))
    if exists is not None:
        raise _refusal(LegacySentence.EXISTS_AND_OPERATOR, name=name)
    if value is not None and listed is not None:
        raise _refusal(LegacySentence.VALUE_AND_LIST, name=name)
    if value is not None:
        values = [_checked(value)]
    elif isinstance(listed, list):
        values = [_checked(element) for element in listed]
    elif _OPERATORS[str(chosen)].count_min:
        raise _refusal(LegacySentence.NO_LIST, operator=chosen, name=name)
    else:
        values = []
    return str(chosen), values


def _existence(
    name: str, exists: object, value: object, listed: object
) -> tuple[str, list[AttributeValue]]:
    """Read the oldest form: Value and Exists, without an operator."""
    if listed is not None:
        raise _refusal(LegacySentence.LIST_WITHOUT_OPERATOR, name=name)
    if exists is False:
        if value is not None:
            raise _refusal(LegacySentence.VALUE_WITH_EXISTS_FALSE, name=name)
        return "NULL", []
    if value is None:
        shown = "null" if exists is None else "true"
        raise _refusal(LegacySentence.NO_VALUE_WITH_EXISTS, exists=shown, name=name)
    return "EQ", [_checked(value)]


def _check_arguments(chosen: str, values: Sequence[AttributeValue]) -> None:
    rule = _OPERATORS[chosen]
    if len(values) < rule.count_min or (
        rule.count_max is not None and len(values) > rule.count_max
    ):
        raise _refusal(LegacySentence.ARGUMENT_COUNT, operator=chosen)
    kinds = [type_of(value) for value in values]
    for kind in kinds:
        if rule.types is not None and kind not in rule.types:
            raise _refusal(LegacySentence.ARGUMENT_TYPE, operator=chosen, type=kind)
    if len(set(kinds)) > 1:
        raise _refusal(LegacySentence.MIXED_TYPES)
    if chosen == "BETWEEN" and not ordered(values[0], values[1], operator.le):
        raise _refusal(LegacySentence.BOUNDS)


def _update_action(
    name: str, update: Mapping[str, object], translation: Translation
) -> tuple[str, str]:
    """Return the section of an update expression and one action in it."""
    action = update.get("Action") or "PUT"
    if action not in _ACTIONS:
        raise _not_in(f"attributeUpdates.{name}.member.action", action, _ACTIONS)
    placeholder = _name(translation, "u", name)
    if update.get("Value") is None:
        if action != "DELETE":
            raise _refusal(LegacySentence.UPDATE_WITHOUT_VALUE)
        return "REMOVE", placeholder
    value = _checked(update["Value"])
    kind = type_of(value)
    if action == "DELETE" and kind not in _SETS:
        raise _refusal(LegacySentence.DELETE_TYPE, type=kind)
    if action == "ADD" and kind not in _SETS | {"N", "L"}:
        raise _refusal(LegacySentence.ADD_TYPE, type=kind)
    shown = _value(translation, "u", value)
    if action == "PUT":
        return "SET", f"{placeholder} = {shown}"
    if kind == "L":
        # The legacy ADD also appends to lists, which the expression's does not.
        empty = _value(translation, "u", {"L": []})
        start = f"if_not_exists({placeholder}, {empty})"
        return "SET", f"{placeholder} = list_append({start}, {shown})"
    return str(action), f"{placeholder} {shown}"


def _name(translation: Translation, letter: str, name: str) -> str:
    placeholder = f"#{letter}{len(translation.names)}"
    translation.names[placeholder] = name
    return placeholder


def _value(translation: Translation, letter: str, value: AttributeValue) -> str:
    placeholder = f":{letter}{len(translation.values)}"
    translation.values[placeholder] = value
    return placeholder


def _checked(value: object) -> AttributeValue:
    """Validate and normalise one attribute value."""
    measure_value(value)
    return _structure(value)


def _structure(value: object) -> AttributeValue:
    if value is None:  # a null member is an empty one
        return {}
    assert isinstance(value, dict), "JSON types are checked before (check_conditions, ...)"
    return value


def _not_in(path: str, value: object, allowed: Sequence[str]) -> ModelError:
    shown = ", ".join(allowed)
    return constraints_broken([violation(path, value, Sentence.MUST_BE_IN, values=shown)])


def _missing_operator(path: str, name: str) -> ModelError:
    place = f"{path}.{name}.member.comparisonOperator"
    return constraints_broken([violation(place, None, Sentence.MUST_NOT_BE_NULL)])


def _refusal(sentence: LegacySentence, **facts: object) -> ValidationError:
    return ValidationError(sentence.format(**facts))
