"""Parse a condition: operators by precedence, on a stack of our own.

Precedence, tightest first: comparators, IN, BETWEEN, functions; parentheses; NOT; AND; OR.
Every opened construct is an entry on `_pending`, so nesting costs memory, bounded by the text's
4 KB, and never the interpreter's stack.
Source: Developer Guide, "Condition and filter expressions", Syntax.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from model.expressions.lexer import Kind
from model.expressions.operands import IN_OPERANDS_MAX, OperandParser
from model.expressions.sentences import Sentence
from model.expressions.tree import (
    And,
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

COMPARATORS: Final = frozenset({"=", "<>", "<", "<=", ">", ">="})

CONDITION_FUNCTIONS: Final = {
    "attribute_exists": 1,
    "attribute_not_exists": 1,
    "attribute_type": 2,
    "begins_with": 2,
    "contains": 2,
    "size": 1,
}
"""Functions a condition may use, with the number of their operands."""

UPDATE_FUNCTIONS: Final = {"if_not_exists": 2, "list_append": 2}
"""Functions an update may use, with the number of their operands."""


@dataclass(slots=True)
class _Open:
    """A parenthesis; in the place of an operand it may hold nothing but an operand."""

    operand_only: bool


@dataclass(slots=True)
class _Calling:
    """A function whose operands are being read."""

    function: str
    operands: list[Operand] = field(default_factory=list)


@dataclass(slots=True)
class _Listing:
    """An IN whose options are being read."""

    operand: Operand
    options: list[Operand] = field(default_factory=list)


@dataclass(slots=True)
class _Comparing:
    """A comparator that waits for its right operand."""

    operator: str
    left: Operand


@dataclass(slots=True)
class _Bounding:
    """A BETWEEN that waits for a bound."""

    operand: Operand
    low: Operand | None = None


@dataclass(slots=True)
class _Negating:
    """A NOT that waits for its condition."""


@dataclass(slots=True)
class _Joining:
    """An AND or OR chain that waits for its next condition."""

    keyword: str
    conditions: list[ConditionNode]


_Pending: TypeAlias = _Open | _Calling | _Listing | _Comparing | _Bounding | _Negating | _Joining
_OPERAND_CONTEXTS: Final = (_Calling, _Listing, _Comparing, _Bounding)


@dataclass(slots=True)
class _Piece:
    """What has just been read; a Call may be an operand (size) or a condition."""

    node: Operand | ConditionNode
    parenthesised: bool = False


class ConditionParser(OperandParser):
    """Parses one condition, filter or key condition."""

    __slots__ = ("_pending",)

    def __init__(self, text: str, names: Mapping[str, str], label: str) -> None:
        """Prepare to parse; see `parse`."""
        super().__init__(text, names, label)
        self._pending: list[_Pending] = []

    def parse(self) -> ConditionNode:
        """Read the whole text as one condition. Raises ValidationError."""
        while True:
            piece: _Piece | None = self._prefix()
            # A piece grows to the right until an operator or a bracket wants the next one.
            while piece is not None:
                if not self._pending and self._at_end(piece):
                    root = self._as_condition(piece)
                    self.finish()
                    return root
                piece = self._infix(piece)

    def _at_end(self, piece: _Piece) -> bool:
        return self.tokens.current.kind is Kind.END and not isinstance(piece.node, Path | Value)

    def _prefix(self) -> _Piece:
        """Read up to and including the next path, placeholder or empty-handed function."""
        tokens = self.tokens
        while True:
            token = tokens.current
            if token.kind is Kind.VALUE_REFERENCE:
                return _Piece(self.value())
            if token.keyword == "(":
                tokens.advance()
                self._pending.append(_Open(operand_only=self._wants_operand()))
            elif token.keyword == "NOT" and not self._wants_operand():
                tokens.advance()
                self.count_operator()
                self._pending.append(_Negating())
            elif token.kind is Kind.NAME and tokens.following().keyword == "(" and self.at_path():
                function = tokens.advance().text
                tokens.advance()
                self.count_operator()
                self._pending.append(_Calling(function))
            elif self.at_path():
                return _Piece(self.path())
            else:
                tokens.refuse()

    def _wants_operand(self) -> bool:
        if not self._pending:
            return False
        top = self._pending[-1]
        if isinstance(top, _Open):
            return top.operand_only
        return isinstance(top, _OPERAND_CONTEXTS)

    def _infix(self, piece: _Piece) -> _Piece | None:
        """Let the construct on top of the stack, or the next token, take the piece.

        Returns the larger piece, or None when the next operand must be read first.
        """
        top = self._pending[-1] if self._pending else None
        match top:
            case _Comparing():
                self._pending.pop()
                return self._compare(top, self._as_operand(piece))
            case _Bounding():
                return self._bound(top, self._as_operand(piece))
            case _Calling():
                return self._next_operand(top, self._as_operand(piece))
            case _Listing():
                return self._next_option(top, self._as_operand(piece))
            case _Open() if top.operand_only:
                return self._close(piece)
            case _:
                return self._infix_in_condition(piece, top)

    def _infix_in_condition(self, piece: _Piece, top: _Pending | None) -> _Piece | None:
        keyword = self.tokens.current.keyword
        node = piece.node
        if isinstance(node, Path | Value | Call):
            if self._begin_operator(node, keyword):
                return None
            if not isinstance(node, Call):
                # `(a) = :v`: a parenthesis of a condition may turn out to hold an operand.
                if isinstance(top, _Open) and keyword == ")":
                    return self._close(piece)
                self.tokens.refuse()
            if isinstance(top, _Open) and keyword == ")":
                return self._close(piece)
        if isinstance(top, _Negating):
            self._pending.pop()
            return _Piece(Not(self._as_condition(piece)))
        return self._join(piece, top, keyword)

    def _join(self, piece: _Piece, top: _Pending | None, keyword: str) -> _Piece | None:
        """Handle AND, OR, a closing parenthesis and the end after a complete condition."""
        if isinstance(top, _Joining):
            if top.keyword == keyword:
                self.tokens.advance()
                top.conditions.append(self._as_condition(piece))
                return None
            if not (top.keyword == "OR" and keyword == "AND"):
                # The chain ends here: AND before OR, either before `)` or the end.
                self._pending.pop()
                conditions = (*top.conditions, self._as_condition(piece))
                return _Piece(And(conditions) if top.keyword == "AND" else Or(conditions))
        if keyword in {"AND", "OR"}:
            self.tokens.advance()
            self._pending.append(_Joining(keyword, [self._as_condition(piece)]))
            return None
        if keyword == ")" and isinstance(top, _Open):
            return self._close(piece)
        return self.tokens.refuse()

    def _begin_operator(self, left: Operand, keyword: str) -> bool:
        """Take a comparator, BETWEEN or IN after an operand; False if there is none."""
        if keyword in COMPARATORS:
            self._pending.append(_Comparing(keyword, left))
        elif keyword == "BETWEEN":
            self._pending.append(_Bounding(left))
        elif keyword == "IN":
            self._pending.append(_Listing(left))
        else:
            return False
        self._check_operand(left)
        self.tokens.advance()
        self.count_operator()
        if keyword == "IN":
            self.tokens.expect("(")
        return True

    def _compare(self, top: _Comparing, right: Operand) -> _Piece:
        self._check_distinct(top.operator, top.left, right)
        return _Piece(Comparison(top.operator, top.left, right))

    def _bound(self, top: _Bounding, bound: Operand) -> _Piece | None:
        if top.low is None:
            self.tokens.expect("AND")
            top.low = bound
            return None
        self._pending.pop()
        self._check_distinct("BETWEEN", top.operand, top.low, bound)
        return _Piece(Between(top.operand, top.low, bound))

    def _next_operand(self, top: _Calling, operand: Operand) -> _Piece | None:
        top.operands.append(operand)
        if self.tokens.accept(","):
            return None
        self.tokens.expect(")")
        self._pending.pop()
        call = Call(top.function, tuple(top.operands))
        self._check_call(call)
        return _Piece(call)

    def _next_option(self, top: _Listing, option: Operand) -> _Piece | None:
        top.options.append(option)
        if self.tokens.accept(","):
            return None
        self.tokens.expect(")")
        self._pending.pop()
        if len(top.options) > IN_OPERANDS_MAX:
            self.note(Sentence.TOO_MANY_OPERANDS, operator="IN", count=len(top.options))
        self._check_distinct("IN", top.operand, *top.options)
        return _Piece(In(top.operand, tuple(top.options)))

    def _close(self, piece: _Piece) -> _Piece:
        self.tokens.expect(")")
        self._pending.pop()
        if piece.parenthesised:
            self.note(Sentence.PARENTHESES)
        if isinstance(piece.node, Path) and self.at_element():
            return _Piece(self.path_on(piece.node))
        return _Piece(piece.node, parenthesised=True)

    def _as_operand(self, piece: _Piece) -> Operand:
        node = piece.node
        if not isinstance(node, Path | Value | Call):
            self.tokens.refuse()
        self._check_operand(node)
        return node

    def _check_operand(self, node: Operand) -> None:
        """Of the functions, only size has a value that can be an operand."""
        if not isinstance(node, Call) or node.function == "size":
            return
        if node.function in CONDITION_FUNCTIONS:
            self.note(Sentence.FUNCTION_MISUSED, function=node.function)

    def _as_condition(self, piece: _Piece) -> ConditionNode:
        node = piece.node
        assert not isinstance(node, Path | Value)
        if isinstance(node, Call) and node.function == "size":
            self.note(Sentence.FUNCTION_MISUSED, function=node.function)
        return node

    def _check_call(self, call: Call) -> None:
        function, operands = call.function, call.operands
        count = CONDITION_FUNCTIONS.get(function)
        if count is None:
            sentence = (
                Sentence.FUNCTION_IN_CONDITION
                if function in UPDATE_FUNCTIONS
                else Sentence.FUNCTION_UNKNOWN
            )
            self.note(sentence, function=function)
            return
        if len(operands) != count:
            self.note(Sentence.OPERAND_COUNT, operator=function, count=len(operands))
            return
        takes = Path | Value if function == "attribute_type" else Path
        if function.startswith("attribute_") and not isinstance(operands[0], takes):
            self.note(Sentence.PATH_REQUIRED, operator=function)
        if function == "attribute_type" and not isinstance(operands[1], Value):
            self.note(Sentence.OPERAND_TYPE, operator=function, type="{path}")
        # A size is a number, and these take no number where the docs say string, binary, set, list.
        number_free = {"size": 1, "contains": 1, "begins_with": 2}.get(function, 0)
        if any(isinstance(operand, Call) for operand in operands[:number_free]):
            self.note(Sentence.OPERAND_TYPE, operator=function, type="N")
        if count == 2:
            self._check_distinct(function, *operands)

    def _check_distinct(self, operator: str, first: Operand, *others: Operand) -> None:
        if isinstance(first, Path) and first in others:
            self.note(Sentence.NOT_DISTINCT, operator=operator, path=first)
