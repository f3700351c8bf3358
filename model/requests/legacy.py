"""Legacy parameters, from before expressions: translated into the expressions that mean the same.

Expected, AttributeUpdates, KeyConditions, QueryFilter, ScanFilter, AttributesToGet and
ConditionalOperator leave the request here; what follows sees expressions only. Placeholders are
`#0`, `:0`, ...; the values are checked here, so that a refusal does not speak of placeholders.

Source: Developer Guide, "Legacy conditional parameters".
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from model.errors import invalid
from model.expressions import KeyConditionShape, legacy_key_condition
from model.expressions.comparison import ordered, type_of
from model.limits import ECHO_LENGTH_MAX
from model.members import VIOLATIONS_MAX, Body, Member, Violation, member_violations, path_of
from model.sentences import Sentence
from model.shapes import (
    BOOLEAN,
    ELEMENT,
    STRING,
    STRUCTURE,
    check_attribute_map,
    check_list,
    check_map,
    check_type,
)
from model.values import measure_value

_CONDITIONS: Final = {
    "Expected": "ConditionExpression",
    "QueryFilter": "FilterExpression",
    "ScanFilter": "FilterExpression",
}
_TRANSLATED: Final = frozenset(
    {*_CONDITIONS, "AttributesToGet", "AttributeUpdates", "ConditionalOperator"}
)

_OPERATORS: Final = (
    "IN", "NULL", "BETWEEN", "LT", "NOT_CONTAINS", "EQ", "GT", "NOT_NULL", "NE", "LE",
    "BEGINS_WITH", "GE", "CONTAINS",
)  # fmt: skip
_OPERATOR: Final = Member(shape=STRING, values=_OPERATORS)
_OPERATOR_REQUIRED: Final = Member(shape=STRING, values=_OPERATORS, required=True)
_ACTION: Final = Member(shape=STRING, values=("ADD", "DELETE", "PUT"))

_COMPARISONS: Final = {"EQ": "=", "NE": "<>", "LE": "<=", "LT": "<", "GE": ">=", "GT": ">"}
_KEY_OPERATORS: Final = {**_COMPARISONS, "BETWEEN": "BETWEEN", "BEGINS_WITH": "begins_with"}
_OPERAND_COUNTS: Final = {"BETWEEN": 2, "NOT_NULL": 0, "NULL": 0}
_OPERAND_TYPES: Final = {
    **dict.fromkeys(("LE", "LT", "GE", "GT", "BETWEEN", "IN"), frozenset({"S", "N", "B"})),
    **dict.fromkeys(("CONTAINS", "NOT_CONTAINS"), frozenset({"S", "N", "B", "BOOL", "NULL"})),
    "BEGINS_WITH": frozenset({"S", "B"}),
}
_SETS: Final = frozenset({"SS", "NS", "BS"})
_ADDABLE: Final = _SETS | {"N", "L"}


def check_condition_map(value: object) -> None:
    """Check the JSON types in Expected, KeyConditions, QueryFilter or ScanFilter."""
    for condition in check_map(value, ELEMENT).values():
        assert isinstance(condition, dict)
        check_type(condition.get("ComparisonOperator"), STRING)
        check_type(condition.get("Exists"), BOOLEAN)
        check_attribute_map({"": condition.get("Value")})
        check_list(condition.get("AttributeValueList"), ELEMENT)
        check_attribute_map(dict(enumerate(condition.get("AttributeValueList") or ())))


def check_attribute_updates(value: object) -> None:
    """Check the JSON types in AttributeUpdates."""
    for update in check_map(value, ELEMENT).values():
        assert isinstance(update, dict)
        check_type(update.get("Action"), STRING)
        check_attribute_map({"": update.get("Value")})


def check_names(value: object) -> None:
    """Check the JSON types in AttributesToGet."""
    check_list(value, STRING)


def _constrained(name: str, member: Member, check_inside: Callable[[object], object]) -> Member:
    """Return a member that is a map of structures, of which the member `name` is constrained."""

    def violations(path: str, value: object) -> list[Violation]:
        found: list[Violation] = []
        for attribute, given in check_map(value, ELEMENT).items():
            assert isinstance(given, dict)
            member_path = f"{path}.{attribute}.member.{path_of(name)}"
            found.extend(member_violations(member_path, given.get(name), member))
            if len(found) >= VIOLATIONS_MAX:  # no more are shown, and the map may be large
                break
        return found

    return Member(
        shape=STRUCTURE,
        check_inside=check_inside,
        check_outline=check_inside,
        violations_inside=violations,
    )


EXPECTED: Final = _constrained("ComparisonOperator", _OPERATOR, check_condition_map)
CONDITIONS: Final = _constrained("ComparisonOperator", _OPERATOR_REQUIRED, check_condition_map)
ATTRIBUTE_UPDATES: Final = _constrained("Action", _ACTION, check_attribute_updates)
"""What Expected, the filters and KeyConditions, and AttributeUpdates may be."""


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
        """Return the placeholder of a checked value."""
        placeholder = f":{len(self.values)}"
        self.values[placeholder] = value
        return placeholder


def without_legacy(body: Body) -> Body:
    """Return the request with expressions in place of legacy parameters, but for KeyConditions.

    The body itself is returned if it has none, else a copy. Raises SerializationFailed or
    ValidationError. That it has not both kinds has been checked (model.requests.parameters).
    """
    if _TRANSLATED.isdisjoint(body):
        return body
    given = {name for name in _TRANSLATED if body.get(name) is not None}
    if not given:
        return body
    translated = {name: value for name, value in body.items() if name not in _TRANSLATED}
    translation = _Translation()
    if "AttributesToGet" in given:
        translated["ProjectionExpression"] = _projection(body["AttributesToGet"], translation)
    if "AttributeUpdates" in given:
        text = _update(body["AttributeUpdates"], translation)
        if text:
            translated["UpdateExpression"] = text
    _translate_conditions(body, translated, translation)
    if translation.names:
        translated["ExpressionAttributeNames"] = translation.names
    if translation.values:
        translated["ExpressionAttributeValues"] = translation.values
    return translated


@dataclass(frozen=True, slots=True)
class LegacyKeyCondition:
    """KeyConditions, checked as far as that goes without the table."""

    shape: KeyConditionShape
    values: dict[str, dict[str, object]]


def key_condition_of(conditions: object) -> LegacyKeyCondition:
    """Check and translate KeyConditions. Raises SerializationFailed or ValidationError."""
    check_condition_map(conditions)
    translation = _Translation()
    terms: list[tuple[str, str, tuple[str, ...]]] = []
    for name, condition in check_map(conditions, ELEMENT).items():
        assert isinstance(condition, dict)
        named, operands = _operands(condition)
        placeholders = tuple(map(translation.value, operands))
        terms.append((name, _KEY_OPERATORS.get(named, named), placeholders))
    if len(terms) not in {1, 2}:
        raise invalid(Sentence.CONDITIONS_COUNT)
    values = {key: value for key, value in translation.values.items() if isinstance(value, dict)}
    return LegacyKeyCondition(legacy_key_condition(terms), values)


def _translate_conditions(body: Body, translated: Body, translation: _Translation) -> None:
    joint = body.get("ConditionalOperator")
    count = 0
    for parameter, expression in _CONDITIONS.items():
        conditions = check_map(body.get(parameter), ELEMENT)
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
            translated[expression] = f" {joint or 'AND'} ".join(texts)
    if joint is not None and count < 2:
        raise invalid(
            Sentence.CONDITIONAL_OPERATOR_ALONE if count else Sentence.CONDITIONAL_OPERATOR_ONLY
        )


def _expected(name: str, expected: dict[str, object], translation: _Translation) -> str:
    """Translate one attribute of Expected: {Value, Exists}, or a comparison."""
    value, exists = expected.get("Value"), expected.get("Exists")
    operands, named = expected.get("AttributeValueList"), expected.get("ComparisonOperator")
    if value is not None and operands is not None:
        raise invalid(Sentence.EXPECTED_VALUE_AND_LIST, name=name)
    if named is not None:
        if exists is not None:
            raise invalid(Sentence.EXPECTED_EXISTS_AND_OPERATOR, name=name)
        if value is None and operands is None and named not in {"NULL", "NOT_NULL"}:
            raise invalid(Sentence.EXPECTED_NOTHING_TO_COMPARE, operator=named, name=name)
        if value is not None:
            expected = {**expected, "AttributeValueList": [value]}
        return _comparison(name, expected, translation)
    if operands is not None:
        raise invalid(Sentence.EXPECTED_LIST_ALONE, name=name)
    if exists is False:
        if value is not None:
            raise invalid(Sentence.EXPECTED_VALUE_FORBIDDEN, name=name)
        return f"attribute_not_exists({translation.name(name)})"
    if value is None:
        shown = "null" if exists is None else "true"
        raise invalid(Sentence.EXPECTED_VALUE_MISSING, exists=shown, name=name)
    measure_value(value)
    return f"{translation.name(name)} = {translation.value(value)}"


def _comparison(name: str, condition: Mapping[str, object], translation: _Translation) -> str:
    """Translate {ComparisonOperator, AttributeValueList} on one attribute."""
    named, operands = _operands(condition)
    return _comparison_text(
        named, translation.name(name), [translation.value(operand) for operand in operands]
    )


def _operands(condition: Mapping[str, object]) -> tuple[str, list[dict[str, object]]]:
    """Return the operator of a condition, and its operands, checked."""
    named, given = condition["ComparisonOperator"], condition.get("AttributeValueList")
    assert isinstance(named, str)
    operands = [] if given is None else given
    assert isinstance(operands, list)
    for operand in operands:
        measure_value(operand)
    count = _OPERAND_COUNTS.get(named, 1)
    if len(operands) < 1 if named == "IN" else len(operands) != count:
        raise invalid(Sentence.OPERAND_COUNT, operator=named)
    kinds = [type_of(operand) for operand in operands]
    if len(set(kinds)) > 1:
        raise invalid(Sentence.OPERAND_TYPES_DIFFER)
    for kind in kinds:
        if kind not in _OPERAND_TYPES.get(named, {kind}):
            raise invalid(Sentence.OPERAND_TYPE, operator=named, kind=kind)
    if named == "BETWEEN" and not ordered(operands[0], operands[1], operator.le):
        raise invalid(Sentence.BETWEEN_REVERSED)
    return named, operands


def _comparison_text(named: str, name: str, values: list[str]) -> str:
    if named in _COMPARISONS:
        return f"{name} {_COMPARISONS[named]} {values[0]}"
    match named:
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
            assert named == "IN"
            return f"{name} IN ({', '.join(values)})"


def _update(updates: object, translation: _Translation) -> str:
    """Translate AttributeUpdates; empty for none."""
    check_attribute_updates(updates)
    sections: dict[str, list[str]] = {"SET": [], "REMOVE": [], "ADD": [], "DELETE": []}
    for name, update in check_map(updates, ELEMENT).items():
        assert isinstance(update, dict)
        action, value = update.get("Action") or "PUT", update.get("Value")
        if value is not None:
            measure_value(value)
        elif action != "DELETE":
            raise invalid(Sentence.ACTION_NEEDS_VALUE)
        section, text = _action(action, translation.name(name), value, translation)
        sections[section].append(text)
    return " ".join(f"{section} {', '.join(texts)}" for section, texts in sections.items() if texts)


def _action(
    action: str, path: str, value: dict[str, object] | None, translation: _Translation
) -> tuple[str, str]:
    """Return the section of an UpdateExpression and the text of one action."""
    if value is None:
        return "REMOVE", path
    kind = type_of(value)
    if action == "DELETE" and kind not in _SETS:
        raise invalid(Sentence.ACTION_TYPE, action="DELETE action with value", kind=kind)
    if action == "ADD" and kind not in _ADDABLE:
        raise invalid(Sentence.ACTION_TYPE, action="ADD action", kind=kind)
    operand = translation.value(value)
    if action == "ADD" and kind == "L":  # appends, which ADD of an expression does not
        empty = translation.value({"L": []})
        return "SET", f"{path} = list_append(if_not_exists({path}, {empty}), {operand})"
    return ("SET", f"{path} = {operand}") if action == "PUT" else (action, f"{path} {operand}")


def _projection(names: object, translation: _Translation) -> str:
    texts = [str(name) for name in check_list(names, STRING)]
    seen: set[str] = set()
    for name in texts:
        if name in seen:
            raise invalid(Sentence.LIST_DUPLICATES, name=name[:ECHO_LENGTH_MAX])
        seen.add(name)
    return ", ".join(translation.name(name) for name in texts)
