"""Write trees as texts, with every attribute name behind a placeholder."""

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


class Printer:
    """Collects the names that a text needs while writing it."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def path(self, path: Path) -> str:
        text = self._name(path.name)
        for element in path.rest:
            text += f"[{element}]" if isinstance(element, int) else f".{self._name(element)}"
        return text

    def operand(self, node: Node) -> str:
        match node:
            case Path():
                return self.path(node)
            case Value():
                return node.name
            case Call():
                return f"{node.function}({', '.join(map(self.operand, node.operands))})"
            case Arithmetic():
                return f"{self.operand(node.left)} {node.operator} {self.operand(node.right)}"
        raise AssertionError(node)

    def condition(self, node: ConditionNode) -> str:
        match node:
            case Comparison():
                return f"{self.operand(node.left)} {node.operator} {self.operand(node.right)}"
            case Between():
                low, high = self.operand(node.low), self.operand(node.high)
                return f"{self.operand(node.operand)} BETWEEN {low} AND {high}"
            case In():
                options = ", ".join(map(self.operand, node.options))
                return f"{self.operand(node.operand)} IN ({options})"
            case Not():
                return f"NOT {self._part(node.condition)}"
            case And():
                return " AND ".join(map(self._part, node.conditions))
            case Or():
                return " OR ".join(map(self._part, node.conditions))
            case Call():
                return self.operand(node)

    def update(self, actions: tuple[Action, ...]) -> str:
        sections: dict[str, list[str]] = {}
        for action in actions:
            path = self.path(action.path)
            match action:
                case SetAction():
                    text = f"{path} = {self.operand(action.value)}"
                    sections.setdefault("SET", []).append(text)
                case RemoveAction():
                    sections.setdefault("REMOVE", []).append(path)
                case AddAction():
                    sections.setdefault("ADD", []).append(f"{path} {action.value.name}")
                case DeleteAction():
                    sections.setdefault("DELETE", []).append(f"{path} {action.value.name}")
        return " ".join(f"{name} {', '.join(parts)}" for name, parts in sections.items())

    def _part(self, node: ConditionNode) -> str:
        text = self.condition(node)
        return f"({text})" if isinstance(node, And | Or) else text

    def _name(self, name: str) -> str:
        for placeholder, known in self.names.items():
            if known == name:
                return placeholder
        placeholder = f"#n{len(self.names)}"
        self.names[placeholder] = name
        return placeholder
