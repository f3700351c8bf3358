"""Cut an expression into tokens, in one pass, and word the syntax errors.

A character that no token can begin with becomes a token of its own: the parser meets it where no
rule wants it and reports it in its place, as AWS does.
"""

import re
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final, NoReturn

from model.expressions.sentences import Sentence, bad_expression
from model.limits import EXPRESSION_BYTES_MAX, SUBSTITUTION_LENGTH_MAX


@unique
class Kind(Enum):
    """What a token is."""

    NAME = "name"  # a bare attribute name, a function or a keyword
    NAME_REFERENCE = "#name"
    VALUE_REFERENCE = ":value"
    NUMBER = "number"  # only inside [ ]
    SYMBOL = "symbol"  # operators, brackets, and every stray character
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """One token; `keyword` is its upper-case text if it is a NAME, else its text."""

    kind: Kind
    text: str
    keyword: str
    start: int
    end: int


# A bare name begins with a letter: AWS reports `_` as a token of its own.
_TOKEN: Final = re.compile(
    r"""[ \t\r\n]*(?:
      ([A-Za-z][A-Za-z0-9_]*)
    | (\#[A-Za-z0-9_]+)
    | (:[A-Za-z0-9_]+)
    | ([0-9]+)
    | (<=|>=|<>|[^ \t\r\n])
    )""",
    re.VERBOSE,
)
_KINDS: Final = (
    Kind.NAME,
    Kind.NAME_REFERENCE,
    Kind.VALUE_REFERENCE,
    Kind.NUMBER,
    Kind.SYMBOL,
)


class Tokens:
    """The tokens of one expression and the place the parser has reached."""

    __slots__ = ("_position", "_tokens", "current", "label", "text")

    def __init__(self, text: str, label: str) -> None:
        """Refuse an empty or too long text, and cut the rest."""
        # A character is at least one byte: a huge text is refused without encoding it.
        if len(text) > EXPRESSION_BYTES_MAX or (
            not text.isascii() and len(text.encode("utf-8", "surrogatepass")) > EXPRESSION_BYTES_MAX
        ):
            raise bad_expression(label, Sentence.TOO_LONG)
        if not text or text.isspace():
            raise bad_expression(label, Sentence.EMPTY)
        self.text = text
        self.label = label
        self._tokens = self._cut()
        self._position = 0
        self.current = self._tokens[0]

    def _cut(self) -> list[Token]:
        text = self.text
        tokens: list[Token] = []
        position = 0
        while found := _TOKEN.match(text, position):
            group = found.lastindex
            assert group is not None
            piece = found[group]
            if 1 < group < 4 and len(piece) > SUBSTITUTION_LENGTH_MAX:
                raise bad_expression(self.label, Sentence.WORD_TOO_LONG, size=len(piece))
            keyword = piece.upper() if group == 1 else piece
            position = found.end()
            tokens.append(Token(_KINDS[group - 1], piece, keyword, found.start(group), position))
        tokens.append(Token(Kind.END, "<EOF>", "<EOF>", len(text), len(text)))
        return tokens

    def at_end(self) -> bool:
        """Whether all of the text has been read."""
        return self.current.kind is Kind.END

    def advance(self) -> Token:
        """Step over the current token and return it."""
        token = self.current
        assert token.kind is not Kind.END
        self._position += 1
        self.current = self._tokens[self._position]
        return token

    def following(self) -> Token:
        """Look at the token after the current one."""
        assert self.current.kind is not Kind.END
        return self._tokens[self._position + 1]

    def preceding(self) -> Token:
        """Look at the token before the current one."""
        return self._tokens[self._position - 1]

    def accept(self, keyword: str) -> bool:
        """Step over the current token if it is this symbol or keyword."""
        if self.current.keyword != keyword:
            return False
        self.advance()
        return True

    def expect(self, keyword: str) -> None:
        """Step over this symbol or keyword; a syntax error if it is not here."""
        if not self.accept(keyword):
            self.refuse()

    def refuse(self) -> NoReturn:
        """Raise the syntax error for the current token, quoting its neighbours."""
        position = self._position
        before = self._tokens[max(position - 1, 0)]
        after = self._tokens[min(position + 1, len(self._tokens) - 1)]
        end = after.end if after.kind is not Kind.END else self.current.end
        if self.current.kind is Kind.END:
            end = before.end
        raise bad_expression(
            self.label,
            Sentence.SYNTAX,
            token=self.current.text,
            near=self.text[before.start : end],
        )
