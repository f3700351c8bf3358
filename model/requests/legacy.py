"""Legacy parameters, from before expressions: translated into the expressions that mean the same.

Expected, AttributeUpdates, KeyConditions, QueryFilter, ScanFilter, AttributesToGet and
ConditionalOperator leave the request here; what follows sees expressions only. Placeholders are
`#0`, `:0`, ...; the values are checked here, so that a refusal does not speak of placeholders.

Source: Developer Guide, "Legacy conditional parameters".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from model.errors import Sentence, invalid
from model.expressions import check_placeholders
from model.limits import ECHO_LENGTH_MAX
from model.members import Body
from model.shapes import (
    BOOLEAN,
    LIST,
    STRING,
    STRUCTURE,
    check_attribute_map,
    check_list,
    check_map,
    check_type,
)
from model.values import measure_value

LEGACY_PARAMETERS: Final = (
    "AttributesToGet",
    "AttributeUpdates",
    "ConditionalOperator",
    "Expected",
    "KeyConditions",
    "QueryFilter",
    "ScanFilter",
)
_LEGACY: Final = frozenset(LEGACY_PARAMETERS)
_EXPRESSIONS: Final = (
    "ProjectionExpression",
    "UpdateExpression",
    "ConditionExpression",
    "FilterExpression",
    "KeyConditionExpression",
)
_CONDITIONS: Final = {
    "Expected": "ConditionExpression",
    "QueryFilter": "FilterExpression",
    "ScanFilter": "FilterExpression",
}

_COMPARISONS: Final = {"EQ": "=", "NE": "<>", "LE": "<=", "LT": "<", "GE": ">=", "GT": ">"}
_OPERATORS: Final = (
    *_COMPARISONS, "IN", "BETWEEN", "NOT_NULL", "NULL", "CONTAINS", "NOT_CONTAINS", "BEGINS_WITH",
)  # fmt: skip
_KEY_OPERATORS: Final = frozenset({"EQ", "LE", "LT", "GE", "GT", "BETWEEN", "BEGINS_WITH"})
_OPERAND_COUNTS: Final = {"BETWEEN": 2, "NOT_NULL": 0, "NULL": 0}
_OPERAND_TYPES: Final = {
    **dict.fromkeys(("LE", "LT", "GE", "GT", "BETWEEN", "IN"), frozenset({"S", "N", "B"})),
    **dict.fromkeys(("CONTAINS", "NOT_CONTAINS"), frozenset({"S", "N", "B", "BOOL", "NULL"})),
    "BEGINS_WITH": frozenset({"S", "B"}),
}
_ACTIONS: Final = ("ADD", "PUT", "DELETE")


def check_condition_map(value: object) -> None:
    """Check the JSON types in Expected, KeyConditions, QueryFilter or ScanFilter."""
    for condition in check_map(value, STRUCTURE).values():
        assert isinstance(condition, dict)
        check_type(condition.get("ComparisonOperator"), STRING)
        check_type(condition.get("Exists"), BOOLEAN)
        check_attribute_map({"": condition.get("Value")})
        check_list(condition.get("AttributeValueList"), STRUCTURE)
        check_attribute_map(dict(enumerate(condition.get("AttributeValueList") or ())))


def check_attribute_updates(value: object) -> None:
    """Check the JSON types in AttributeUpdates."""
    for update in check_map(value, STRUCTURE).values():
        assert isinstance(update, dict)
        check_type(update.get("Action"), STRING)
        check_attribute_map({"": update.get("Value")})


def check_names(value: object) -> None:
    """Check the JSON types in AttributesToGet."""
    check_list(value, STRING)


@dataclass(slots=True)
class _Translation:
    """The placeholders made so far."""

    names: dict[str, str] = field(default_factory=dict)
    values: dict[str, object] = field(default_factory=dict)

    def name(self, text: str) -> str:
        """Return the placeholder of an attribute's name."""
        if not text:
            raise invalid(Sentence.NAME_EMPTY)
        placeholder = f"#{len(self.names)}"
        self.names[placeholder] = text
        return placeholder

    def value(self, value: object) -> str:
        """Return the placeholder of a value; raises ValidationError if it breaks a rule."""
        measure_value(value)
        placeholder = f":{len(self.values)}"
        self.values[placeholder] = value
        return placeholder


def without_legacy(body: Body) -> Body:
    """Return the request with expressions in place of legacy parameters.

    The body itself is returned if it has none, else a copy. Raises SerializationFailed or
    ValidationError, also if a request has both kinds.
    """
    if _LEGACY.isdisjoint(body):
        return body
    given = [name for name in LEGACY_PARAMETERS if body.get(name) is not None]
    if not given:
        return body
    _check_not_mixed(body, given)
    translated = {name: value for name, value in body.items() if name not in _LEGACY}
    translation = _Translation()
    _translate_conditions(body, translated, translation)
    if "AttributesToGet" in given:
        names = body["AttributesToGet"]
        translated["ProjectionExpression"] = _projection(names, translation)
    if "AttributeUpdates" in given:
        text = _update(body["AttributeUpdates"], translation)
        if text:
            translated["UpdateExpression"] = text
    if "KeyConditions" in given:
        text = _key_condition(body["KeyConditions"], translation)
        translated["KeyConditionExpression"] = text
    if translation.names:
        translated["ExpressionAttributeNames"] = translation.names
    if translation.values:
        translated["ExpressionAttributeValues"] = translation.values
    return translated


def _check_not_mixed(body: Body, given: list[str]) -> None:
    expressions = [name for name in _EXPRESSIONS if body.get(name) is not None]
    if expressions:
        raise invalid(
            Sentence.MIXED_PARAMETERS, legacy=", ".join(given), expressions=", ".join(expressions)
        )
    names, values = body.get("ExpressionAttributeNames"), body.get("ExpressionAttributeValues")
    check_placeholders(
        {} if names is not None else None,
        {} if values is not None else None,
        {"ConditionExpression": None},
    )


def _translate_conditions(body: Body, translated: Body, translation: _Translation) -> None:
    operator = body.get("ConditionalOperator")
    count = 0
    for parameter, expression in _CONDITIONS.items():
        conditions = check_map(body.get(parameter), STRUCTURE)
        check_condition_map(conditions)
        texts = [
            _expected(name, condition, translation)
            if parameter == "Expected"
            else _comparison(name, condition, translation)
            for name, condition in conditions.items()
            if isinstance(condition, dict)
        ]
        count += len(texts)
        if texts:
            translated[expression] = f" {operator or 'AND'} ".join(texts)
    if operator is not None and count < 2:
        raise invalid(
            Sentence.CONDITIONAL_OPERATOR_ALONE if count else Sentence.CONDITIONAL_OPERATOR_ONLY
        )


def _expected(name: str, expected: dict[str, object], translation: _Translation) -> str:
    """Translate one attribute of Expected: {Value, Exists}, or a comparison."""
    value, exists = expected.get("Value"), expected.get("Exists")
    if expected.get("ComparisonOperator") is not None:
        if exists is not None:
            raise invalid(Sentence.EXPECTED_EXISTS_AND_OPERATOR, name=name)
        if value is None:
            return _comparison(name, expected, translation)
        if expected.get("AttributeValueList") is not None:
            raise invalid(Sentence.EXPECTED_VALUE_AND_LIST, name=name)
        return _comparison(name, {**expected, "AttributeValueList": [value]}, translation)
    if expected.get("AttributeValueList") is not None:
        raise invalid(Sentence.EXPECTED_LIST_ALONE, name=name)
    if exists is False:
        if value is not None:
            raise invalid(Sentence.EXPECTED_VALUE_FORBIDDEN, name=name)
        return f"attribute_not_exists({translation.name(name)})"
    if value is None:
        shown = "null" if exists is None else "true"
        raise invalid(Sentence.EXPECTED_VALUE_MISSING, exists=shown, name=name)
    return f"{translation.name(name)} = {translation.value(value)}"


def _comparison(name: str, condition: Mapping[str, object], translation: _Translation) -> str:
    """Translate {ComparisonOperator, AttributeValueList} on one attribute."""
    operator = condition.get("ComparisonOperator")
    if not isinstance(operator, str) or operator not in _OPERATORS:
        raise invalid(Sentence.OPERATOR_UNKNOWN, operator=operator, name=name)
    given = condition.get("AttributeValueList")
    operands = given if isinstance(given, list) else []
    count = _OPERAND_COUNTS.get(operator, 1)
    if len(operands) < 1 if operator == "IN" else len(operands) != count:
        raise invalid(Sentence.OPERAND_COUNT, operator=operator)
    values = [translation.value(operand) for operand in operands]
    for operand in operands:
        kind = next(iter(operand))
        if kind not in _OPERAND_TYPES.get(operator, {kind}):
            raise invalid(Sentence.OPERAND_TYPE, operator=operator, kind=kind)
    return _comparison_text(operator, translation.name(name), values)


def _comparison_text(operator: str, name: str, values: list[str]) -> str:
    if operator in _COMPARISONS:
        return f"{name} {_COMPARISONS[operator]} {values[0]}"
    match operator:
        case "NULL":
            return f"attribute_not_exists({name})"
        case "NOT_NULL":
            return f"attribute_exists({name})"
        case "CONTAINS":
            return f"contains({name}, {values[0]})"
        case "NOT_CONTAINS":  # false if there is no such attribute
            return f"attribute_exists({name}) AND NOT contains({name}, {values[0]})"
        case "BEGINS_WITH":
            return f"begins_with({name}, {values[0]})"
        case "BETWEEN":
            return f"{name} BETWEEN {values[0]} AND {values[1]}"
        case _:
            assert operator == "IN"
            return f"{name} IN ({', '.join(values)})"


def _key_condition(conditions: object, translation: _Translation) -> str:
    check_condition_map(conditions)
    texts: list[str] = []
    for name, condition in check_map(conditions, STRUCTURE).items():
        assert isinstance(condition, dict)
        operator = condition.get("ComparisonOperator")
        if operator in _OPERATORS and operator not in _KEY_OPERATORS:
            raise invalid(Sentence.KEY_OPERATOR_UNFIT)
        texts.append(_comparison(name, condition, translation))
    if not texts:
        raise invalid(Sentence.NO_KEY_CONDITION)
    return " AND ".join(texts)


def _update(updates: object, translation: _Translation) -> str:
    """Translate AttributeUpdates; empty for none."""
    check_attribute_updates(updates)
    sections: dict[str, list[str]] = {"SET": [], "REMOVE": [], "ADD": [], "DELETE": []}
    for name, update in check_map(updates, STRUCTURE).items():
        assert isinstance(update, dict)
        action, value = update.get("Action") or "PUT", update.get("Value")
        if action not in _ACTIONS:
            raise invalid(Sentence.ACTION_UNKNOWN, action=action, name=name)
        path = translation.name(name)
        if value is None:
            if action != "DELETE":
                raise invalid(Sentence.ACTION_NEEDS_VALUE)
            sections["REMOVE"].append(path)
        elif action == "PUT":
            sections["SET"].append(f"{path} = {translation.value(value)}")
        else:
            sections[str(action)].append(f"{path} {translation.value(value)}")
    return " ".join(f"{section} {', '.join(texts)}" for section, texts in sections.items() if texts)


def _projection(names: object, translation: _Translation) -> str:
    check_type(names, LIST)
    texts = [str(name) for name in check_list(names, STRING)]
    if not texts:
        raise invalid(Sentence.NAMES_MISSING)
    seen: set[str] = set()
    for name in texts:
        if name in seen:
            raise invalid(Sentence.LIST_DUPLICATES, name=name[:ECHO_LENGTH_MAX])
        seen.add(name)
    return ", ".join(translation.name(name) for name in texts)
