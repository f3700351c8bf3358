"""The doors of the expression language: compile from a cache, then check the request's values."""

from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from model.errors import ValidationError
from model.expressions.cache import ExpressionCache
from model.expressions.condition_parser import ConditionParser
from model.expressions.evaluation import Test, Values, compile_test
from model.expressions.key_condition import (
    KEY_CONDITION_LABEL,
    KeyConditionShape,
    parse_key_condition,
)
from model.expressions.operands import build_trie
from model.expressions.projection import Projection, ProjectionParser
from model.expressions.sentences import KEY_NOT_SCALAR, UNUSED, Sentence, bad_expression
from model.expressions.tree import (
    AttributeValue,
    ConditionNode,
    Item,
    nested_heads,
    paths_of,
)
from model.expressions.update import Update
from model.expressions.update_parser import UpdateParser
from model.expressions.value_checks import ValueCheck, condition_checks

CONDITION_LABEL: Final = "ConditionExpression"
UPDATE_LABEL: Final = "UpdateExpression"
PROJECTION_LABEL: Final = "ProjectionExpression"

Names = Mapping[str, str]

_NO_ITEM: Final[Item] = {}
_NOTHING: Final[dict[str, AttributeValue]] = {}
_NO_NAMES: Final[dict[str, str]] = {}


class Condition:
    """A compiled condition or filter."""

    __slots__ = ("_test", "checks", "nested", "paths", "root", "used_names", "value_names")

    def __init__(
        self, root: ConditionNode, used_names: tuple[str, ...], value_names: tuple[str, ...]
    ) -> None:
        """Take a parsed condition, and the `#names` and `:values` it used."""
        self.root = root
        self.used_names = used_names
        self.value_names = value_names
        self.paths = paths_of(root)
        self.nested = nested_heads(self.paths)
        self.checks: tuple[ValueCheck, ...] = condition_checks(root)
        self._test: Test = compile_test(root)

    def holds(self, item: Item | None, values: Values) -> bool:
        """Evaluate on one item; None is an item without attributes."""
        return self._test(_NO_ITEM if item is None else item, values)


class Compiled(Protocol):
    """What every compiled expression tells about what it used."""

    @property
    def used_names(self) -> tuple[str, ...]:
        """The `#names` in it."""
        ...

    @property
    def value_names(self) -> tuple[str, ...]:
        """The `:values` in it."""
        ...


class WithPaths(Protocol):
    """An expression that reads or writes document paths."""

    @property
    def nested(self) -> frozenset[str]:
        """The attributes that it looks into."""
        ...


class _Checkable(Compiled, Protocol):
    @property
    def checks(self) -> tuple[ValueCheck, ...]: ...


_conditions: Final[ExpressionCache[Condition]] = ExpressionCache()
_updates: Final[ExpressionCache[Update]] = ExpressionCache()
_projections: Final[ExpressionCache[Projection]] = ExpressionCache()
_key_conditions: Final[ExpressionCache[KeyConditionShape]] = ExpressionCache()


def compile_condition(
    text: str,
    names: Names | None = None,
    values: Values | None = None,
    label: str = CONDITION_LABEL,
) -> Condition:
    """Compile a condition or filter and check the values it uses. Raises ValidationError."""
    condition = condition_of(text, names, label)
    _check_values(condition, _NOTHING if values is None else values, label)
    return condition


def condition_of(text: str, names: Names | None = None, label: str = CONDITION_LABEL) -> Condition:
    """Compile a condition whose values have been checked before, such as at a router."""
    found = _NO_NAMES if names is None else names

    def compile_it() -> Condition:
        parser = ConditionParser(text, found, label)
        root = parser.parse()
        return Condition(root, tuple(parser.used_names), tuple(parser.values))

    return _conditions.get((text, label, *found.items()), _length(text, found), compile_it)


def compile_update(text: str, names: Names | None = None, values: Values | None = None) -> Update:
    """Compile an update and check the values it uses. Raises ValidationError."""
    update = update_of(text, names)
    _check_values(update, _NOTHING if values is None else values, UPDATE_LABEL)
    return update


def update_of(text: str, names: Names | None = None) -> Update:
    """Compile an update whose values have been checked before, such as at a router."""
    found = _NO_NAMES if names is None else names

    def compile_it() -> Update:
        parser = UpdateParser(text, found, UPDATE_LABEL)
        actions = parser.parse()
        trie = build_trie((action.path for action in actions), parser)
        parser.finish()
        return Update(actions, trie, tuple(parser.used_names), tuple(parser.values))

    return _updates.get((text, *found.items()), _length(text, found), compile_it)


def compile_projection(text: str, names: Names | None = None) -> Projection:
    """Compile a projection. Raises ValidationError."""
    found = _NO_NAMES if names is None else names

    def compile_it() -> Projection:
        return ProjectionParser(text, found, PROJECTION_LABEL).parse()

    return _projections.get((text, *found.items()), _length(text, found), compile_it)


def compile_key_condition(
    text: str, names: Names | None, values: Values | None
) -> KeyConditionShape:
    """Compile a key condition and check the values it uses. Raises ValidationError."""
    found = _NO_NAMES if names is None else names
    shape = _key_conditions.get(
        (text, *found.items()), _length(text, found), lambda: parse_key_condition(text, found)
    )
    _check_values(shape, _NOTHING if values is None else values, KEY_CONDITION_LABEL)
    return shape


def check_unused(
    names: Names | None, values: Values | None, compiled: Iterable[Compiled | None]
) -> None:
    """Raise ValidationError if a name or value is in none of the request's expressions."""
    if not names and not values:
        return
    used: set[str] = set()
    for expression in compiled:
        if expression is not None:
            used.update(expression.used_names)
            used.update(expression.value_names)
    for parameter, given in (
        ("ExpressionAttributeNames", names),
        ("ExpressionAttributeValues", values),
    ):
        unused = [key for key in given or () if key not in used]
        if unused:
            raise ValidationError(UNUSED.format(parameter=parameter, keys=", ".join(unused)))


def check_key_paths(compiled: Iterable[WithPaths | None], key_names: Iterable[str]) -> None:
    """Raise ValidationError if an expression looks for something inside of a key attribute."""
    nested = [
        expression.nested for expression in compiled if expression is not None and expression.nested
    ]
    if not nested:
        return
    for name in key_names:
        if any(name in heads for heads in nested):
            raise ValidationError(KEY_NOT_SCALAR.format(name=name))


def _check_values(compiled: _Checkable, values: Values, label: str) -> None:
    for name in compiled.value_names:
        if name not in values:
            raise bad_expression(label, Sentence.VALUE_UNDEFINED, name=name)
    for check in compiled.checks:
        problem = check.find_problem(label, values)
        if problem is not None:
            raise problem


def _length(text: str, names: Names) -> int:
    return len(text) + sum(map(len, names.values())) if names else len(text)
