"""Parse what all expressions share: document paths, placeholders, functions; collect what is wrong.

A syntax error is raised at once. Everything else is noted and raised when the whole text has been
read, the gravest kind first, because AWS parses the whole expression before it looks at meanings.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from model.expressions.lexer import Kind, Tokens
from model.expressions.reserved_words import RESERVED_WORDS
from model.expressions.sentences import Sentence, bad_expression
from model.expressions.tree import Path, Value
from model.limits import NESTING_LEVELS_MAX

OPERATORS_MAX: Final = 300
"""Most operators and functions in an expression; AND, OR and SET's `=` are not counted.
Source: Developer Guide, quotas, Expression parameters; for conditions, scylladb issue 14473."""

IN_OPERANDS_MAX: Final = 100
"""Most options of an IN. Source: Developer Guide, "Condition expressions", Syntax."""

KEYWORDS: Final = frozenset({"AND", "OR", "NOT", "BETWEEN", "IN", "SET", "REMOVE", "ADD", "DELETE"})

_INDEX_MAX: Final = 2**32 - 2
"""Greatest index of a list. Source: measured on AWS (floci issue 3073)."""

# In the order in which AWS would meet them; ours where nobody has published it.
_RANKS: Final = {
    sentence: rank
    for rank, sentence in enumerate(
        (
            Sentence.SECTION_TWICE,
            Sentence.PARENTHESES,
            Sentence.TOO_MANY_OPERATORS,
            Sentence.FUNCTION_UNKNOWN,
            Sentence.FUNCTION_IN_UPDATE,
            Sentence.FUNCTION_IN_CONDITION,
            Sentence.FUNCTION_MISUSED,
            Sentence.RESERVED,
            Sentence.NAME_UNDEFINED,
            Sentence.INDEX,
            Sentence.TOO_DEEP,
            Sentence.TOO_MANY_OPERANDS,
            Sentence.OPERAND_COUNT,
            Sentence.PATH_REQUIRED,
            Sentence.OPERAND_TYPE,
            Sentence.NOT_DISTINCT,
            Sentence.OVERLAP,
            Sentence.CONFLICT,
        )
    )
}


class OperandParser:
    """Reads one text; the grammars of conditions, updates and projections build on it."""

    __slots__ = ("_names", "_problems", "label", "operator_count", "tokens", "used_names", "values")

    def __init__(self, text: str, names: Mapping[str, str], label: str) -> None:
        """Cut the text; `label` names the request's parameter in messages."""
        self.tokens = Tokens(text, label)
        self.label = label
        self.operator_count = 0
        # Dicts for their order: the same text must give the same messages in every process.
        self.used_names: dict[str, None] = {}
        self.values: dict[str, None] = {}
        self._names = names
        self._problems: list[tuple[int, Sentence, dict[str, object]]] = []

    def note(self, sentence: Sentence, **facts: object) -> None:
        """Remember a problem to report once the whole text is known to be well-formed."""
        self._problems.append((_RANKS[sentence], sentence, facts))

    def count_operator(self) -> None:
        """Count one more operator or function against the limit."""
        self.operator_count += 1

    def finish(self) -> None:
        """Require the end of the text; raise the gravest problem noted, the first of its kind."""
        if self.tokens.current.kind is not Kind.END:
            self.tokens.refuse()
        if self.operator_count > OPERATORS_MAX:
            self.note(Sentence.TOO_MANY_OPERATORS, count=self.operator_count)
        if self._problems:
            _, sentence, facts = min(self._problems, key=_rank_of)
            raise bad_expression(self.label, sentence, **facts)

    def at_path(self) -> bool:
        """Whether a document path begins here (functions look the same; see the callers)."""
        token = self.tokens.current
        return token.kind is Kind.NAME_REFERENCE or (
            token.kind is Kind.NAME and token.keyword not in KEYWORDS
        )

    def path(self) -> Path:
        """Read `name{.name|[index]}`, substituting `#names`."""
        return self.path_on(Path(self._name()))

    def at_element(self) -> bool:
        """Whether an element of a path begins here: `.name` or `[index]`."""
        return self.tokens.current.keyword in {".", "["}

    def path_on(self, path: Path) -> Path:
        """Read the elements that follow a path, of which a part may be in parentheses."""
        tokens = self.tokens
        rest = list(path.rest)
        while True:
            if tokens.accept("."):
                rest.append(self._name())
            elif tokens.accept("["):
                rest.append(self._index())
                tokens.expect("]")
            else:
                break
        if len(rest) >= NESTING_LEVELS_MAX:
            self.note(Sentence.TOO_DEEP, count=len(rest) + 1)
        return Path(path.name, tuple(rest))

    def value(self) -> Value:
        """Read a `:placeholder`."""
        tokens = self.tokens
        if tokens.current.kind is not Kind.VALUE_REFERENCE:
            tokens.refuse()
        name = tokens.advance().text
        self.values[name] = None
        return Value(name)

    def _name(self) -> str:
        token = self.tokens.current
        if token.kind is Kind.NAME:
            if token.keyword in KEYWORDS:
                self.tokens.refuse()
            if token.keyword in RESERVED_WORDS:
                self.note(Sentence.RESERVED, word=token.text)
        elif token.kind is not Kind.NAME_REFERENCE:
            self.tokens.refuse()
        self.tokens.advance()
        if token.kind is Kind.NAME:
            return token.text
        self.used_names[token.text] = None
        found = self._names.get(token.text)
        if found is None:
            self.note(Sentence.NAME_UNDEFINED, name=token.text)
            return token.text
        return found

    def _index(self) -> int:
        token = self.tokens.current
        if token.kind is not Kind.NUMBER:
            self.tokens.refuse()
        self.tokens.advance()
        # At most 255 digits (see the lexer), so int() is cheap.
        index = int(token.text)
        if index > _INDEX_MAX:
            self.note(Sentence.INDEX, index=token.text)
        return index


class Trie:
    """The document paths of one expression; no two may overlap or conflict."""

    __slots__ = ("children", "first", "is_end", "kind")

    def __init__(self) -> None:
        """Start without paths."""
        self.children: dict[str | int, Trie] = {}
        self.first: Path | None = None  # the first path that passes or ends here
        self.kind: type | None = None  # of its children: str in a map, int in a list
        self.is_end = False


def build_trie(paths: Iterable[Path], parser: OperandParser) -> Trie:
    """Put paths into a tree, noting at the parser which pair cannot stand together.

    Linear in the paths' lengths, where comparing all pairs would be quadratic.
    """
    root = Trie()
    for path in paths:
        clash = _insert(root, path)
        if clash is not None:
            sentence, other = clash
            parser.note(sentence, one=other, two=path)
    return root


def _insert(root: Trie, path: Path) -> tuple[Sentence, Path | None] | None:
    """Insert a path, or return what is wrong and with which earlier path."""
    node = root
    for element in path.elements:
        kind = type(element)
        if node.is_end:
            return Sentence.OVERLAP, node.first
        if node.kind is not None and node.kind is not kind:
            return Sentence.CONFLICT, next(iter(node.children.values())).first
        node.kind = kind
        child = node.children.get(element)
        if child is None:
            child = node.children[element] = Trie()
            child.first = path
        node = child
    if node.is_end or node.children:
        return Sentence.OVERLAP, node.first
    node.is_end = True
    return None


def _rank_of(problem: tuple[int, Sentence, dict[str, object]]) -> int:
    return problem[0]
