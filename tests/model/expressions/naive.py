"""A second, slow opinion on expressions: plain Python values, deep copies, no cleverness.

Written from the Developer Guide alone. `plain` turns DynamoDB's JSON into tagged Python values
that Python itself compares as DynamoDB does; lists become dicts from index to value, so that
indexes keep their meaning while elements come and go.
"""

from base64 import b64decode, b64encode
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Any

from model.expressions.tree import (
    Action,
    AddAction,
    And,
    Arithmetic,
    Between,
    Call,
    Comparison,
    ConditionNode,
    DeleteAction,
    In,
    Node,
    Not,
    Or,
    Path,
    RemoveAction,
    SetAction,
    Value,
)
from model.numbers import normalise_number


class NaiveRefusal(Exception):
    """The update does not fit the item."""


def plain(value: dict[str, Any]) -> tuple[str, Any]:
    ((kind, content),) = value.items()
    match kind:
        case "N":
            return kind, Decimal(content)
        case "B":
            return kind, b64decode(content)
        case "SS":
            return kind, frozenset(content)
        case "NS":
            return kind, frozenset(map(Decimal, content))
        case "BS":
            return kind, frozenset(map(b64decode, content))
        case "L":
            return kind, {index: plain(element) for index, element in enumerate(content)}
        case "M":
            return kind, {name: plain(element) for name, element in content.items()}
        case _:
            return kind, content


def coded(value: tuple[str, Any]) -> dict[str, Any]:
    kind, content = value
    match kind:
        case "N":
            return {kind: normalise_number(f"{content:f}")}
        case "B":
            return {kind: b64encode(content).decode()}
        case "SS":
            return {kind: sorted(content)}
        case "NS":
            return {kind: sorted(normalise_number(f"{member:f}") for member in content)}
        case "BS":
            return {kind: sorted(b64encode(member).decode() for member in content)}
        case "L":
            return {kind: [coded(content[index]) for index in sorted(content)]}
        case "M":
            return {kind: {name: coded(element) for name, element in content.items()}}
        case _:
            return {kind: content}


def canonical(item: dict[str, Any]) -> dict[str, Any]:
    """Sort the members of sets, so that equal items are equal dicts."""
    return {name: coded(plain(value)) for name, value in item.items()}


def lookup(item: dict[str, Any], path: Path) -> tuple[str, Any] | None:
    current: tuple[str, Any] | None = ("M", item)
    for element in path.elements:
        wanted = "L" if isinstance(element, int) else "M"
        if current is None or current[0] != wanted:
            return None
        current = current[1].get(element)
    return current


def naive_size(value: tuple[str, Any] | None) -> tuple[str, Any] | None:
    if value is None:
        return None
    kind, content = value
    if kind == "S":
        return "N", Decimal(sum(2 if ord(character) > 0xFFFF else 1 for character in content))
    if kind in {"N", "BOOL", "NULL"}:
        return None
    return "N", Decimal(len(content))


def operand_of(node: Node, item: dict[str, Any], values: dict[str, Any]) -> Any:
    match node:
        case Path():
            return lookup(item, node)
        case Value():
            return values[node.name]
        case Call():
            return naive_size(operand_of(node.operands[0], item, values))
    raise AssertionError(node)


def less(one: Any, two: Any, *, or_equal: bool) -> bool:
    if one is None or two is None or one[0] != two[0] or one[0] not in {"S", "N", "B"}:
        return False
    left, right = one[1], two[1]
    if one[0] == "S":
        left, right = left.encode(), right.encode()
    return left < right or (or_equal and left == right)


def naive_holds(node: ConditionNode, item: dict[str, Any], values: dict[str, Any]) -> bool:
    def operand(part: Node) -> Any:
        return operand_of(part, item, values)

    match node:
        case And():
            return all(naive_holds(part, item, values) for part in node.conditions)
        case Or():
            return any(naive_holds(part, item, values) for part in node.conditions)
        case Not():
            return not naive_holds(node.condition, item, values)
        case In():
            return any(same(operand(node.operand), operand(option)) for option in node.options)
        case Between():
            value = operand(node.operand)
            return less(operand(node.low), value, or_equal=True) and less(
                value, operand(node.high), or_equal=True
            )
        case Comparison():
            one, two = operand(node.left), operand(node.right)
            return {
                "=": lambda: same(one, two),
                "<>": lambda: not same(one, two),
                "<": lambda: less(one, two, or_equal=False),
                "<=": lambda: less(one, two, or_equal=True),
                ">": lambda: less(two, one, or_equal=False),
                ">=": lambda: less(two, one, or_equal=True),
            }[node.operator]()
        case Call():
            return naive_call(node.function, [operand(part) for part in node.operands])
    raise AssertionError(node)


def same(one: Any, two: Any) -> bool:
    return one is not None and two is not None and one == two


def naive_call(function: str, operands: list[Any]) -> bool:
    if function == "attribute_not_exists":
        return operands[0] is None
    if any(operand is None for operand in operands):
        return False
    if function == "attribute_exists":
        return True
    (kind, content), (other_kind, other) = operands
    if function == "attribute_type":
        return bool(kind == other)
    if function == "begins_with":
        return kind == other_kind and kind in {"S", "B"} and bool(content.startswith(other))
    assert function == "contains"
    if kind in {"S", "B"}:
        return kind == other_kind and other in content
    if kind in {"SS", "NS", "BS"}:
        return kind == other_kind + "S" and other in content
    return kind == "L" and (other_kind, other) in content.values()


def naive_apply(
    actions: tuple[Action, ...], old: dict[str, Any], values: dict[str, Any]
) -> dict[str, Any]:
    """Return the new item (plain); raises NaiveRefusal, or ValidationError for a bad number."""
    before = {name: plain(value) for name, value in old.items()}
    after = {name: plain(value) for name, value in old.items()}
    for action in actions:
        last = action.path.elements[-1]
        place: tuple[str, Any] | None = ("M", after)
        for element, following in pairwise(action.path.elements):
            assert place is not None
            place = place[1].get(element)
            if place is None or place[0] != ("L" if isinstance(following, int) else "M"):
                raise NaiveRefusal
        assert place is not None
        members = place[1]
        current = lookup(before, action.path)
        match action:
            case SetAction():
                members[last] = naive_value(action.value, before, values)
            case RemoveAction():
                members.pop(last, None)
            case AddAction():
                members[last] = naive_add(current, values[action.value.name])
            case DeleteAction():
                naive_delete(members, last, current, values[action.value.name])
    return after


def naive_value(node: Node, item: dict[str, Any], values: dict[str, Any]) -> Any:
    match node:
        case Path():
            found = lookup(item, node)
            if found is None:
                raise NaiveRefusal
            return found
        case Value():
            return values[node.name]
        case Call(function="if_not_exists", operands=(Path() as first, second)):
            found = lookup(item, first)
            return naive_value(second, item, values) if found is None else found
        case Call(operands=(first, second)):
            one, two = naive_value(first, item, values), naive_value(second, item, values)
            if one[0] != "L" or two[0] != "L":
                raise NaiveRefusal
            joined = [*one[1].values(), *two[1].values()]
            return "L", dict(enumerate(joined))
        case Arithmetic():
            one, two = naive_value(node.left, item, values), naive_value(node.right, item, values)
            if one[0] != "N" or two[0] != "N":
                raise NaiveRefusal
            with localcontext() as context:
                context.prec = 600
                return "N", one[1] + two[1] if node.operator == "+" else one[1] - two[1]
    raise AssertionError(node)


def naive_add(current: Any, operand: tuple[str, Any]) -> tuple[str, Any]:
    if current is None:
        return operand
    kind, content = current
    if kind != operand[0] or kind not in {"N", "SS", "NS", "BS"}:
        raise NaiveRefusal
    if kind != "N":
        return kind, content | operand[1]
    with localcontext() as context:
        context.prec = 600
        return kind, content + operand[1]


def naive_delete(members: dict[object, object], last: Any, current: Any, operand: Any) -> None:
    if current is None:
        return
    if current[0] != operand[0]:
        raise NaiveRefusal
    left = current[1] - operand[1]
    if left:
        members[last] = (current[0], left)
    else:
        del members[last]
