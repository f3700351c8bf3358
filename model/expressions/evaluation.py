"""Turn a parsed condition into closures: built once, called for every item.

A closure takes the item and the request's values. An operand that is missing from the item is None:
every comparison with it is false, except `<>`, which is true (as `NOT (a = b)` would be).
"""

import operator
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from model.expressions.comparison import begins_with, contains, equal, ordered, size, type_of
from model.expressions.tree import (
    And,
    AttributeValue,
    Between,
    Call,
    Comparison,
    ConditionNode,
    In,
    Item,
    Node,
    Not,
    Operand,
    Or,
    Path,
    Value,
    children,
    post_order,
)

Values: TypeAlias = Mapping[str, AttributeValue]
Test: TypeAlias = Callable[[Item, Values], bool]
Read: TypeAlias = Callable[[Item, Values], AttributeValue | None]

_ORDERS: Final = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def compile_test(root: ConditionNode) -> Test:
    """Return the closure of a whole condition; the tree is walked without recursion."""
    tests: dict[int, Test] = {}
    for node in post_order(root):
        if isinstance(node, Comparison | Between | In):
            tests[id(node)] = _test_of_operands(node)
        elif isinstance(node, Not | And | Or):
            tests[id(node)] = _join(node, [tests[id(part)] for part in children(node)])
        elif isinstance(node, Call) and node.function != "size":
            tests[id(node)] = _test_of_call(node)
    return tests[id(root)]


def read_path(path: Path) -> Read:
    """Return the closure that finds a path's value in the item, None if it is not there."""
    name, rest = path.name, path.rest
    if not rest:
        return lambda item, _values: item.get(name)

    def read(item: Item, _values: Values) -> AttributeValue | None:
        return find(item, name, rest)

    return read


def find(item: Item, name: str, rest: tuple[str | int, ...]) -> AttributeValue | None:
    """Walk a document path through maps and lists."""
    value: AttributeValue | None = item.get(name)
    for element in rest:
        if value is None:
            return None
        if isinstance(element, int):
            within = value.get("L")
            value = within[element] if within is not None and element < len(within) else None
        else:
            within = value.get("M")
            value = within.get(element) if within is not None else None
    return value


def _read(node: Node) -> Read:
    match node:
        case Path():
            return read_path(node)
        case Value():
            name = node.name
            return lambda _item, values: values[name]
        case Call():
            assert node.function == "size", "the parser lets no other function be an operand"
            inner = _read(node.operands[0])

            def read_size(item: Item, values: Values) -> AttributeValue | None:
                value = inner(item, values)
                return None if value is None else size(value)

            return read_size
        case _:
            raise AssertionError(node)


def _join(node: Not | And | Or, tests: list[Test]) -> Test:
    match node:
        case Not():
            (test,) = tests
            return lambda item, values: not test(item, values)
        case And() if len(tests) == 2:
            first, second = tests
            return lambda item, values: first(item, values) and second(item, values)
        case And():

            def holds_every(item: Item, values: Values) -> bool:
                for test in tests:  # noqa: SIM110  # a generator here costs as much as a test
                    if not test(item, values):
                        return False
                return True

            return holds_every
        case Or():

            def holds_any(item: Item, values: Values) -> bool:
                for test in tests:  # noqa: SIM110  # as above
                    if test(item, values):
                        return True
                return False

            return holds_any


def _test_of_operands(node: Comparison | Between | In) -> Test:
    match node:
        case Comparison():
            return _compare(node)
        case Between():
            return _between(node)
        case In():
            return _in(node)


def _compare(node: Comparison) -> Test:
    if node.operator in _ORDERS:
        return _order(node)
    if node.operator == "=":
        fast = _equal_attribute(node.left, node.right)
        if fast is not None:
            return fast
    left, right = _read(node.left), _read(node.right)
    if node.operator == "=":

        def holds_equal(item: Item, values: Values) -> bool:
            one, two = left(item, values), right(item, values)
            return one is not None and two is not None and equal(one, two)

        return holds_equal

    def holds_unequal(item: Item, values: Values) -> bool:
        one, two = left(item, values), right(item, values)
        return one is None or two is None or not equal(one, two)

    return holds_unequal


def _equal_attribute(left: Operand, right: Operand) -> Test | None:
    """Return a shorter closure for `attribute = :value`, the most frequent comparison."""
    if not isinstance(left, Path) or left.rest or not isinstance(right, Value):
        return None
    attribute, name = left.name, right.name

    def holds_equal(item: Item, values: Values) -> bool:
        value = item.get(attribute)
        return value is not None and equal(value, values[name])

    return holds_equal


def _order(node: Comparison) -> Test:
    left, right, order = _read(node.left), _read(node.right), _ORDERS[node.operator]

    def holds_order(item: Item, values: Values) -> bool:
        one, two = left(item, values), right(item, values)
        return one is not None and two is not None and ordered(one, two, order)

    return holds_order


def _between(node: Between) -> Test:
    operand, low, high = _read(node.operand), _read(node.low), _read(node.high)

    def holds_between(item: Item, values: Values) -> bool:
        value = operand(item, values)
        if value is None:
            return False
        lower, upper = low(item, values), high(item, values)
        return (
            lower is not None
            and upper is not None
            and ordered(lower, value, operator.le)
            and ordered(value, upper, operator.le)
        )

    return holds_between


def _in(node: In) -> Test:
    operand, options = _read(node.operand), [_read(option) for option in node.options]

    def holds_in(item: Item, values: Values) -> bool:
        value = operand(item, values)
        if value is None:
            return False
        for option in options:
            candidate = option(item, values)
            if candidate is not None and equal(value, candidate):
                return True
        return False

    return holds_in


def _test_of_call(node: Call) -> Test:
    first = node.operands[0]
    match node.function:
        case "attribute_exists":
            return _exists(first)
        case "attribute_not_exists":
            exists = _exists(first)
            if isinstance(first, Path) and not first.rest:
                name = first.name
                return lambda item, _values: name not in item
            return lambda item, values: not exists(item, values)
        case "attribute_type":
            read, type_name = _read(first), node.operands[1]
            assert isinstance(type_name, Value)
            name = type_name.name

            def holds_type(item: Item, values: Values) -> bool:
                value = read(item, values)
                return value is not None and type_of(value) == values[name]["S"]

            return holds_type
        case "begins_with":
            return _relate(node, begins_with)
        case _:
            assert node.function == "contains"
            return _relate(node, contains)


def _exists(operand: Operand) -> Test:
    read = _read(operand)
    return lambda item, values: read(item, values) is not None


def _relate(node: Call, relation: Callable[[AttributeValue, AttributeValue], bool]) -> Test:
    left, right = _read(node.operands[0]), _read(node.operands[1])

    def holds(item: Item, values: Values) -> bool:
        one, two = left(item, values), right(item, values)
        return one is not None and two is not None and relation(one, two)

    return holds
