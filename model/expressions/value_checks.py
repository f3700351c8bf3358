"""Checks of a request's values against the expression that uses them.

They depend on the values, so they run once per request, while the compiled expression is shared.
"""

import operator
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from model.errors import ValidationError
from model.expressions.comparison import ordered, type_of
from model.expressions.sentences import Sentence, bad_expression
from model.expressions.tree import (
    Action,
    AddAction,
    Arithmetic,
    AttributeValue,
    Between,
    Call,
    Comparison,
    DeleteAction,
    Node,
    Operand,
    SetAction,
    Value,
    post_order,
)

TYPES: Final = frozenset({"S", "N", "B", "SS", "NS", "BS", "L", "M", "BOOL", "NULL"})

_ORDERED: Final = frozenset({"S", "N", "B"})
_TEXTUAL: Final = frozenset({"S", "B"})
_CONTAINERS: Final = frozenset({"S", "B", "SS", "NS", "BS", "L"})
_SIZED: Final = _CONTAINERS | {"M"}
_SETS: Final = frozenset({"SS", "NS", "BS"})

_LONG_NAMES: Final = {
    "S": "STRING",
    "N": "NUMBER",
    "B": "BINARY",
    "SS": "STRING_SET",
    "NS": "NUMBER_SET",
    "BS": "BINARY_SET",
    "L": "LIST",
    "M": "MAP",
    "BOOL": "BOOLEAN",
    "NULL": "NULL",
}


class ValueCheck(Protocol):
    """One thing that a request's values must satisfy."""

    def find_problem(
        self, label: str, values: Mapping[str, AttributeValue]
    ) -> ValidationError | None:
        """Return the error, or None if all is well."""
        ...


@dataclass(frozen=True, slots=True)
class OperandTypeCheck:
    """A placeholder's type must be one that the operator or function takes."""

    operator: str
    value: str
    types: frozenset[str]

    def find_problem(
        self, label: str, values: Mapping[str, AttributeValue]
    ) -> ValidationError | None:
        """See ValueCheck."""
        kind = type_of(values[self.value])
        if kind in self.types:
            return None
        return bad_expression(label, Sentence.OPERAND_TYPE, operator=self.operator, type=kind)


@dataclass(frozen=True, slots=True)
class ActionTypeCheck:
    """The operand of ADD or DELETE must be a number or a set."""

    action: str
    value: str
    types: frozenset[str]

    def find_problem(
        self, label: str, values: Mapping[str, AttributeValue]
    ) -> ValidationError | None:
        """See ValueCheck."""
        kind = type_of(values[self.value])
        if kind in self.types:
            return None
        return bad_expression(
            label, Sentence.ACTION_OPERAND_TYPE, action=self.action, type=_LONG_NAMES[kind]
        )


@dataclass(frozen=True, slots=True)
class TypeNameCheck:
    """The second operand of attribute_type must name a type."""

    value: str

    def find_problem(
        self, label: str, values: Mapping[str, AttributeValue]
    ) -> ValidationError | None:
        """See ValueCheck."""
        value = values[self.value]
        if "S" not in value:
            return bad_expression(
                label, Sentence.OPERAND_TYPE, operator="attribute_type", type=type_of(value)
            )
        if value["S"] in TYPES:
            return None
        return bad_expression(label, Sentence.TYPE_NAME, type=value["S"])


@dataclass(frozen=True, slots=True)
class BoundsCheck:
    """Two literal bounds of a BETWEEN must have one type and be in order."""

    low: str
    high: str

    def find_problem(
        self, label: str, values: Mapping[str, AttributeValue]
    ) -> ValidationError | None:
        """See ValueCheck."""
        low, high = values[self.low], values[self.high]
        if type_of(low) != type_of(high):
            sentence = Sentence.BETWEEN_TYPES
        elif not ordered(low, high, operator.le):
            sentence = Sentence.BETWEEN_ORDER
        else:
            return None
        return bad_expression(label, sentence, low=_show(low), high=_show(high))


def condition_checks(root: Node) -> tuple[ValueCheck, ...]:
    """List what a condition's values must satisfy, in the order of the text."""
    return tuple(check for node in post_order(root) for check in _checks_of(node))


def update_checks(actions: Iterable[Action]) -> tuple[ValueCheck, ...]:
    """List what an update's values must satisfy, in the order of the text."""
    checks: list[ValueCheck] = []
    for action in actions:
        match action:
            case SetAction():
                for node in post_order(action.value):
                    checks.extend(_checks_of(node))
            case AddAction():
                checks.append(ActionTypeCheck("ADD", action.value.name, _SETS | {"N"}))
            case DeleteAction():
                checks.append(ActionTypeCheck("DELETE", action.value.name, _SETS))
            case _:
                pass
    return tuple(checks)


def _checks_of(node: Node) -> Iterator[ValueCheck]:
    match node:
        case Comparison() if node.operator not in {"=", "<>"}:
            yield from _types(node.operator, (node.left, node.right), _ORDERED)
        case Between():
            yield from _types("BETWEEN", (node.operand, node.low, node.high), _ORDERED)
            if isinstance(node.low, Value) and isinstance(node.high, Value):
                yield BoundsCheck(node.low.name, node.high.name)
        case Arithmetic():
            yield from _types(node.operator, (node.left, node.right), frozenset({"N"}))
        case Call(function="begins_with"):
            yield from _types("begins_with", node.operands, _TEXTUAL)
        case Call(function="contains"):
            yield from _types("contains", node.operands[:1], _CONTAINERS)
        case Call(function="size"):
            yield from _types("size", node.operands, _SIZED)
        case Call(function="list_append"):
            yield from _types("list_append", node.operands, frozenset({"L"}))
        case Call(function="attribute_type", operands=(_, Value(name=name))):
            yield TypeNameCheck(name)
        case _:
            return


def _types(
    operator_name: str, operands: Iterable[Operand], types: frozenset[str]
) -> Iterator[ValueCheck]:
    for operand in operands:
        if isinstance(operand, Value):
            yield OperandTypeCheck(operator_name, operand.name, types)


def _show(value: AttributeValue) -> str:
    kind = type_of(value)
    return f"AttributeValue: {{{kind}:{value[kind]}}}"
