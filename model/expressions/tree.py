"""What a parsed expression is made of; names are substituted, values stay placeholders.

Nodes are plain and immutable. The parser builds them bottom up and nothing here recurses, so the
depth of an expression is bounded by its 4 KB and not by the interpreter's stack.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

# DynamoDB's JSON: {"S": "x"}, {"L": [{"N": "1"}]}; an item maps attribute names to such values.
AttributeValue: TypeAlias = dict[str, Any]
Item: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Path:
    """A document path: an attribute name, then names (maps) and indexes (lists)."""

    name: str
    rest: tuple[str | int, ...] = ()

    @property
    def elements(self) -> tuple[str | int, ...]:
        """All elements, the name first."""
        return (self.name, *self.rest)

    def __str__(self) -> str:
        """Write it as AWS's messages do: `[a, b, [1]]`."""
        shown = (f"[{part}]" if isinstance(part, int) else part for part in self.elements)
        return f"[{', '.join(shown)}]"


@dataclass(frozen=True, slots=True)
class Value:
    """A `:placeholder` of ExpressionAttributeValues."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its operands, as written: whether they fit is checked elsewhere."""

    function: str
    operands: tuple["Operand", ...]


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`left + right` or `left - right`, only in SET."""

    operator: str
    left: "Operand"
    right: "Operand"


@dataclass(frozen=True, slots=True)
class Comparison:
    """`left operator right`; the operator is one of = <> < <= > >=."""

    operator: str
    left: "Operand"
    right: "Operand"


@dataclass(frozen=True, slots=True)
class Between:
    """`operand BETWEEN low AND high`, both bounds included."""

    operand: "Operand"
    low: "Operand"
    high: "Operand"


@dataclass(frozen=True, slots=True)
class In:
    """`operand IN (option, ...)`."""

    operand: "Operand"
    options: tuple["Operand", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """`NOT condition`."""

    condition: "ConditionNode"


@dataclass(frozen=True, slots=True)
class And:
    """`condition AND condition ...`, two or more."""

    conditions: tuple["ConditionNode", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """`condition OR condition ...`, two or more."""

    conditions: tuple["ConditionNode", ...]


@dataclass(frozen=True, slots=True)
class SetAction:
    """`SET path = value`."""

    path: Path
    value: "Operand | Arithmetic"


@dataclass(frozen=True, slots=True)
class RemoveAction:
    """`REMOVE path`."""

    path: Path


@dataclass(frozen=True, slots=True)
class AddAction:
    """`ADD path :value`: to a number or a set."""

    path: Path
    value: Value


@dataclass(frozen=True, slots=True)
class DeleteAction:
    """`DELETE path :value`: from a set."""

    path: Path
    value: Value


Operand: TypeAlias = Path | Value | Call
ConditionNode: TypeAlias = Comparison | Between | In | Not | And | Or | Call
Action: TypeAlias = SetAction | RemoveAction | AddAction | DeleteAction
Node: TypeAlias = Operand | ConditionNode | Arithmetic


def children(node: Node) -> tuple[Node, ...]:
    """List the direct parts of a node, in the order of the text."""
    match node:
        case Path() | Value():
            return ()
        case Call():
            return node.operands
        case Arithmetic() | Comparison():
            return (node.left, node.right)
        case Between():
            return (node.operand, node.low, node.high)
        case In():
            return (node.operand, *node.options)
        case Not():
            return (node.condition,)
        case And() | Or():
            return node.conditions


def paths_of(root: Node) -> tuple[Path, ...]:
    """List the document paths in a tree, in the order of the text."""
    return tuple(node for node in post_order(root) if isinstance(node, Path))


def nested_heads(paths: Iterable[Path]) -> frozenset[str]:
    """Return the attributes that paths look into."""
    return frozenset(path.name for path in paths if path.rest)


def post_order(root: Node) -> Iterator[Node]:
    """Yield every node after its children, from left to right, without recursion."""
    pending: list[tuple[Node, bool]] = [(root, False)]
    while pending:
        node, expanded = pending.pop()
        parts = () if expanded else children(node)
        if not parts:
            yield node
            continue
        pending.append((node, True))
        pending.extend((part, False) for part in reversed(parts))
