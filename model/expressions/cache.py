"""A bounded cache of compiled expressions, least recently used first out."""

from collections.abc import Callable
from typing import Final, Generic, TypeAlias, TypeVar

# The text and the substituted names: all that an expression's meaning depends on.
Key: TypeAlias = tuple[object, ...]
Compiled = TypeVar("Compiled")

ENTRIES_MAX: Final = 2048
"""Most compiled expressions of one kind. Ours."""

TEXT_LENGTH_MAX: Final = 256 * 1024
"""Most characters of texts and names behind them; compiled, about a hundred times that in memory
at the worst. Ours."""


class ExpressionCache(Generic[Compiled]):
    """Compiled expressions by key, bounded in number and in what they were compiled from."""

    __slots__ = ("_compiled", "_text_length")

    def __init__(self) -> None:
        """Start empty."""
        self._compiled: dict[Key, tuple[Compiled, int]] = {}
        self._text_length = 0

    def get(self, key: Key, text_length: int, compile_it: Callable[[], Compiled]) -> Compiled:
        """Return the entry, compiled if it is not there; what `compile_it` raises is not kept."""
        entry = self._compiled.pop(key, None)
        if entry is None:
            entry = (compile_it(), text_length)
            if text_length > TEXT_LENGTH_MAX:
                return entry[0]
            self._text_length += text_length
        # Insertion order is the order of use: the entry goes back in at the end.
        self._compiled[key] = entry
        while len(self._compiled) > ENTRIES_MAX or self._text_length > TEXT_LENGTH_MAX:
            oldest = next(iter(self._compiled))
            self._text_length -= self._compiled.pop(oldest)[1]
        return entry[0]

    def __len__(self) -> int:
        return len(self._compiled)
