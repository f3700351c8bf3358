"""Apply an update: copy the item along the touched paths, and nothing else.

All right-hand sides read the item as it was before, so actions that do not overlap can be carried
out in any order. An action that raises leaves nothing behind: the old item is never written to.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from model.errors import ValidationError
from model.expressions.arithmetic import add, subtract
from model.expressions.comparison import type_of
from model.expressions.evaluation import Values, find
from model.expressions.operands import Trie
from model.expressions.projection import project_item
from model.expressions.sentences import (
    ATTRIBUTE_MISSING,
    KEY_UPDATED,
    OPERAND_DATA_TYPE,
    PATH_INVALID,
)
from model.expressions.tree import (
    Action,
    AddAction,
    Arithmetic,
    AttributeValue,
    Call,
    DeleteAction,
    Item,
    Node,
    Path,
    RemoveAction,
    SetAction,
    Value,
    children,
    nested_heads,
    paths_of,
    post_order,
)
from model.expressions.value_checks import ValueCheck, update_checks

# The old value at the path (None: absent), the whole old item, the request's values -> the new
# value (None: the attribute goes).
Change: TypeAlias = Callable[[AttributeValue | None, Item, Values], AttributeValue | None]
Compute: TypeAlias = Callable[[Item, Values], AttributeValue | None]

_SETS: Final = ("SS", "NS", "BS")


class Update:
    """A compiled UpdateExpression.

    `may_create` is False for an update that only removes: of a missing item there is nothing to
    remove, whatever the paths, and it makes none (scylladb issue 5862).
    """

    __slots__ = (
        "_changes",
        "_trie",
        "actions",
        "checks",
        "may_create",
        "nested",
        "top_names",
        "used_names",
        "value_names",
    )

    def __init__(
        self,
        actions: tuple[Action, ...],
        trie: Trie,
        used_names: tuple[str, ...],
        value_names: tuple[str, ...],
    ) -> None:
        """Take parsed actions whose paths neither overlap nor conflict (the trie holds them)."""
        self.actions = actions
        self.used_names = used_names
        self.value_names = value_names
        self.nested = nested_heads(path for action in actions for path in _paths_of(action))
        self.checks: tuple[ValueCheck, ...] = update_checks(actions)
        self.may_create = any(isinstance(action, SetAction | AddAction) for action in actions)
        self.top_names = tuple(str(name) for name in trie.children)
        self._trie = trie
        changes = {action.path.elements: _change_of(action) for action in actions}
        self._changes: list[tuple[str, Change]] = [
            (str(name), _plan((name,), child, changes)) for name, child in trie.children.items()
        ]

    def apply(self, item: Item | None, key: Item, values: Values) -> Item:
        """Return the new item; without an old one it is made from the key.

        The result shares untouched values with `item`, which stays as it is.
        Raises ValidationError if an operand or a path does not fit the item.
        """
        before = key if item is None else item
        after = dict(before)
        for name, change in self._changes:
            value = change(before.get(name), before, values)
            if value is not None:
                after[name] = value
            else:
                after.pop(name, None)
        return after

    def touched_before(self, item: Item | None) -> Item:
        """Return what UPDATED_OLD does: the parts of the old item that the paths name."""
        return {} if item is None else project_item(self._trie, item)

    def touched_after(self, item: Item) -> Item:
        """Return what UPDATED_NEW does: the parts of the new item that the paths name.

        An index names what is there now, of a list whose elements moved up another one than before.
        Past the list's end it names nothing. AWS does the same (ExtendDB issue 98).
        """
        return project_item(self._trie, item)


def _paths_of(action: Action) -> tuple[Path, ...]:
    read = paths_of(action.value) if isinstance(action, SetAction) else ()
    return (action.path, *read)


def check_update_keys(update: Update, key_names: Iterable[str]) -> None:
    """Raise ValidationError if the update would change a key attribute."""
    for name in key_names:
        if name in update.top_names:
            raise ValidationError(KEY_UPDATED.format(name=name))


def _plan(
    prefix: tuple[str | int, ...],
    trie: Trie,
    changes: Mapping[tuple[str | int, ...], Change],
) -> Change:
    """Return the change of one place: an action's own, or that of a map's or list's members."""
    if trie.is_end:
        return changes[prefix]
    members = [
        (element, _plan((*prefix, element), child, changes))
        for element, child in trie.children.items()
    ]
    if trie.kind is str:
        return _change_map([(str(element), change) for element, change in members])
    return _change_list(sorted((int(element), change) for element, change in members))


def _change_map(members: list[tuple[str, Change]]) -> Change:
    def change_map(old: AttributeValue | None, item: Item, values: Values) -> AttributeValue:
        within = None if old is None else old.get("M")
        if within is None:
            raise ValidationError(PATH_INVALID)
        after = dict(within)
        for name, change in members:
            value = change(within.get(name), item, values)
            if value is not None:
                after[name] = value
            else:
                after.pop(name, None)
        return {"M": after}

    return change_map


def _change_list(members: list[tuple[int, Change]]) -> Change:
    """Indexes ascend and mean the old list: removals close gaps last, appends keep their order."""

    def change_list(old: AttributeValue | None, item: Item, values: Values) -> AttributeValue:
        within = None if old is None else old.get("L")
        if within is None:
            raise ValidationError(PATH_INVALID)
        after = list(within)
        removed: list[int] = []
        for index, change in members:
            is_inside = index < len(within)
            value = change(within[index] if is_inside else None, item, values)
            if not is_inside:
                if value is not None:
                    after.append(value)
            elif value is None:
                removed.append(index)
            else:
                after[index] = value
        for index in reversed(removed):
            del after[index]
        return {"L": after}

    return change_list


def _change_of(action: Action) -> Change:
    match action:
        case SetAction():
            compute = _compute(action.value)
            return lambda _old, item, values: compute(item, values)
        case RemoveAction():
            return lambda _old, _item, _values: None
        case AddAction():
            name = action.value.name
            return lambda old, _item, values: _add(old, values[name])
        case DeleteAction():
            name = action.value.name
            return lambda old, _item, values: _delete(old, values[name])


def _add(old: AttributeValue | None, operand: AttributeValue) -> AttributeValue:
    """ADD: to nothing gives the operand, to a number the sum, to a set the union."""
    if old is None:
        return operand
    if "N" in old and "N" in operand:
        return {"N": add(old["N"], operand["N"])}
    kind = type_of(old)
    if kind not in _SETS or kind not in operand:
        raise ValidationError(OPERAND_DATA_TYPE)
    present = frozenset(old[kind])
    return {kind: old[kind] + [member for member in operand[kind] if member not in present]}


def _delete(old: AttributeValue | None, operand: AttributeValue) -> AttributeValue | None:
    """DELETE: the difference of two sets; an empty one takes its attribute with it."""
    if old is None:
        return None
    kind = type_of(old)
    if kind not in _SETS or kind not in operand:
        raise ValidationError(OPERAND_DATA_TYPE)
    gone = frozenset(operand[kind])
    kept = [member for member in old[kind] if member not in gone]
    return {kind: kept} if kept else None


def _compute(root: Node) -> Compute:
    """Return the closure of a SET's right-hand side, built bottom up without recursion.

    It never returns None: what is missing from the item raises, unless if_not_exists asks for it.
    """
    computes: dict[int, Compute] = {}
    for node in post_order(root):
        computes[id(node)] = _compute_one(node, [computes[id(part)] for part in children(node)])
    return computes[id(root)]


def _compute_one(node: Node, parts: list[Compute]) -> Compute:
    match node:
        case Path():
            return _read_path(node)
        case Value():
            name = node.name
            return lambda _item, values: values[name]
        case Arithmetic():
            return _sum(parts[0], parts[1], add if node.operator == "+" else subtract)
        case Call(function="if_not_exists", operands=(Path() as path, _)):
            return _default(path, parts[1])
        case Call(function="list_append"):
            return _concatenate(parts[0], parts[1])
        case _:
            raise AssertionError(node)


def _read_path(path: Path) -> Compute:
    name, rest = path.name, path.rest

    def read(item: Item, _values: Values) -> AttributeValue:
        value = find(item, name, rest)
        if value is None:
            raise ValidationError(ATTRIBUTE_MISSING)
        return value

    return read


def _default(path: Path, otherwise: Compute) -> Compute:
    name, rest = path.name, path.rest

    def read_or_default(item: Item, values: Values) -> AttributeValue | None:
        value = find(item, name, rest)
        return otherwise(item, values) if value is None else value

    return read_or_default


def _sum(left: Compute, right: Compute, operation: Callable[[str, str], str]) -> Compute:
    def compute(item: Item, values: Values) -> AttributeValue:
        one, two = left(item, values), right(item, values)
        assert one is not None
        assert two is not None
        if "N" not in one or "N" not in two:
            raise ValidationError(OPERAND_DATA_TYPE)
        return {"N": operation(one["N"], two["N"])}

    return compute


def _concatenate(left: Compute, right: Compute) -> Compute:
    def compute(item: Item, values: Values) -> AttributeValue:
        one, two = left(item, values), right(item, values)
        assert one is not None
        assert two is not None
        if "L" not in one or "L" not in two:
            raise ValidationError(OPERAND_DATA_TYPE)
        return {"L": one["L"] + two["L"]}

    return compute
