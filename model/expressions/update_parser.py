"""Parse an update: SET, REMOVE, ADD and DELETE, each at most once and in any order.

Source: Developer Guide, "Update expressions"; as its grammar says, a SET takes one `+` or `-`.
"""

from dataclasses import dataclass, field
from typing import Final

from model.expressions.condition_parser import CONDITION_FUNCTIONS, UPDATE_FUNCTIONS
from model.expressions.lexer import Kind
from model.expressions.operands import OperandParser
from model.expressions.sentences import Sentence
from model.expressions.tree import (
    Action,
    AddAction,
    Arithmetic,
    Call,
    DeleteAction,
    Operand,
    Path,
    RemoveAction,
    SetAction,
)

_SECTIONS: Final = frozenset({"SET", "REMOVE", "ADD", "DELETE"})


@dataclass(slots=True)
class _Calling:
    """A function whose operands are being read; a bare parenthesis has no name and one operand."""

    function: str | None
    operands: list[Operand] = field(default_factory=list)


class UpdateParser(OperandParser):
    """Parses one update expression."""

    __slots__ = ()

    def parse(self) -> tuple[Action, ...]:
        """Read the whole text as one update. Raises ValidationError."""
        tokens = self.tokens
        actions: list[Action] = []
        seen: list[str] = []
        while True:
            section = tokens.current.keyword
            if tokens.current.kind is not Kind.NAME or section not in _SECTIONS:
                tokens.refuse()
            tokens.advance()
            if section in seen:
                self.note(Sentence.SECTION_TWICE, section=section)
            seen.append(section)
            actions.append(self._action(section))
            while tokens.accept(","):
                actions.append(self._action(section))
            if tokens.at_end():
                return tuple(actions)

    def _action(self, section: str) -> Action:
        if not self.at_path():
            self.tokens.refuse()
        path = self.path()
        match section:
            case "SET":
                self.tokens.expect("=")
                return SetAction(path, self._set_value())
            case "REMOVE":
                return RemoveAction(path)
            case "ADD":
                return AddAction(path, self.value())
            case _:
                return DeleteAction(path, self.value())

    def _set_value(self) -> Operand | Arithmetic:
        tokens = self.tokens
        if tokens.current.keyword != "(":
            return self._sum(self._operand())
        # `(a) + :b`, `(a).b` and `(a + :b)` begin alike.
        tokens.advance()
        begins_doubled = tokens.current.keyword == "("
        inner = self._sum(self._operand())
        ends_doubled = tokens.preceding().keyword == ")"  # `((a).b)` does not
        tokens.expect(")")
        if isinstance(inner, Arithmetic):
            return inner
        if begins_doubled and ends_doubled:
            self.note(Sentence.PARENTHESES)
        return self._sum(self.path_on(inner) if isinstance(inner, Path) else inner)

    def _sum(self, left: Operand) -> Operand | Arithmetic:
        operator = self.tokens.current.keyword
        if operator not in {"+", "-"}:
            return left
        self.tokens.advance()
        self.count_operator()
        right = self._operand()
        self._check_operands(left, right)
        return Arithmetic(operator, left, right)

    def _operand(self) -> Operand:
        """Read a path, a placeholder or a call; calls nest on a stack of our own."""
        tokens = self.tokens
        pending: list[_Calling] = []
        while True:
            token = tokens.current
            if token.keyword == "(":
                tokens.advance()
                pending.append(_Calling(None))
                continue
            if token.kind is Kind.NAME and tokens.following().keyword == "(" and self.at_path():
                tokens.advance()
                tokens.advance()
                self.count_operator()
                pending.append(_Calling(token.text))
                continue
            piece: Operand = self.path() if self.at_path() else self.value()
            is_parenthesised = False
            while pending:
                top = pending[-1]
                top.operands.append(piece)
                if top.function is not None and tokens.accept(","):
                    break
                tokens.expect(")")
                pending.pop()
                if is_parenthesised and top.function is None:
                    self.note(Sentence.PARENTHESES)
                is_parenthesised = top.function is None
                piece = self._called(top)
                if is_parenthesised and isinstance(piece, Path) and self.at_element():
                    piece = self.path_on(piece)
                    is_parenthesised = False
            else:
                return piece

    def _check_operands(self, *operands: Operand) -> None:
        """A list that list_append has made is a SET's value and nothing else's operand."""
        for operand in operands:
            if isinstance(operand, Call) and operand.function == "list_append":
                self.note(Sentence.FUNCTION_MISUSED, function=operand.function)

    def _called(self, calling: _Calling) -> Operand:
        function = calling.function
        if function is None:
            return calling.operands[0]
        call = Call(function, tuple(calling.operands))
        self._check_operands(*call.operands)
        count = UPDATE_FUNCTIONS.get(function)
        if count is None:
            sentence = (
                Sentence.FUNCTION_IN_UPDATE
                if function in CONDITION_FUNCTIONS
                else Sentence.FUNCTION_UNKNOWN
            )
            self.note(sentence, function=function)
        elif len(call.operands) != count:
            self.note(Sentence.OPERAND_COUNT, operator=function, count=len(call.operands))
        elif function == "if_not_exists" and not isinstance(call.operands[0], Path):
            self.note(Sentence.PATH_REQUIRED, operator=function)
        return call
