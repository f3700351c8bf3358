"""Key conditions: the partition key equals a value, and perhaps one condition on the sort key.

Source: Developer Guide, "Key condition expressions for the Query operation".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from model.errors import ValidationError
from model.expressions.comparison import type_of
from model.expressions.condition_parser import ConditionParser
from model.expressions.sentences import (
    QUERY_KEY_MISSING,
    QUERY_NOT_SUPPORTED,
    QUERY_OPERATOR_UNFIT,
    QUERY_TOO_MANY,
    QUERY_TYPE,
    Sentence,
    bad_expression,
)
from model.expressions.tree import (
    And,
    AttributeValue,
    Between,
    Call,
    Comparison,
    ConditionNode,
    In,
    Not,
    Operand,
    Or,
    Path,
    Value,
)
from model.expressions.value_checks import ValueCheck, condition_checks

KEY_CONDITION_LABEL: Final = "KeyConditionExpression"

_INDEXABLE: Final = frozenset({"=", "<", "<=", ">", ">=", "BETWEEN", "begins_with"})
_MIRRORED: Final = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


class Schema(Protocol):
    """The part of a table's key schema that a key condition needs; see model.keys.KeySchema."""

    @property
    def partition_name(self) -> str:
        """Name of the partition key."""
        ...

    @property
    def partition_type(self) -> str:
        """Its type: S, N or B."""
        ...

    @property
    def sort_name(self) -> str | None:
        """Name of the sort key, None if the table has none."""
        ...

    @property
    def sort_type(self) -> str | None:
        """Its type."""
        ...


@dataclass(frozen=True, slots=True)
class SortCondition:
    """A condition on the sort key.

    The operator is one of = < <= > >= BETWEEN begins_with; BETWEEN has two values, low and high.
    """

    operator: str
    values: tuple[AttributeValue, ...]


@dataclass(frozen=True, slots=True)
class KeyCondition:
    """What a Query asks of the keys, with the request's values filled in."""

    partition_value: AttributeValue
    sort: SortCondition | None


@dataclass(frozen=True, slots=True)
class _Term:
    """One condition on one attribute; the values are placeholders."""

    name: str
    operator: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyConditionShape:
    """A parsed key condition of one or two terms; the table and the values are yet to come."""

    terms: tuple[_Term, ...]
    checks: tuple[ValueCheck, ...] = ()
    used_names: tuple[str, ...] = ()
    value_names: tuple[str, ...] = ()

    def bind(self, schema: Schema, values: Mapping[str, AttributeValue]) -> KeyCondition:
        """Fit the condition to a table. Raises ValidationError if it does not."""
        terms = {term.name: term for term in self.terms}
        if schema.sort_name is None and len(terms) > 1:
            raise ValidationError(QUERY_NOT_SUPPORTED)
        partition = terms.pop(schema.partition_name, None)
        if partition is None:
            raise ValidationError(QUERY_KEY_MISSING.format(name=schema.partition_name))
        partition_value = _typed(partition, values, schema.partition_type)[0]
        if partition.operator != "=":
            raise ValidationError(QUERY_NOT_SUPPORTED)
        if not terms:
            return KeyCondition(partition_value, None)
        assert schema.sort_name is not None
        assert schema.sort_type is not None
        sort = terms.get(schema.sort_name)
        if sort is None:
            raise ValidationError(QUERY_KEY_MISSING.format(name=schema.sort_name))
        condition = SortCondition(sort.operator, _typed(sort, values, schema.sort_type))
        return KeyCondition(partition_value, condition)


def parse_key_condition(text: str, names: Mapping[str, str]) -> KeyConditionShape:
    """Parse a KeyConditionExpression. Raises ValidationError."""
    parser = ConditionParser(text, names, KEY_CONDITION_LABEL)
    root = parser.parse()
    terms = tuple(_term(node) for node in _conjuncts(root))
    if len({term.name for term in terms}) != len(terms):
        raise _refused(Sentence.KEY_TWICE)
    if len(terms) > 2:
        raise ValidationError(QUERY_TOO_MANY)
    return KeyConditionShape(
        terms, condition_checks(root), tuple(parser.used_names), tuple(parser.values)
    )


def legacy_key_condition(
    terms: Iterable[tuple[str, str, tuple[str, ...]]],
) -> KeyConditionShape:
    """Return the shape of KeyConditions: (attribute, operator, placeholders) of one or two terms.

    Operators are an expression's where there is one; others are refused when the table is known.
    """
    return KeyConditionShape(tuple(_Term(*term) for term in terms))


def _typed(
    term: _Term, values: Mapping[str, AttributeValue], type_name: str
) -> tuple[AttributeValue, ...]:
    if term.operator not in _INDEXABLE:
        raise ValidationError(QUERY_OPERATOR_UNFIT)
    found = tuple(values[name] for name in term.values)
    if any(type_of(value) != type_name for value in found):
        raise ValidationError(QUERY_TYPE)
    return found


def _conjuncts(root: ConditionNode) -> list[ConditionNode]:
    """Flatten nested ANDs, from left to right, without recursion."""
    pending: list[ConditionNode] = [root]
    flat: list[ConditionNode] = []
    while pending:
        node = pending.pop()
        if isinstance(node, And):
            pending.extend(reversed(node.conditions))
        else:
            flat.append(node)
    return flat


def _term(node: ConditionNode) -> _Term:
    match node:
        case Comparison() if node.operator != "<>":
            if isinstance(node.left, Value) and isinstance(node.right, Path):
                return _build(_MIRRORED[node.operator], node.right, node.left)
            return _build(node.operator, node.left, node.right)
        case Between():
            return _build("BETWEEN", node.operand, node.low, node.high)
        case Call(function="begins_with"):
            return _build("begins_with", *node.operands)
        case _:
            raise _misused(_operator_of(node))


def _operator_of(node: ConditionNode) -> str:
    """Name what a key condition may not have."""
    match node:
        case Comparison():
            return node.operator
        case Call():
            return node.function
        case In() | Not() | Or():
            return type(node).__name__.upper()
        case _:
            raise AssertionError(node)


def _build(operator: str, first: Operand, *others: Operand) -> _Term:
    for operand in (first, *others):
        if isinstance(operand, Call):
            raise _misused(operand.function)
    paths = [operand for operand in (first, *others) if isinstance(operand, Path)]
    if not paths:
        raise _refused(Sentence.KEY_NO_NAME)
    if len(paths) > 1:
        raise _refused(Sentence.KEY_MANY_NAMES)
    if paths[0] is not first:
        raise _refused(Sentence.KEY_FIRST, operator=operator)
    if paths[0].rest:
        raise _refused(Sentence.KEY_NESTED)
    placeholders = tuple(operand.name for operand in others if isinstance(operand, Value))
    return _Term(paths[0].name, operator, placeholders)


def _misused(operator: str) -> ValidationError:
    if operator == "size":
        return _refused(Sentence.KEY_SIZE)
    return _refused(Sentence.KEY_OPERATOR, operator=operator)


def _refused(sentence: Sentence, **facts: object) -> ValidationError:
    return bad_expression(KEY_CONDITION_LABEL, sentence, **facts)
